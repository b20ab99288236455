"""The harmony of the synthetic pieces: scales, Roman-numeral progressions and voice leading."""

import dataclasses
import re

# Semitones above the tonic.
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "blues": (0, 3, 4, 5, 6, 7, 10),  # both thirds, and the flat fifth
    "bebop": (0, 2, 4, 5, 7, 8, 9, 11),  # major with a passing sharp fifth
}
# Semitones above the root, by (numeral is a capital, suffix).
QUALITIES: dict[tuple[bool, str], tuple[int, ...]] = {
    (True, ""): (0, 4, 7),
    (True, "7"): (0, 4, 7, 10),
    (True, "maj7"): (0, 4, 7, 11),
    (True, "9"): (0, 4, 7, 10, 14),
    (True, "maj9"): (0, 4, 7, 11, 14),
    (False, ""): (0, 3, 7),
    (False, "6"): (0, 3, 7, 9),
    (False, "7"): (0, 3, 7, 10),
    (False, "9"): (0, 3, 7, 10, 14),
    (False, "m7b5"): (0, 3, 6, 10),
}
_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}


@dataclasses.dataclass(frozen=True)
class Chord:
    """A chord: its root, 0..11 semitones above C, and its tones in semitones above the root."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitch_classes(self) -> frozenset[int]:
        """The pitch classes of the tones, 0..11 above C."""
        return frozenset((self.root + interval) % 12 for interval in self.intervals)


def parse_progression(progression: str, key: int) -> tuple[tuple[Chord, ...], ...]:
    """Returns the chords of each bar of a progression in the notation of `styles`.

    `key` is the tonic, 0..11 above C. Numerals are relative to the major scale: the sixth degree
    of a minor key is bVI.
    """
    return tuple(
        tuple(_parse_chord(numeral, key) for numeral in bar.split(","))
        for bar in progression.split()
    )


def _parse_chord(numeral: str, key: int) -> Chord:
    match = re.fullmatch(r"(b?)([IV]+|[iv]+)(.*)", numeral)
    if match is None:
        raise ValueError(f"{numeral!r} is not a chord: use e.g. ii7 or bVI")
    flat, degree, suffix = match.groups()
    root = key + _DEGREES[degree.lower()] - len(flat)
    return Chord(root % 12, QUALITIES[degree.isupper(), suffix])


def melodic_pitch_classes(scale: tuple[int, ...], key: int, chord: Chord) -> frozenset[int]:
    """Returns the pitch classes a melody may use over a chord: chord tones and scale tones.

    Degrees that the chord alters are excluded: over V7 in minor, the seventh degree is the chord's
    leading tone, not the scale's.
    """
    in_key = {(key + degree) % 12 for degree in scale}
    altered = chord.pitch_classes - in_key
    clashing = {(tone + side) % 12 for tone in altered for side in (-1, 1)}
    return chord.pitch_classes | (in_key - clashing)


def pitches_in_range(pitch_classes: frozenset[int], low: int, high: int) -> list[int]:
    """Returns the MIDI notes of the pitch classes from low to high, both included."""
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in pitch_classes]


def next_voicing(previous: tuple[int, ...], chord: Chord, low: int, high: int) -> tuple[int, ...]:
    """Returns the close voicing of `chord` with the least movement from `previous`.

    MIDI notes, lowest first, within low..high. A small penalty on the distance from the middle of
    the range prevents drift in long progressions; `previous` is () for the first chord.
    """
    notes, size = pitches_in_range(chord.pitch_classes, low, high), len(chord.pitch_classes)
    voicings = [tuple(notes[start : start + size]) for start in range(len(notes) - size + 1)]

    def movement(voicing: tuple[int, ...]) -> float:
        drift = abs(sum(voicing) / len(voicing) - (low + high) / 2)
        moves = (min((abs(pitch - old) for old in previous), default=0) for pitch in voicing)
        return sum(moves) + 0.3 * drift

    return min(voicings, key=movement)

"""Composes synthetic pieces: from a style and a Generator to notes with times and pitches.

Harmony first (a progression in a random key, laid out on the grid), then the parts: chords use
voice leading, the bass plays degrees of the chord or a walking line, the melody stays in the scale
with chord tones on the beat, and the drums repeat a groove with small changes. `rendering` turns
the notes into sound.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np

from deepgenre.data.composer.harmony import (
    SCALES,
    Chord,
    melodic_pitch_classes,
    next_voicing,
    parse_progression,
    pitches_in_range,
)
from deepgenre.data.composer.styles import STYLES, Part, Style

FILL_CHANCE = 0.15  # probability that a bar ends with a drum fill
DROP_CHANCE = 0.03  # probability that a stroke of the groove is left out


@dataclasses.dataclass(frozen=True)
class Note:
    """One note of a pitched part."""

    start_seconds: float  # from the start of the clip; negative if the note begins before it
    seconds: float
    pitch: int  # MIDI
    loudness: float  # about 0..1


@dataclasses.dataclass(frozen=True)
class Stroke:
    """One stroke of a drum."""

    start_seconds: float
    drum: str  # key of instruments.DRUMS
    loudness: float  # about 0..1


@dataclasses.dataclass(frozen=True)
class Layout:
    """What all parts of a piece share: tempo, position of the excerpt on the grid, harmony."""

    style: Style
    seconds: float
    tempo_bpm: float
    offset_seconds: float  # from the start of the first bar to the start of the excerpt
    key: int  # tonic, 0..11 above C
    scale: tuple[int, ...]  # semitones above the tonic
    chords: tuple[Chord, ...]  # one per grid step, from the start of the first bar

    @property
    def step_seconds(self) -> float:
        """Duration of a grid step."""
        return 60 / self.tempo_bpm / self.style.steps

    @property
    def bar_steps(self) -> int:
        """Grid steps per bar."""
        return self.style.beats * self.style.steps


@dataclasses.dataclass(frozen=True)
class Line:
    """The notes of one pitched part and its instrument."""

    part: Part
    instrument: str  # key of instruments.INSTRUMENTS
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A composed excerpt."""

    layout: Layout
    lines: dict[str, Line]  # by part: bass, chords, melody; absent parts have no entry
    strokes: tuple[Stroke, ...]


@dataclasses.dataclass(frozen=True)
class _Event:
    """A mark of a pattern at its position on the grid of the whole piece."""

    step: int
    length: int  # in steps
    mark: str
    letter: str  # of the bar in the part's form

    @property
    def middle(self) -> int:
        """The step that gives the event's chord; notes off the beat anticipate the next chord."""
        return self.step + self.length // 2


# An event, its pitches (MIDI) and their loudness.
_Voiced = tuple[_Event, tuple[int, ...], float]
_Voicer = Callable[[Layout, Part, list[_Event], np.random.Generator], Iterator[_Voiced]]


def compose(style: str, generator: np.random.Generator, seconds: float) -> Piece:
    """Returns an excerpt of `seconds` in a style of STYLES; all randomness is from `generator`."""
    settings = STYLES[style]
    layout = _make_layout(settings, generator, seconds)
    voicers: dict[str, tuple[Part, _Voicer]] = {
        "bass": (settings.bass, _bass),
        "chords": (settings.chords, _chords),
        "melody": (settings.melody, _melody),
    }
    lines = {
        name: _line(layout, part, voicer, generator)
        for name, (part, voicer) in voicers.items()
        if generator.random() < part.chance
    }
    has_drums = generator.random() < settings.drums_chance
    return Piece(layout, lines, _strokes(layout, generator) if has_drums else ())


def _make_layout(style: Style, generator: np.random.Generator, seconds: float) -> Layout:
    """Returns a random tempo, key and progression, with a random start within the progression."""
    tempo_bpm = generator.uniform(*style.tempo_bpm)
    bar_steps = style.beats * style.steps
    bar_seconds = style.beats * 60 / tempo_bpm
    key = int(generator.integers(12))
    scale, progression = style.progressions[generator.integers(len(style.progressions))]
    bars = parse_progression(progression, key)
    first_bar = int(generator.integers(len(bars)))
    num_bars = math.ceil(seconds / bar_seconds) + 1
    chords = tuple(
        bar[step * len(bar) // bar_steps]
        for bar in (bars[(first_bar + index) % len(bars)] for index in range(num_bars))
        for step in range(bar_steps)
    )
    offset_seconds = generator.uniform(0, bar_seconds)
    return Layout(style, seconds, tempo_bpm, offset_seconds, key, SCALES[scale], chords)


def _events(layout: Layout, part: Part, generator: np.random.Generator) -> Iterator[_Event]:
    """Yields the marks of a part's patterns; each letter of its form gets a random pattern."""
    order = generator.permutation(len(part.patterns))
    letters = sorted(set(part.form))
    pattern_of = {
        letter: part.patterns[order[index % len(order)]] for index, letter in enumerate(letters)
    }
    for bar in range(len(layout.chords) // layout.bar_steps):
        letter = part.form[bar % len(part.form)]
        pattern = pattern_of[letter]
        for step, mark in enumerate(pattern):
            if mark not in ".-":
                held_steps = len(pattern[step + 1 :]) - len(pattern[step + 1 :].lstrip("-"))
                yield _Event(bar * layout.bar_steps + step, 1 + held_steps, mark, letter)


def _bass(
    layout: Layout, part: Part, events: list[_Event], generator: np.random.Generator
) -> Iterator[_Voiced]:
    """Yields the bass: degrees of the chord, walking steps and approach notes to the next chord."""
    pitch = part.low + 5
    for event in events:
        chord = layout.chords[event.middle]
        next_chord = layout.chords[min(event.step + event.length, len(layout.chords) - 1)]
        roots = pitches_in_range(frozenset({next_chord.root}), part.low, part.high)
        target = _nearest(roots, pitch)
        if event.mark == "a":
            pitch = target + int(generator.choice([-2, -1, 1, 2]))
        elif event.mark == "w":
            allowed = melodic_pitch_classes(layout.scale, layout.key, chord)
            scale_pitches = pitches_in_range(allowed, part.low, part.high)
            direction = int(np.sign(target - pitch)) or int(generator.choice([-1, 1]))
            pitch = _transposed(scale_pitches, pitch, direction * int(generator.integers(1, 3)))
        else:
            degrees = {"1": 0, "3": chord.intervals[1], "5": chord.intervals[2], "6": 9, "8": 12}
            pitch = part.low + (chord.root - part.low) % 12 + degrees[event.mark]
        pitch += 12 * (pitch < part.low) - 12 * (pitch > part.high)
        yield event, (pitch,), 0.7 if event.step % layout.style.steps else 0.85


def _chords(
    layout: Layout, part: Part, events: list[_Event], _generator: np.random.Generator
) -> Iterator[_Voiced]:
    """Yields the chords: with voice leading, as parallel power chords, or as arpeggios."""
    voicing: tuple[int, ...] = ()
    for event in events:
        chord = layout.chords[event.middle]
        if part.power:
            root = part.low + (chord.root - part.low) % 12
            voicing = (root, root + 7, root + 12)
        else:
            voicing = next_voicing(voicing, chord, part.low, part.high)
        if event.mark.isdigit():
            yield event, voicing, int(event.mark) / 9
        else:
            yield event, (voicing[(ord(event.mark) - ord("a")) % len(voicing)],), 0.7


def _melody(
    layout: Layout, part: Part, events: list[_Event], generator: np.random.Generator
) -> Iterator[_Voiced]:
    """Yields the melody: bars with the same letter share first note and contour."""
    contours = {
        letter: generator.choice([-3, -2, -1, -1, -1, 0, 1, 1, 1, 2, 3], layout.bar_steps)
        for letter in sorted(set(part.form))
    }
    pitch = int(generator.integers(part.low + 4, part.high - 3))
    starts: dict[str, int] = {}
    bar = -1
    for event in events:
        if event.step // layout.bar_steps != bar:
            bar = event.step // layout.bar_steps
            pitch = starts.setdefault(event.letter, pitch)
        chord = layout.chords[event.middle]
        allowed = melodic_pitch_classes(layout.scale, layout.key, chord)
        scale_pitches = pitches_in_range(allowed, part.low, part.high)
        move = int(contours[event.letter][event.step % layout.bar_steps])
        pitch = _transposed(scale_pitches, pitch, move)
        if event.step % layout.style.steps == 0:
            pitch = _nearest(pitches_in_range(chord.pitch_classes, part.low, part.high), pitch)
        yield event, (pitch,), int(event.mark) / 9


def _nearest(pitches: list[int], pitch: int) -> int:
    return min(pitches, key=lambda other: abs(other - pitch))


def _transposed(pitches: list[int], pitch: int, move: int) -> int:
    """Returns the item `move` steps from the one nearest to `pitch`, reflected at the ends."""
    start = pitches.index(_nearest(pitches, pitch))
    return pitches[start + move if 0 <= start + move < len(pitches) else start - move]


def _line(layout: Layout, part: Part, voicer: _Voicer, generator: np.random.Generator) -> Line:
    """Returns a part with random timing deviations and random loudness of each note."""
    instrument = part.instruments[generator.integers(len(part.instruments))]
    events = list(_events(layout, part, generator))
    notes = []
    for event, pitches, loudness in voicer(layout, part, events, generator):
        start_seconds = _jittered_seconds(layout, event.step, generator)
        seconds = event.length * layout.step_seconds * part.gate
        varied = loudness * generator.uniform(0.85, 1.15)
        notes += [Note(start_seconds, seconds, pitch, varied) for pitch in pitches]
    return Line(part, instrument, tuple(notes))


def _jittered_seconds(layout: Layout, step: int, generator: np.random.Generator) -> float:
    jitter_seconds = generator.normal(0, layout.style.jitter_seconds)
    return step * layout.step_seconds - layout.offset_seconds + jitter_seconds


def _strokes(layout: Layout, generator: np.random.Generator) -> tuple[Stroke, ...]:
    """Returns a repeated groove with random omissions and, if it has a snare, random fills."""
    groove = layout.style.grooves[generator.integers(len(layout.style.grooves))]
    strokes = []
    for bar in range(len(layout.chords) // layout.bar_steps):
        patterns = groove
        if generator.random() < FILL_CHANCE:
            patterns = _with_fill(groove, layout.style.steps)
        for drum, pattern in patterns.items():
            for step, mark in enumerate(pattern):
                if mark != "." and generator.random() >= DROP_CHANCE:
                    grid_step = bar * layout.bar_steps + step
                    start_seconds = _jittered_seconds(layout, grid_step, generator)
                    loudness = int(mark) / 9 * generator.uniform(0.85, 1.15)
                    strokes.append(Stroke(start_seconds, drum, loudness))
    return tuple(strokes)


def _with_fill(groove: dict[str, str], beat_steps: int) -> dict[str, str]:
    """Returns a bar of the groove whose last beat is a fill on its snare and the toms."""
    snare = next((drum for drum in groove if drum.endswith("snare")), None)
    if snare is None:
        return groove
    cut = {drum: pattern[:-beat_steps] + "." * beat_steps for drum, pattern in groove.items()}
    on_snare, on_toms = "7.7.7."[:beat_steps], ".6.8.6"[:beat_steps]
    silent = "." * (len(groove[snare]) - beat_steps)
    return cut | {snare: cut[snare][:-beat_steps] + on_snare, "tom": silent + on_toms}

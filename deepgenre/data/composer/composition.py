"""Composes synthetic pieces: from a style's row and a Generator to notes with times and pitches.

Harmony first (a progression in a drawn key, laid out on the grid), then the players: chords are
led voice by voice, the bass plays degrees of the chord or walks, the melody keeps to the scale and
lands on chord tones on the beat, and the drums repeat their groove with small changes. What a
piece sounds like is left to `rendering`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np

from deepgenre.data.composer.harmony import SCALES, Chord, ladder, led, melodic, parse_progression
from deepgenre.data.composer.styles import STYLES, Part, Style

FILL_CHANCE = 0.15  # that a bar ends with a drum fill
DROP_CHANCE = 0.03  # that a stroke of the groove is left out


@dataclasses.dataclass(frozen=True)
class Note:
    """One note of a pitched part."""

    start_seconds: float  # from the start of the clip; negative where it began before
    seconds: float
    pitch: int  # MIDI
    loudness: float  # about 0..1


@dataclasses.dataclass(frozen=True)
class Stroke:
    """One stroke of a drum."""

    start_seconds: float
    drum: str  # a name in instruments.DRUMS
    loudness: float  # about 0..1


@dataclasses.dataclass(frozen=True)
class Frame:
    """What all players of a piece share: the excerpt's place on the grid and its harmony."""

    style: Style
    seconds: float
    tempo_bpm: float
    offset_seconds: float  # how far into its first bar the excerpt starts
    key: int  # tonic, 0..11 above C
    scale: tuple[int, ...]  # semitones above the tonic
    chords: tuple[Chord, ...]  # one a step of the grid, from the start of the first bar

    @property
    def step_seconds(self) -> float:
        """Length of a step of the grid."""
        return 60 / self.tempo_bpm / self.style.steps

    @property
    def bar_steps(self) -> int:
        """Steps of the grid in a bar."""
        return self.style.beats * self.style.steps


@dataclasses.dataclass(frozen=True)
class Line:
    """What one player plays, and on what."""

    part: Part
    instrument: str  # a name in instruments.INSTRUMENTS
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A composed excerpt."""

    frame: Frame
    lines: dict[str, Line]  # by part, of those that this piece has: bass, chords, melody
    strokes: tuple[Stroke, ...]


@dataclasses.dataclass(frozen=True)
class _Event:
    """A mark of a pattern, on the grid of the whole piece."""

    step: int
    length: int  # in steps
    mark: str
    letter: str  # of the bar, in the part's form

    @property
    def middle(self) -> int:
        """The step whose chord the event belongs to: a note off the beat anticipates."""
        return self.step + self.length // 2


# What a player does at an event: the pitches (MIDI) and their loudness.
_Sounded = tuple[_Event, tuple[int, ...], float]
_Player = Callable[[Frame, Part, list[_Event], np.random.Generator], Iterator[_Sounded]]


def compose(style: str, generator: np.random.Generator, seconds: float) -> Piece:
    """Returns an excerpt of `seconds` in a style of STYLES; all chance is the generator's."""
    row = STYLES[style]
    frame = _lay_out(row, generator, seconds)
    players: dict[str, tuple[Part, _Player]] = {
        "bass": (row.bass, _bass),
        "chords": (row.chords, _comp),
        "melody": (row.melody, _melody),
    }
    lines = {
        name: _line(frame, part, player, generator)
        for name, (part, player) in players.items()
        if generator.random() < part.chance
    }
    drummed = generator.random() < row.drums_chance
    return Piece(frame, lines, _strokes(frame, generator) if drummed else ())


def _lay_out(style: Style, generator: np.random.Generator, seconds: float) -> Frame:
    """Returns a drawn tempo, key and progression, entered at any bar and any point of it."""
    tempo_bpm = generator.uniform(*style.tempo_bpm)
    bar_steps = style.beats * style.steps
    bar_seconds = style.beats * 60 / tempo_bpm
    key = int(generator.integers(12))
    scale, progression = style.progressions[generator.integers(len(style.progressions))]
    bars = parse_progression(progression, key)
    first = int(generator.integers(len(bars)))
    count = math.ceil(seconds / bar_seconds) + 1
    chords = tuple(
        bar[step * len(bar) // bar_steps]
        for bar in (bars[(first + index) % len(bars)] for index in range(count))
        for step in range(bar_steps)
    )
    offset_seconds = generator.uniform(0, bar_seconds)
    return Frame(style, seconds, tempo_bpm, offset_seconds, key, SCALES[scale], chords)


def _events(frame: Frame, part: Part, generator: np.random.Generator) -> Iterator[_Event]:
    """Yields the marks of a part's patterns, one pattern drawn for each letter of its form."""
    drawn = generator.permutation(len(part.patterns))
    letters = sorted(set(part.form))
    pattern_of = {
        letter: part.patterns[drawn[index % len(drawn)]] for index, letter in enumerate(letters)
    }
    for bar in range(len(frame.chords) // frame.bar_steps):
        letter = part.form[bar % len(part.form)]
        pattern = pattern_of[letter]
        for step, mark in enumerate(pattern):
            if mark not in ".-":
                held = len(pattern[step + 1 :]) - len(pattern[step + 1 :].lstrip("-"))
                yield _Event(bar * frame.bar_steps + step, 1 + held, mark, letter)


def _bass(
    frame: Frame, part: Part, events: list[_Event], generator: np.random.Generator
) -> Iterator[_Sounded]:
    """Yields the bass: degrees of the chord, steps that walk to the next chord, approaches."""
    pitch = part.low + 5
    for event in events:
        chord = frame.chords[event.middle]
        coming = frame.chords[min(event.step + event.length, len(frame.chords) - 1)]
        target = _nearest(ladder(frozenset({coming.root}), part.low, part.high), pitch)
        if event.mark == "a":
            pitch = target + int(generator.choice([-2, -1, 1, 2]))
        elif event.mark == "w":
            rungs = ladder(melodic(frame.scale, frame.key, chord), part.low, part.high)
            towards = int(np.sign(target - pitch)) or int(generator.choice([-1, 1]))
            pitch = _climbed(rungs, pitch, towards * int(generator.integers(1, 3)))
        else:
            degrees = {"1": 0, "3": chord.intervals[1], "5": chord.intervals[2], "6": 9, "8": 12}
            pitch = part.low + (chord.root - part.low) % 12 + degrees[event.mark]
        pitch += 12 * (pitch < part.low) - 12 * (pitch > part.high)
        yield event, (pitch,), 0.7 if event.step % frame.style.steps else 0.85


def _comp(
    frame: Frame, part: Part, events: list[_Event], _generator: np.random.Generator
) -> Iterator[_Sounded]:
    """Yields the chords: led from one to the next, power chords in parallel, or voice by voice."""
    voicing: tuple[int, ...] = ()
    for event in events:
        chord = frame.chords[event.middle]
        if part.power:
            root = part.low + (chord.root - part.low) % 12
            voicing = (root, root + 7, root + 12)
        else:
            voicing = led(voicing, chord, part.low, part.high)
        if event.mark.isdigit():
            yield event, voicing, int(event.mark) / 9
        else:
            yield event, (voicing[(ord(event.mark) - ord("a")) % len(voicing)],), 0.7


def _melody(
    frame: Frame, part: Part, events: list[_Event], generator: np.random.Generator
) -> Iterator[_Sounded]:
    """Yields the melody: bars of one letter start on one note and rise and fall alike."""
    moves = {
        letter: generator.choice([-3, -2, -1, -1, -1, 0, 1, 1, 1, 2, 3], frame.bar_steps)
        for letter in sorted(set(part.form))
    }
    pitch = int(generator.integers(part.low + 4, part.high - 3))
    starts: dict[str, int] = {}
    bar = -1
    for event in events:
        if event.step // frame.bar_steps != bar:
            bar = event.step // frame.bar_steps
            pitch = starts.setdefault(event.letter, pitch)
        chord = frame.chords[event.middle]
        rungs = ladder(melodic(frame.scale, frame.key, chord), part.low, part.high)
        pitch = _climbed(rungs, pitch, int(moves[event.letter][event.step % frame.bar_steps]))
        if event.step % frame.style.steps == 0:
            pitch = _nearest(ladder(chord.pitch_classes, part.low, part.high), pitch)
        yield event, (pitch,), int(event.mark) / 9


def _nearest(pitches: list[int], pitch: int) -> int:
    return min(pitches, key=lambda other: abs(other - pitch))


def _climbed(rungs: list[int], pitch: int, move: int) -> int:
    """Returns the note `move` rungs from the one nearest to `pitch`, turning back at the ends."""
    start = rungs.index(_nearest(rungs, pitch))
    return rungs[start + move if 0 <= start + move < len(rungs) else start - move]


def _line(frame: Frame, part: Part, player: _Player, generator: np.random.Generator) -> Line:
    """Returns a part as played: a little off the grid, and no two notes equally loud."""
    instrument = part.instruments[generator.integers(len(part.instruments))]
    events = list(_events(frame, part, generator))
    notes = []
    for event, pitches, loudness in player(frame, part, events, generator):
        start_seconds = _played_seconds(frame, event.step, generator)
        seconds = event.length * frame.step_seconds * part.gate
        played = loudness * generator.uniform(0.85, 1.15)
        notes += [Note(start_seconds, seconds, pitch, played) for pitch in pitches]
    return Line(part, instrument, tuple(notes))


def _played_seconds(frame: Frame, step: int, generator: np.random.Generator) -> float:
    loose_seconds = generator.normal(0, frame.style.loose_seconds)
    return step * frame.step_seconds - frame.offset_seconds + loose_seconds


def _strokes(frame: Frame, generator: np.random.Generator) -> tuple[Stroke, ...]:
    """Returns a groove, repeated with strokes left out and with fills where there is a snare."""
    groove = frame.style.grooves[generator.integers(len(frame.style.grooves))]
    strokes = []
    for bar in range(len(frame.chords) // frame.bar_steps):
        patterns = groove
        if generator.random() < FILL_CHANCE:
            patterns = _filled(groove, frame.style.steps)
        for drum, pattern in patterns.items():
            for step, mark in enumerate(pattern):
                if mark != "." and generator.random() >= DROP_CHANCE:
                    start_seconds = _played_seconds(frame, bar * frame.bar_steps + step, generator)
                    loudness = int(mark) / 9 * generator.uniform(0.85, 1.15)
                    strokes.append(Stroke(start_seconds, drum, loudness))
    return tuple(strokes)


def _filled(groove: dict[str, str], beat_steps: int) -> dict[str, str]:
    """Returns a bar of the groove whose last beat is a fill on its snare and the toms."""
    snare = next((drum for drum in groove if drum.endswith("snare")), None)
    if snare is None:
        return groove
    kept = {drum: pattern[:-beat_steps] + "." * beat_steps for drum, pattern in groove.items()}
    on_snare, on_toms = "7.7.7."[:beat_steps], ".6.8.6"[:beat_steps]
    silent = "." * (len(groove[snare]) - beat_steps)
    return kept | {snare: kept[snare][:-beat_steps] + on_snare, "tom": silent + on_toms}

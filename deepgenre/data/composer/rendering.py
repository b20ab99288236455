"""Renders synthetic pieces: plays the notes on the instruments, mixes and masters them.

The room, the balance, the recording's tone, its noise and its loudness are drawn for every piece,
so that none of them alone tells the style.
"""

from functools import partial

import numpy as np

from deepgenre.data.composer.composition import Line, Piece, Stroke
from deepgenre.data.composer.instruments import DRUMS, INSTRUMENTS
from deepgenre.data.composer.synthesis import band, fft_size, filtered

PEAK = 0.85  # full scale is 1; the rest is room for what lossy coding overshoots
TAKES = 3  # recordings of each drum of a kit, so that no two strokes need be the same
# By part: how far from the centre it may stand, 0..1, and how much of it the room hears.
STAGE = {"bass": (0.1, 0.1), "chords": (0.7, 1.0), "melody": (0.7, 1.0), "drums": (0.1, 0.35)}


def render(
    piece: Piece, generator: np.random.Generator, sample_rate_hz: int, channels: int
) -> np.ndarray:
    """Returns (samples, channels) float32 of the piece, within +-PEAK; channels is 1 or 2."""
    frame = piece.frame
    count = round(frame.seconds * sample_rate_hz)
    tuning = 2 ** (generator.normal(0, 15) / 1200)
    tracks = {
        name: (
            _line(line, frame.step_seconds, tuning, generator, sample_rate_hz, count),
            line.part.level_db,
        )
        for name, line in piece.lines.items()
    }
    if piece.strokes:
        drums = _drums(piece.strokes, generator, sample_rate_hz, count)
        tracks["drums"] = drums, frame.style.drums_db
    dry = np.zeros((channels, count), np.float32)
    sent = np.zeros_like(dry)
    for name, (sound, level_db) in tracks.items():
        width, send = STAGE[name]
        balanced = _leveled(sound, level_db + generator.normal(0, 1.5))
        placed = _placed(balanced, width, generator, channels)
        dry += placed
        sent += send * placed
    room_seconds = generator.uniform(*frame.style.reverb_seconds)
    wet = generator.uniform(*frame.style.wet)
    mix = dry + wet * _reverberated(sent, room_seconds, generator, sample_rate_hz)
    return _mastered(mix, generator, sample_rate_hz).T


def _line(
    line: Line,
    step_seconds: float,
    tuning: float,
    generator: np.random.Generator,
    sample_rate_hz: int,
    count: int,
) -> np.ndarray:
    """Returns (count,) float32: a part on its instrument, through its effects."""
    instrument = INSTRUMENTS[line.instrument]
    tones: dict[tuple[int, float], np.ndarray] = {}  # a repeated note need be made only once
    sound = np.zeros(count, np.float32)
    for note in line.notes:
        frequency_hz = 440 * 2 ** ((note.pitch - 69) / 12) * tuning
        if (note.pitch, note.seconds) not in tones:
            tone = instrument(generator, frequency_hz, note.seconds, sample_rate_hz)
            tones[note.pitch, note.seconds] = tone
        tone = note.loudness * tones[note.pitch, note.seconds]
        _add(sound, tone, round(note.start_seconds * sample_rate_hz))
    if line.part.drive:
        drive = line.part.drive * generator.uniform(0.6, 1.5)
        cabinet = partial(band, 90, generator.uniform(3000, 5000))
        sound = filtered(np.tanh(drive * _leveled(sound, -12)), sample_rate_hz, cabinet)
    if line.part.echo:
        level = line.part.echo * generator.uniform(0.3, 1.3)
        played = sound.copy()
        for repeat in range(1, 4):
            late = round(3 * repeat * step_seconds * sample_rate_hz)
            _add(sound, level**repeat * played, late)
    return sound


def _drums(
    strokes: tuple[Stroke, ...], generator: np.random.Generator, sample_rate_hz: int, count: int
) -> np.ndarray:
    """Returns (count,) float32: the strokes on one drum kit."""
    tuning = generator.uniform(0.9, 1.12)
    balance = {drum: 10 ** (generator.normal(0, 1.5) / 20) for drum in DRUMS}
    kit = {
        drum: [DRUMS[drum](generator, tuning, sample_rate_hz) for _ in range(TAKES)]
        for drum in dict.fromkeys(stroke.drum for stroke in strokes)
    }
    sound = np.zeros(count, np.float32)
    for stroke in strokes:
        take = kit[stroke.drum][generator.integers(TAKES)]
        level = stroke.loudness * balance[stroke.drum]
        _add(sound, level * take, round(stroke.start_seconds * sample_rate_hz))
    return sound


def _add(sound: np.ndarray, tone: np.ndarray, start: int) -> None:
    """Adds `tone` to `sound` from `start` on, in place; what lies outside is cut."""
    begin, end = max(start, 0), min(start + len(tone), len(sound))
    if begin < end:
        sound[begin:end] += tone[begin - start : end - start]


def _leveled(sound: np.ndarray, level_db: float) -> np.ndarray:
    """Returns `sound` scaled to an RMS of level_db where it sounds; silence stays silence."""
    audible = sound[np.abs(sound) > 1e-3 * np.abs(sound).max(initial=0)]
    rms = np.sqrt(np.mean(audible**2)) if len(audible) else 1.0
    return sound * np.float32(10 ** (level_db / 20) / rms)


def _placed(
    sound: np.ndarray, width: float, generator: np.random.Generator, channels: int
) -> np.ndarray:
    """Returns (channels, samples): panned at constant power within +-width of the centre."""
    angle = np.pi / 4 * (1 + generator.uniform(-width, width))
    gains = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(2**0.5)
    return gains * sound if channels == 2 else sound[None]


def _reverberated(
    sound: np.ndarray, seconds: float, generator: np.random.Generator, sample_rate_hz: int
) -> np.ndarray:
    """Returns (channels, samples): each channel convolved with its own decaying noise."""
    channels, count = sound.shape
    taps = round(seconds * sample_rate_hz)
    fade = 10 ** (-3 * np.arange(taps, dtype=np.float32) / taps)
    room = generator.standard_normal((channels, taps), np.float32) * fade
    room /= np.sqrt((room**2).sum(axis=1, keepdims=True))
    size = fft_size(count + taps)
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz).astype(np.float32)
    dull = band(150, 4500, frequencies_hz)  # air and walls
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(room, size) * dull
    return np.fft.irfft(spectrum, size)[:, :count]


def _mastered(mix: np.ndarray, generator: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Returns (channels, samples): recorded with a drawn tone, noise floor and loudness."""
    tilt = generator.uniform(-0.15, 0.15)  # of amplitude against frequency: +-0.9 dB an octave
    low_hz, high_hz = generator.uniform(20, 70), generator.uniform(6000, 14000)
    noise_db = generator.uniform(-75, -45)
    loudness_db = generator.uniform(-26, -15)

    def tone(frequencies_hz: np.ndarray) -> np.ndarray:
        colour = (np.maximum(frequencies_hz, 50) / 1000) ** tilt
        return colour * band(low_hz, high_hz, frequencies_hz)

    def pink(frequencies_hz: np.ndarray) -> np.ndarray:
        return 1 / np.sqrt(np.maximum(frequencies_hz, 50))

    recorded = np.stack([filtered(channel, sample_rate_hz, tone) for channel in mix])
    noise = generator.standard_normal(mix.shape, np.float32)
    noise = np.stack([filtered(channel, sample_rate_hz, pink) for channel in noise])
    recorded *= np.float32(1 / max(np.sqrt(np.mean(recorded**2)), 1e-9))
    recorded += noise * np.float32(10 ** (noise_db / 20) / np.sqrt(np.mean(noise**2)))
    scale = min(10 ** (loudness_db / 20), PEAK / np.abs(recorded).max())
    return recorded * np.float32(scale)

"""Renders synthetic pieces: synthesises the notes, mixes and masters them.

Reverberation, balance, tone, noise and loudness are random for each piece, so that none of them
alone identifies the style.
"""

from functools import partial

import numpy as np

from deepgenre.data.composer.composition import Line, Piece, Stroke
from deepgenre.data.composer.instruments import DRUMS, INSTRUMENTS
from deepgenre.data.composer.synthesis import band, fft_size, filtered

PEAK = 0.85  # full scale is 1; headroom for the overshoot of lossy codecs
TAKES = 3  # variants of each drum of a kit, so that consecutive strokes differ
# By part: largest pan from the centre, 0..1, and reverberation send level.
MIX = {"bass": (0.1, 0.1), "chords": (0.7, 1.0), "melody": (0.7, 1.0), "drums": (0.1, 0.35)}


def render(
    piece: Piece, generator: np.random.Generator, sample_rate_hz: int, channels: int
) -> np.ndarray:
    """Returns the piece, float32 (samples, channels) within +-PEAK; `channels` is 1 or 2."""
    layout = piece.layout
    count = round(layout.seconds * sample_rate_hz)
    tuning = 2 ** (generator.normal(0, 15) / 1200)
    tracks = {
        name: (
            _render_line(line, layout.step_seconds, tuning, generator, sample_rate_hz, count),
            line.part.level_db,
        )
        for name, line in piece.lines.items()
    }
    if piece.strokes:
        drums = _render_drums(piece.strokes, generator, sample_rate_hz, count)
        tracks["drums"] = drums, layout.style.drums_db
    dry = np.zeros((channels, count), np.float32)
    sent = np.zeros_like(dry)
    for name, (sound, level_db) in tracks.items():
        width, send = MIX[name]
        balanced = _scaled_to_level(sound, level_db + generator.normal(0, 1.5))
        panned = _panned(balanced, width, generator, channels)
        dry += panned
        sent += send * panned
    room_seconds = generator.uniform(*layout.style.reverb_seconds)
    wet = generator.uniform(*layout.style.wet)
    mix = dry + wet * _reverberated(sent, room_seconds, generator, sample_rate_hz)
    return _mastered(mix, generator, sample_rate_hz).T


def _render_line(
    line: Line,
    step_seconds: float,
    tuning: float,
    generator: np.random.Generator,
    sample_rate_hz: int,
    count: int,
) -> np.ndarray:
    """Returns float32 (count,): one part with its instrument and effects."""
    instrument = INSTRUMENTS[line.instrument]
    tones: dict[tuple[int, float], np.ndarray] = {}  # cache of repeated notes
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
        sound = filtered(np.tanh(drive * _scaled_to_level(sound, -12)), sample_rate_hz, cabinet)
    if line.part.echo:
        level = line.part.echo * generator.uniform(0.3, 1.3)
        dry = sound.copy()
        for repeat in range(1, 4):
            delay = round(3 * repeat * step_seconds * sample_rate_hz)
            _add(sound, level**repeat * dry, delay)
    return sound


def _render_drums(
    strokes: tuple[Stroke, ...], generator: np.random.Generator, sample_rate_hz: int, count: int
) -> np.ndarray:
    """Returns float32 (count,): the strokes on one drum kit."""
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
    """Adds `tone` to `sound` in place at sample `start`; parts outside `sound` are dropped."""
    begin, end = max(start, 0), min(start + len(tone), len(sound))
    if begin < end:
        sound[begin:end] += tone[begin - start : end - start]


def _scaled_to_level(sound: np.ndarray, level_db: float) -> np.ndarray:
    """Returns `sound` scaled to an RMS of level_db over its audible samples; silence is kept."""
    audible = sound[np.abs(sound) > 1e-3 * np.abs(sound).max(initial=0)]
    rms = np.sqrt(np.mean(audible**2)) if len(audible) else 1.0
    return sound * np.float32(10 ** (level_db / 20) / rms)


def _panned(
    sound: np.ndarray, width: float, generator: np.random.Generator, channels: int
) -> np.ndarray:
    """Returns (channels, samples): random constant-power panning within +-width of the centre."""
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
    damping = band(150, 4500, frequencies_hz)  # absorption by air and walls
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(room, size) * damping
    return np.fft.irfft(spectrum, size)[:, :count]


def _mastered(mix: np.ndarray, generator: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Returns (channels, samples) with a random spectral tilt, band, noise floor and loudness."""
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

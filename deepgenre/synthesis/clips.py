"""The excerpts that synthesis begins with: of a song, or noise."""

from pathlib import Path

import numpy as np

from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError

PIECE_SECONDS = 30.0
NOISE_PEAK = 0.5


def excerpt(path: Path, rate_hz: int, start_seconds: float, seconds: float) -> np.ndarray:
    """Returns float32 (samples,) of a song from `start_seconds`, or to its end if that is sooner.

    Raises UserError where the file cannot be read, ends before the start, or is silent there.
    """
    start, end = round(start_seconds * rate_hz), round((start_seconds + seconds) * rate_hz)
    position, parts = 0, []
    for piece in waveforms.pieces(path, rate_hz, PIECE_SECONDS):
        parts.append(piece[max(0, start - position) : max(0, end - position)])
        position += piece.size
        if position >= end:
            break
    samples = np.concatenate(parts)
    if not samples.size:
        raise UserError(
            f"{path}: ends at {position / rate_hz:.1f} s, before --start_seconds={start_seconds:g}"
        )
    if np.abs(samples).max() < decoding.SILENCE_PEAK:
        raise UserError(f"{path}: is silent from {start_seconds:g} s; give another --start_seconds")
    return samples


def pink_noise(rate_hz: int, seconds: float, seed: int) -> np.ndarray:
    """Returns noise, float32 (samples,), whose power falls by 3 dB per octave, as music's does."""
    num_samples = round(seconds * rate_hz)
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    hz = np.fft.rfftfreq(num_samples, 1 / rate_hz)
    spectrum *= np.where(hz > 20, 1 / np.sqrt(np.maximum(hz, 20)), 0)
    noise = np.fft.irfft(spectrum, num_samples)
    return (NOISE_PEAK * noise / np.abs(noise).max()).astype(np.float32)

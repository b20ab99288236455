"""Hann window, mel filters and decibels, bit-identical to librosa's.

Reimplemented because `librosa.filters` imports SciPy's signal processing and Numba, which takes
longer than processing a song. The mel scale is that of M. Slaney, "Auditory Toolbox", 1998: linear
below 1 kHz, logarithmic above.
"""

import numpy as np

HZ_PER_MEL = 200.0 / 3  # below BREAK_HZ
BREAK_HZ = 1000.0
BREAK_MEL = BREAK_HZ / HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0  # log of the frequency ratio per mel, above BREAK_HZ
SMALLEST_POWER = 1e-10  # below it, power counts as this, as in librosa's power_to_db


def hann_window(num_samples: int) -> np.ndarray:
    """Returns the periodic Hann window, float32 (num_samples,)."""
    angle = np.linspace(-np.pi, np.pi, num_samples + 1)[:-1]
    return (0.5 + 0.5 * np.cos(angle)).astype(np.float32)


def mel_filters(
    sample_rate_hz: float, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> np.ndarray:
    """Returns triangles of equal area, float32 (n_mels, 1 + n_fft // 2), lowest band first."""
    edges_hz = band_edges_hz(n_mels, fmin_hz, fmax_hz)
    widths_hz = np.diff(edges_hz)
    ramps = np.subtract.outer(edges_hz, np.fft.rfftfreq(n_fft, 1.0 / sample_rate_hz))
    rising = -ramps[:-2] / widths_hz[:-1, None]
    falling = ramps[2:] / widths_hz[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    triangles *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return triangles


def power_to_db(power: np.ndarray) -> np.ndarray:
    """Returns 10 log10 of power, floating point of any shape, at least that of SMALLEST_POWER."""
    floored = np.maximum(power, SMALLEST_POWER)
    decibels = np.log10(floored, out=floored)
    return np.multiply(decibels, 10.0, out=decibels)


def band_centres_hz(n_mels: int, fmin_hz: float, fmax_hz: float) -> np.ndarray:
    """Returns the frequency at the peak of each filter, float64 (n_mels,), lowest first."""
    return band_edges_hz(n_mels, fmin_hz, fmax_hz)[1:-1]


def band_edges_hz(n_mels: int, fmin_hz: float, fmax_hz: float) -> np.ndarray:
    """Returns the corners of the triangles of `mel_filters`, float64 (n_mels + 2,), in Hz.

    Band i is above 0 between corners i and i + 2, and largest at i + 1.
    """
    low, high = _mels(np.array([fmin_hz, fmax_hz]))
    return _hz(np.linspace(low, high, n_mels + 2))


def _mels(hz: np.ndarray) -> np.ndarray:
    above = BREAK_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.where(hz >= BREAK_HZ, above, hz / HZ_PER_MEL)


def _hz(mels: np.ndarray) -> np.ndarray:
    above = BREAK_HZ * np.exp(LOG_STEP * (mels - BREAK_MEL))
    return np.where(mels >= BREAK_MEL, above, HZ_PER_MEL * mels)

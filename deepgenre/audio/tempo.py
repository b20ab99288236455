"""Tempo in beats per minute, from the periodicity of onsets.

The onset strength is the increase of the log spectrum between frames. Its autocorrelation, with a
compressed spectrum (Percival and Tzanetakis, TASLP 2014), is averaged over windows, so that it
holds for a piece whose phase changes. The score of a tempo is the mean autocorrelation at the
first multiples of its beat, weighted by a log-normal prior (Ellis, JNMR 2007), which decides
between a tempo and its half or double.
"""

import numpy as np

from deepgenre.audio.frame_stream import frames, magnitudes

RATE_HZ = 11_025
FRAME_SAMPLES = 512
HOP_SAMPLES = 64
SPAN_SAMPLES = FRAME_SAMPLES + HOP_SAMPLES  # an onset strength compares two frames
ONSETS_PER_SECOND = RATE_HZ / HOP_SAMPLES
FLOOR = 1e-3  # added to magnitudes before the logarithm, with frames of full scale about 100
WINDOW_SECONDS = 12.0
WINDOW_HOP_SECONDS = 3.0
MIN_SECONDS = 6.0  # a few beats of a slow piece
RANGE_BPM = (40.0, 240.0)
GRID_BPM = np.geomspace(*RANGE_BPM, 720)  # in steps of 0.25 %
MULTIPLES = (1, 2, 3, 4)  # of a beat
PRIOR_BPM, PRIOR_OCTAVES = 120.0, 0.8
COMPRESSION = 0.5  # exponent of the spectrum's magnitude; the ordinary autocorrelation has 2


def onset_strength(samples: np.ndarray) -> np.ndarray:
    """Returns the onset strength, float32 (frames,), of samples at RATE_HZ, at every HOP_SAMPLES.

    There are `1 + (samples - SPAN_SAMPLES) // HOP_SAMPLES` values.
    """
    window = np.hanning(FRAME_SAMPLES).astype(np.float32)
    spectrum = magnitudes(samples, window, HOP_SAMPLES)
    level = np.log(spectrum + np.float32(FLOOR))
    return np.maximum(level[1:] - level[:-1], 0).mean(axis=1)


def estimate(onsets: np.ndarray) -> float | None:
    """Returns BPM of the onset strength of a piece, (frames,).

    None where the piece is shorter than MIN_SECONDS or has no onsets.
    """
    size = min(onsets.size, round(WINDOW_SECONDS * ONSETS_PER_SECOND))
    if size < MIN_SECONDS * ONSETS_PER_SECOND:
        return None
    score = beat_scores(onsets)
    if not score.max() > 0:
        return None
    octaves = np.log2(GRID_BPM / PRIOR_BPM) / PRIOR_OCTAVES
    return float(GRID_BPM[np.argmax(score * np.exp(-0.5 * octaves**2))])


def beat_scores(onsets: np.ndarray) -> np.ndarray:
    """Returns the mean autocorrelation at multiples of the beat for each of GRID_BPM, (720,)."""
    correlation = mean_autocorrelation(onsets)
    beats = 60 / GRID_BPM * ONSETS_PER_SECOND
    lags, usable = np.arange(correlation.size), correlation.size - 1
    total, count = np.zeros(GRID_BPM.size), np.zeros(GRID_BPM.size)
    for multiple in MULTIPLES:
        inside = multiple * beats <= usable
        total += inside * np.interp(multiple * beats, lags, correlation)
        count += inside
    return total / np.maximum(count, 1)


def mean_autocorrelation(onsets: np.ndarray) -> np.ndarray:
    """Returns the compressed autocorrelation by lag in frames, 1 at lag 0, float64 (lags,)."""
    size = min(onsets.size, round(WINDOW_SECONDS * ONSETS_PER_SECOND))
    hop = round(WINDOW_HOP_SECONDS * ONSETS_PER_SECOND)
    smoothing = np.hanning(17) / np.hanning(17).sum()  # 0.1 s: the jitter of a performance
    smooth = np.convolve(onsets, smoothing, "same")
    total = np.zeros(size)
    for window in frames(smooth, size, hop):
        centred = (window - window.mean()) * np.hanning(size)
        spectrum = np.abs(np.fft.rfft(centred, 2 * size)) ** COMPRESSION
        total += np.fft.irfft(spectrum, 2 * size)[:size]
    return total / total[0] if total[0] > 0 else total

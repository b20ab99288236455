"""The important parts of a window as sound: a mask on the spectrogram of its samples.

The mask is applied to the complex spectrogram, so the phase is the song's own.
"""

from typing import NamedTuple

import numpy as np
import scipy.ndimage

from deepgenre.explain.explanation import Explanation

KEPT = 0.2  # share of the plane that is kept, at most
SMOOTHING_SECONDS = 0.05
SMOOTHING_BANDS = 1.5
FFT_SECONDS = 0.08  # length of a frame, to the next power of two: frames overlap by 3/4
MAX_GAIN_DB = 30.0


class Sound(NamedTuple):
    """The important parts."""

    samples: np.ndarray  # float32 (samples,)
    gain_db: float  # with which they have the peak of the window, at most MAX_GAIN_DB


def important_parts(samples: np.ndarray, rate_hz: int, explanation: Explanation) -> Sound:
    """Returns the parts of a window, float32 (samples,), that support the target most.

    All zeros where nothing supports it.
    """
    import scipy.signal  # slow to import

    frame = 1 << round(np.log2(FFT_SECONDS * rate_hz))
    settings = {"fs": rate_hz, "nperseg": frame, "noverlap": frame - frame // 4}
    bins_hz, seconds, spectrum = scipy.signal.stft(samples, **settings)
    mask = _resized(mask_of(explanation), explanation, seconds, bins_hz)
    _, masked = scipy.signal.istft(spectrum * mask.T, **settings)
    masked = masked[: samples.size]
    masked = np.pad(masked, (0, samples.size - masked.size)).astype(np.float32)
    peak, wanted = np.abs(masked).max(initial=0.0), np.abs(samples).max(initial=0.0)
    if not peak:
        return Sound(masked, 0.0)
    gain_db = min(MAX_GAIN_DB, 20 * float(np.log10(wanted / peak)))
    return Sound(masked * np.float32(10 ** (gain_db / 20)), gain_db)


def mask_of(explanation: Explanation) -> np.ndarray:
    """Returns float32 (frames, bands), 0 or 1: the cells with the most support, KEPT at most."""
    support = smoothed(explanation.map, explanation.seconds_per_frame)
    threshold = max(float(np.quantile(support, 1 - KEPT)), 0.0)
    return (support > threshold).astype(np.float32)


def smoothed(values: np.ndarray, seconds_per_frame: float) -> np.ndarray:
    """Returns a map, (frames, bands), smoothed to the resolution of audible differences."""
    frames = max(0.5, SMOOTHING_SECONDS / seconds_per_frame)
    return scipy.ndimage.gaussian_filter(values, (frames, SMOOTHING_BANDS), mode="nearest")


def _resized(
    mask: np.ndarray, explanation: Explanation, seconds: np.ndarray, bins_hz: np.ndarray
) -> np.ndarray:
    """Returns (seconds, bins): the mask, linearly interpolated in time and frequency."""
    times = np.arange(mask.shape[0]) * explanation.seconds_per_frame
    in_time = np.stack([np.interp(seconds, times, band) for band in mask.T], axis=1)
    return np.stack([np.interp(bins_hz, explanation.band_hz, row) for row in in_time])

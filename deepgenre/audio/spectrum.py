"""Short-time Fourier transform and its inverse, of the frames that front ends use."""

from typing import Any

import numpy as np
import scipy.fft

from deepgenre.audio.frame_stream import frames


def stft(waveform: np.ndarray, window: np.ndarray, hop_samples: int) -> np.ndarray:
    """Returns complex64 (1 + samples // hop, 1 + window.size // 2) of a waveform (samples,).

    Frames are centred, with zeros beyond both ends, as in `audio.frontend`.
    """
    padded = np.pad(waveform.astype(np.float32, copy=False), window.size // 2)
    spectrum: Any = scipy.fft.rfft(frames(padded, window.size, hop_samples) * window, axis=1)
    return spectrum


def istft(
    spectrum: np.ndarray, window: np.ndarray, hop_samples: int, num_samples: int
) -> np.ndarray:
    """Returns the waveform, float32 (num_samples,), whose `stft` is closest to a spectrum.

    By least squares (D. Griffin and J. Lim, 1984): windowed frames are added, and divided by the
    sum of the squared windows.
    """
    pieces: Any = scipy.fft.irfft(spectrum, window.size, axis=1)
    pieces = pieces * window
    total = np.zeros(max(num_samples + window.size, (len(pieces) - 1) * hop_samples + window.size))
    weight = np.zeros_like(total)
    square = np.square(window)
    for index, piece in enumerate(pieces):
        span = slice(index * hop_samples, index * hop_samples + window.size)
        total[span] += piece
        weight[span] += square
    # Where no window reaches, the sum is 0 too.
    waveform = total / np.maximum(weight, 1e-3 * square.max())
    return waveform[window.size // 2 :][:num_samples].astype(np.float32)

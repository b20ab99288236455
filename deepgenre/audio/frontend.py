"""Waveforms to spectrograms and levels.

"Levels" are the representation of a clip in the store, an array (frames, stored_bands). They
depend on `FrontEnd.kind`:

  'log_mel'   uint8: quantised dB relative to the clip's maximum; 0..255 is -dynamic_range_db..0
  'mfcc'      as 'log_mel': the DCT is computed on the device
  'musicnn'   float16: mel power, not relative to the maximum; the logarithm is computed on the
              device
  'waveform'  int16: samples, full scale 32767; a frame is one sample and stored_bands is 1

`features.features` converts levels to the input of a network. The dB of kind 'log_mel' equal, to
float32 rounding, the paper's use of librosa: `melspectrogram(y, sr, n_mels, n_fft, hop_length)`
and `power_to_db(ref=np.max)`.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import scipy.fft

from deepgenre.audio.mel import hann_window, mel_filters, power_to_db
from deepgenre.errors import UserError, look_up

# The levels of each kind: 'mfcc' shares those of 'log_mel'.
STORED_AS = {
    "log_mel": "log_mel",
    "mfcc": "log_mel",
    "musicnn": "musicnn",
    "waveform": "waveform",
}
STORED_DTYPES: Mapping[str, type[np.generic]] = {
    "log_mel": np.uint8,
    "musicnn": np.float16,
    "waveform": np.int16,
}
MAX_LEVEL = 255
FULL_SCALE = 32767  # of int16 samples
BLOCK_FRAMES = 64  # frames per FFT call: 64 x 2048 float32 fit in a core's cache
BANDS_PER_PRODUCT = 16  # mel bands per matrix product, over the non-zero bins of these bands


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """Settings of the conversion of audio to levels and features. Defaults: the paper's."""

    kind: str = "log_mel"  # a name in STORED_AS
    sample_rate_hz: int = 22_050
    n_fft: int = 2048  # samples per frame
    hop_length: int = 1024  # samples between the starts of successive frames
    n_mels: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float = 0.0  # 0: half the sample rate
    dynamic_range_db: float = 80.0  # log-mel levels cover this range below the maximum
    n_mfcc: int = 20  # number of coefficients; used by kind 'mfcc' only

    def __post_init__(self) -> None:
        """Raises UserError that names an invalid field."""
        look_up(STORED_AS, self.kind, "frontend.kind")
        for name in ("sample_rate_hz", "n_fft", "hop_length", "n_mels", "dynamic_range_db"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"frontend.{name}: must be above 0, is {getattr(self, name)}")
        if not 0 <= self.fmin_hz < self.top_hz <= self.sample_rate_hz / 2:
            raise UserError(
                f"frontend: fmin_hz ({self.fmin_hz}) must be below fmax_hz ({self.top_hz}), both "
                f"within 0..{self.sample_rate_hz / 2} Hz"
            )
        if not 1 <= self.n_mfcc <= self.n_mels:
            raise UserError(f"frontend.n_mfcc: must be 1..n_mels ({self.n_mels}), is {self.n_mfcc}")

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest mel band, in Hz."""
        return self.fmax_hz or self.sample_rate_hz / 2

    @property
    def num_bands(self) -> int:
        """Bands per frame of the features."""
        return {"mfcc": self.n_mfcc, "waveform": 1}.get(self.kind, self.n_mels)

    @property
    def stored_bands(self) -> int:
        """Bands per frame of the levels."""
        return 1 if self.kind == "waveform" else self.n_mels

    @property
    def stored_dtype(self) -> type[np.generic]:
        """Dtype of the levels."""
        return STORED_DTYPES[STORED_AS[self.kind]]

    @property
    def frames_per_second(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / (1 if self.kind == "waveform" else self.hop_length)

    @property
    def store_id(self) -> str:
        """Folder name of the store of these levels, the same only where the levels are the same."""
        if self.kind == "waveform":
            return f"waveform-{self.sample_rate_hz}"
        kind = STORED_AS[self.kind]
        stored = dataclasses.asdict(dataclasses.replace(self, kind=kind, n_mfcc=1))
        digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:8]
        return f"{kind}-{self.sample_rate_hz}-{self.n_fft}-{self.hop_length}-{self.n_mels}-{digest}"


def log_mel(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns dB relative to the maximum, float32 (frames, n_mels), of a waveform (samples,).

    frames = 1 + samples // hop_length (librosa's centred frames); values are in
    -dynamic_range_db..0.
    """
    power = _mel_power(waveform, frontend, "constant")
    decibels = power_to_db(power)
    decibels -= decibels.max()
    return np.maximum(decibels, -frontend.dynamic_range_db, out=decibels)


def musicnn_power(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns mel power, float16 (frames, n_mels), of a waveform (samples,).

    Equals `batch_data` of musicnn 0.1.0 with the NumPy version of its release: power is rounded to
    float16, and converted to a wider type before the logarithm. (NumPy 2 computes the logarithm in
    float16, which overflows above a power of 6.55 and makes all loud windows equal.) Samples are
    clipped at full scale, as by the 16-bit decoding of the networks' training data; both ends are
    padded by reflection, the default of librosa before 0.10.
    """
    power = _mel_power(np.clip(waveform, -1.0, 1.0), frontend, "reflect")
    return np.minimum(power, np.finfo(np.float16).max).astype(np.float16)


def _mel_power(
    waveform: np.ndarray, frontend: FrontEnd, padding: Literal["constant", "reflect"]
) -> np.ndarray:
    n_fft, hop_length = frontend.n_fft, frontend.hop_length
    (window, _), filters = window_and_filters(frontend), _narrow_filters(frontend)
    padded = np.pad(waveform.astype(np.float32, copy=False), n_fft // 2, padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    mel = np.empty((frames.shape[0], frontend.n_mels), np.float32)
    for start in range(0, frames.shape[0], BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        spectrum: Any = scipy.fft.rfft(frames[block] * window, axis=1)  # complex64
        power = spectrum.real**2 + spectrum.imag**2
        for bins, bands, weights in filters:
            np.matmul(power[:, bins], weights, out=mel[block, bands])
    return mel


@functools.lru_cache(maxsize=8)
def window_and_filters(frontend: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    """Returns librosa's Hann window (n_fft,) and Slaney mel filters (1 + n_fft // 2, n_mels)."""
    filters = mel_filters(
        frontend.sample_rate_hz,
        frontend.n_fft,
        frontend.n_mels,
        frontend.fmin_hz,
        frontend.top_hz,
    )
    return hann_window(frontend.n_fft), np.ascontiguousarray(filters.T)


@functools.lru_cache(maxsize=8)
def _narrow_filters(frontend: FrontEnd) -> list[tuple[slice, slice, np.ndarray]]:
    """Returns the mel filters in groups of bands: (bins, bands, weights (bins, bands)).

    Each filter is zero outside a few bins: 98 % of a full product would be multiplications by zero.
    """
    (_, filters), groups = window_and_filters(frontend), []
    for first in range(0, frontend.n_mels, BANDS_PER_PRODUCT):
        bands = slice(first, min(first + BANDS_PER_PRODUCT, frontend.n_mels))
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return groups


def stored_db(levels: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns dB, float32, of levels (frames, n_mels): absolute only where the levels are power.

    Not of samples, which `log_mel` converts.
    """
    if STORED_AS[frontend.kind] == "musicnn":
        return power_to_db(levels.astype(np.float32))
    return (levels / np.float32(MAX_LEVEL) - 1) * np.float32(frontend.dynamic_range_db)


def quantise(decibels: np.ndarray, dynamic_range_db: float) -> np.ndarray:
    """Returns uint8 levels of dB in -dynamic_range_db..0; at 80 dB the error is at most 0.16 dB."""
    levels = np.rint((decibels + dynamic_range_db) * (MAX_LEVEL / dynamic_range_db))
    return np.clip(levels, 0, MAX_LEVEL).astype(np.uint8)


def levels(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns the levels of a waveform (samples,): (frames, stored_bands), of `stored_dtype`."""
    if frontend.kind == "musicnn":
        return musicnn_power(waveform, frontend)
    if frontend.kind == "waveform":
        return np.rint(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)[:, None]
    return quantise(log_mel(waveform, frontend), frontend.dynamic_range_db)

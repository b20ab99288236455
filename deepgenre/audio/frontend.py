"""Waveform to spectrogram, and spectrogram to the levels that the store keeps.

Kind 'log_mel' equals, to float32 rounding, the paper's four lines of librosa:
`melspectrogram(y, sr, n_mels, n_fft, hop_length)` and `power_to_db(ref=np.max)`.
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

from deepgenre.audio.mel import hann_window, mel_filters
from deepgenre.errors import UserError, look_up

# Each kind, and what the store keeps of it. 'mfcc' stores log-mel levels: the DCT is taken on the
# device. 'musicnn' stores mel power as it is, not relative to the clip's maximum: the logarithm is
# taken on the device. 'waveform' is for networks that hear samples: a "frame" is then one sample.
STORED_AS = {
    "log_mel": "log_mel",
    "mfcc": "log_mel",
    "musicnn": "musicnn",
    "waveform": "waveform",
}
# Type of what is stored: levels, power, samples.
STORED_DTYPES: Mapping[str, type[np.generic]] = {
    "log_mel": np.uint8,
    "musicnn": np.float16,
    "waveform": np.int16,
}
MAX_LEVEL = 255
FULL_SCALE = 32767  # of 16-bit samples
BLOCK_FRAMES = 64  # frames transformed together: 64 x 2048 float32 stay in a core's cache
BANDS_TOGETHER = 16  # mel bands summed by one product, over the bins of these bands alone


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """How audio becomes numbers. Defaults: the paper's."""

    kind: str = "log_mel"  # a name in STORED_AS
    sample_rate_hz: int = 22_050
    n_fft: int = 2048  # samples a frame
    hop_length: int = 1024  # samples from one frame to the next
    n_mels: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float = 0.0  # 0: half the sample rate
    dynamic_range_db: float = 80.0  # levels 0..255 are -dynamic_range_db..0 dB re the maximum
    n_mfcc: int = 20  # coefficients kept; used by kind 'mfcc' only

    def __post_init__(self) -> None:
        """Raises UserError naming the field that makes no sense."""
        look_up(STORED_AS, self.kind, "frontend.kind")
        for name in ("sample_rate_hz", "n_fft", "hop_length", "n_mels", "dynamic_range_db"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"frontend.{name}: must be above 0, is {getattr(self, name)}")
        if not 0 <= self.fmin_hz < self.top_hz <= self.sample_rate_hz / 2:
            raise UserError(
                f"frontend: fmin_hz {self.fmin_hz} and fmax_hz {self.top_hz} must rise and stay "
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
        """Numbers a frame that a network sees."""
        return {"mfcc": self.n_mfcc, "waveform": 1}.get(self.kind, self.n_mels)

    @property
    def stored_bands(self) -> int:
        """Numbers a frame that the store keeps."""
        return 1 if self.kind == "waveform" else self.n_mels

    @property
    def stored_dtype(self) -> type[np.generic]:
        """Type of what the store keeps."""
        return STORED_DTYPES[STORED_AS[self.kind]]

    @property
    def frames_per_second(self) -> float:
        """Frames a second."""
        return self.sample_rate_hz / (1 if self.kind == "waveform" else self.hop_length)

    @property
    def store_id(self) -> str:
        """Folder name of the store of these levels: two front ends never share one."""
        if self.kind == "waveform":
            return f"waveform-{self.sample_rate_hz}"
        kind = STORED_AS[self.kind]
        stored = dataclasses.asdict(dataclasses.replace(self, kind=kind, n_mfcc=1))
        digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:8]
        return f"{kind}-{self.sample_rate_hz}-{self.n_fft}-{self.hop_length}-{self.n_mels}-{digest}"


def log_mel(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns dB re the clip's maximum, float32 (frames, n_mels), of a waveform (samples,).

    frames = 1 + samples // hop_length (librosa's centred frames); values lie in
    -dynamic_range_db..0.
    """
    power = _mel_power(waveform, frontend, "constant")
    decibels = 10.0 * np.log10(np.maximum(power, 1e-10, out=power), out=power)
    decibels -= decibels.max()
    return np.maximum(decibels, -frontend.dynamic_range_db, out=decibels)


def musicnn_power(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns mel power, float16 (frames, n_mels), of a waveform (samples,).

    As `batch_data` of musicnn 0.1.0 has it under the NumPy that it was released for: rounded to
    float16, and widened before its logarithm is taken. (NumPy 2 takes the logarithm in float16,
    overflows above a power of 6.55, and makes every loud window sound the same.) Samples are
    clipped at full scale, as the 16-bit decoding that the networks were trained on clipped them;
    both ends are padded by reflection, the default of librosa before 0.10.
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
    """Returns the mel filters in groups: which bins, which bands, weights (bins, bands).

    A filter is zero but for a few bins: the whole product would be 98 % multiplications by zero.
    """
    (_, filters), groups = window_and_filters(frontend), []
    for first in range(0, frontend.n_mels, BANDS_TOGETHER):
        bands = slice(first, min(first + BANDS_TOGETHER, frontend.n_mels))
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return groups


def quantise(decibels: np.ndarray, dynamic_range_db: float) -> np.ndarray:
    """Returns uint8 levels of dB in -dynamic_range_db..0; half a level is about 0.16 dB of 80."""
    levels = np.rint((decibels + dynamic_range_db) * (MAX_LEVEL / dynamic_range_db))
    return np.clip(levels, 0, MAX_LEVEL).astype(np.uint8)


def levels(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns what the store keeps of a waveform (samples,): (frames, stored_bands) of its dtype.

    Levels 0..255 of a log-mel spectrogram, mel power, or samples in -32768..32767.
    """
    if frontend.kind == "musicnn":
        return musicnn_power(waveform, frontend)
    if frontend.kind == "waveform":
        return np.rint(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)[:, None]
    return quantise(log_mel(waveform, frontend), frontend.dynamic_range_db)

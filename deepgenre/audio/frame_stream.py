"""Functions of overlapping frames, applied to a signal that arrives in blocks of any size."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft


@dataclasses.dataclass
class FrameStream:
    """The values of all frames of a signal; they do not depend on how it is cut into blocks.

    `analyse` returns (frames, ...) for samples of `span_samples + (frames - 1) * hop_samples` or
    up to a hop more.
    """

    analyse: Callable[[np.ndarray], np.ndarray]
    span_samples: int  # that one value is computed from
    hop_samples: int  # between the spans of successive values
    max_values: int | None = None  # the rest of the signal is left out
    _rest: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    _values: list[np.ndarray] = dataclasses.field(default_factory=list)
    _num_values: int = 0

    def add(self, block: np.ndarray) -> None:
        """Adds a block, float32 (samples,)."""
        if self._num_values == self.max_values:
            return
        samples = np.concatenate([self._rest, block])
        count = max(0, 1 + (samples.size - self.span_samples) // self.hop_samples)
        if self.max_values is not None:
            count = min(count, self.max_values - self._num_values)
        if count:
            used = self.span_samples + (count - 1) * self.hop_samples
            self._values.append(self.analyse(samples[:used]))
            self._num_values += count
        self._rest = samples[count * self.hop_samples :]

    def values(self) -> np.ndarray | None:
        """Returns the values so far, (frames, ...); None where the signal is below a span."""
        return np.concatenate(self._values) if self._values else None


def frames(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Returns the complete frames of a signal (samples,), as a view (frames, size)."""
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]


def magnitudes(samples: np.ndarray, window: np.ndarray, hop: int) -> np.ndarray:
    """Returns the magnitude spectrum of each windowed frame, float32 (frames, 1 + size // 2)."""
    spectrum: Any = scipy.fft.rfft(frames(samples, window.size, hop) * window, axis=1)
    return np.abs(spectrum)

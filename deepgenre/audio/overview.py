"""The waveform and spectrogram of a recording of any length, at a bounded resolution."""

import dataclasses
from typing import Any

import numpy as np
import scipy.fft

from deepgenre.audio import decoding
from deepgenre.audio.mel import hann_window, mel_filters, power_to_db

COLUMNS = 1024  # at least this many, and fewer than twice as many, of a long recording
BANDS = 64
TOP_HZ = 11_025.0
FRAME_SECONDS = 0.046  # rounded to a power of two of samples
RANGE_DB = 80.0


@dataclasses.dataclass(frozen=True)
class Picture:
    """The waveform and spectrogram of a recording, by columns of equal length."""

    column_seconds: float
    lowest: np.ndarray  # float32 (columns,): smallest sample
    highest: np.ndarray  # float32 (columns,): largest sample
    decibels: np.ndarray  # float32 (columns, BANDS): mean mel power relative to the loudest
    top_hz: float  # upper edge of the highest band; the bands are evenly spaced in mel


class Overview:
    """Collects a `Picture` of a recording that arrives in blocks; memory does not grow with it."""

    def __init__(self) -> None:
        """Starts a recording."""
        self._num_samples = 0
        self._rest = np.zeros(0, np.float32)
        self._rate_hz = 0
        self._frames_per_column = 1
        self._columns = np.zeros((0, 2 + BANDS), np.float32)  # lowest, highest, power per band
        self._frames = np.zeros((0, 2 + BANDS), np.float32)  # of an incomplete column

    def observe(self, start: int, samples: np.ndarray, rate_hz: int) -> None:
        """Adds the samples, float32 (samples, channels), from index `start` of the recording.

        Samples that were added before are skipped: the beginning of a long file is decoded twice.
        """
        samples = samples[max(0, self._num_samples - start) :]
        if not len(samples):
            return
        self._num_samples += len(samples)
        if not self._rate_hz:
            self._start(rate_hz)
        mono = np.concatenate([self._rest, decoding.to_mono(samples)])
        count = mono.size // self._window.size
        used = count * self._window.size
        self._rest = mono[used:]
        self._add(self._measure(mono[:used].reshape(count, self._window.size)))

    def _start(self, rate_hz: int) -> None:
        size = 1 << round(np.log2(FRAME_SECONDS * rate_hz))
        self._rate_hz, self._window = rate_hz, hann_window(size)
        self._top_hz = min(TOP_HZ, rate_hz / 2)
        self._filters = mel_filters(rate_hz, size, BANDS, 0.0, self._top_hz).T

    def _measure(self, frames: np.ndarray) -> np.ndarray:
        spectrum: Any = scipy.fft.rfft(frames * self._window, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2) @ self._filters
        return np.column_stack([frames.min(axis=1), frames.max(axis=1), power])

    def _add(self, frames: np.ndarray) -> None:
        frames = np.concatenate([self._frames, frames])
        whole = len(frames) // self._frames_per_column * self._frames_per_column
        self._frames = frames[whole:]
        added = _merged(frames[:whole], self._frames_per_column)
        self._columns = np.concatenate([self._columns, added])
        while len(self._columns) >= 2 * COLUMNS:
            even = len(self._columns) // 2 * 2
            last = self._columns[even:]  # merged again with the frames that follow
            self._columns = _merged(self._columns[:even], 2)
            self._frames = np.concatenate([last.repeat(self._frames_per_column, 0), self._frames])
            self._frames_per_column *= 2

    def picture(self) -> Picture:
        """Returns the picture of the blocks so far, with incomplete columns at the end."""
        columns, frames = self._columns, self._frames
        if self._rest.size:
            rest = np.pad(self._rest, (0, self._window.size - self._rest.size))
            frames = np.concatenate([frames, self._measure(rest[None])])
        if len(frames):
            columns = np.concatenate([columns, _merged(frames, len(frames))])
        decibels = power_to_db(columns[:, 2:])
        return Picture(
            self._frames_per_column * self._window.size / self._rate_hz,
            columns[:, 0],
            columns[:, 1],
            np.maximum(decibels - decibels.max(), -RANGE_DB),
            self._top_hz,
        )


def _merged(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns every `count` rows as one: the lowest and highest sample, and the mean power."""
    grouped = rows.reshape(-1, count, rows.shape[1])
    return np.column_stack(
        [grouped[:, :, 0].min(axis=1), grouped[:, :, 1].max(axis=1), grouped[:, :, 2:].mean(axis=1)]
    )

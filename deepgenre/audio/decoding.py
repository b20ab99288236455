"""Decodes audio files into blocks of mono samples, at the sample rate of the file.

The length is what decodes, never what a header declares. Native decoders (`audio.native_decoding`)
run in worker processes (`isolated.calls`), so that one that crashes or hangs costs one file.

`blocks` yields a file in blocks of limited size, so that recordings of hours need not fit in
memory. Nothing is resampled here, see `audio.waveforms`.
"""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from deepgenre import log
from deepgenre.audio import native_decoding
from deepgenre.audio.native_decoding import Declared, Warn
from deepgenre.errors import UserError
from deepgenre.isolated import calls

SILENCE_PEAK = 1e-5  # -100 dB relative to full scale: below the noise of any 16-bit recording
RATES_HZ = (1_000, 4_000_000)  # plausible; a minute of audio resampled from 1 Hz fills the memory

Block = tuple[np.ndarray, int]  # mono samples, float32 (samples,), and their rate in Hz
# Receives, of each decoded block, the index of its first sample, its samples, float32 (samples,
# channels), and their rate in Hz. The channels of a file of several streams can change. The memory
# of the samples is used again.
Observe = Callable[[int, np.ndarray, int], None]


def _warn(message: str) -> None:
    log.warning("warning: %s", log.escape_controls(message))


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, float32 (samples,), of float32 (samples, channels)."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if samples.shape[1] == 2:  # equal to the mean, which takes 10 x as long over a short axis
        return 0.5 * (samples[:, 0] + samples[:, 1])
    return samples.mean(axis=1)


def peak(mono: np.ndarray, name: object) -> float:
    """Returns the largest magnitude of the samples; 0 without samples.

    Raises UserError, with the name of the recording, where samples are NaN or infinite.
    """
    # Maximum and minimum propagate NaN and infinity: no separate pass over the samples is needed.
    largest = max(float(mono.max()), -float(mono.min())) if mono.size else 0.0
    if not np.isfinite(largest):
        raise UserError(f"{name}: contains NaN or infinite samples; export it again")
    return largest


def blocks(
    path: Path, warn: Warn = _warn, observe: Observe | None = None
) -> Generator[Block, None, None]:
    """Yields (mono float32 (samples,), rate in Hz) of the file, at least one block of one rate.

    warn: gets a line where the file is cut short or damaged, and the rest of it is used. observe:
    gets each block before its channels are mixed. Raises UserError, possibly after the last block,
    where the file cannot be read, is empty, not audio or silent, contains NaN or infinite samples,
    or has an implausible sample rate.
    """
    num_samples, loudest = 0, 0.0
    with contextlib.closing(_decoded(path, warn)) as decoded:
        for samples, rate_hz in decoded:
            if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
                raise UserError(
                    f"{path}: has an implausible sample rate ({rate_hz} Hz); export it again"
                )
            mono = to_mono(samples)
            loudest = max(loudest, peak(mono, path))
            if observe:
                observe(num_samples, samples, rate_hz)
            num_samples += mono.size
            yield mono if mono.base is None else mono.copy(), rate_hz
    if not num_samples:
        raise UserError(f"{path}: contains no audio samples; remove it or replace it")
    if loudest < SILENCE_PEAK:
        raise UserError(f"{path}: is silent from start to end; remove it or replace it")


def declared(path: Path) -> Declared | None:
    """Returns what a file's header declares; None where libsndfile cannot read it."""
    return calls.call(native_decoding.declared, path)


def seconds(path: Path) -> float:
    """Returns the length of a file, as its header declares it or, without one, as it decodes."""
    return calls.call(native_decoding.seconds, path)


def _decoded(path: Path, warn: Warn) -> Generator[Block, None, None]:
    """Yields (float32 (samples, channels), rate in Hz) of the file; no block is empty."""
    return calls.stream(native_decoding.decoded, path, warn)

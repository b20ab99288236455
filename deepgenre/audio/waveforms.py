"""Audio files to mono waveforms at a given sample rate, with the numbers of `librosa.load`.

`audio.decoding` decodes and mixes the channels; soxr's HQ filter resamples. `load` returns the
waveform of a whole file. `pieces` yields it in equal pieces, and streams files longer than
LOADED_SECONDS, so that memory use does not grow with their length. Both raise UserError where the
file cannot be decoded or changes while it is read. `resample` and `cut` are the steps for arrays.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from deepgenre.audio import decoding
from deepgenre.errors import UserError

LOADED_SECONDS = 300  # longer files are streamed, never whole in memory


def load(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Returns the file's waveform, float32 (samples,), mono, at `sample_rate_hz`.

    The same numbers as `librosa.load(path, sr=sample_rate_hz, mono=True)`: the mean of the
    channels, resampled with soxr's HQ filter. Raises UserError where the file is missing, empty,
    unreadable, not audio, cut short or silent, contains NaN or infinity, has an implausible header,
    or changes while it is read.
    """
    before = _file_state(path)
    blocks = list(decoding.blocks(path))
    _check_unchanged(path, before)
    return resample(_joined([mono for mono, _ in blocks]), blocks[0][1], sample_rate_hz)


def pieces(
    path: Path,
    sample_rate_hz: int,
    piece_seconds: float,
    observe: decoding.Observe | None = None,
) -> Iterator[np.ndarray]:
    """Yields the waveform that `load` returns, in equal pieces of about `piece_seconds`.

    Files longer than LOADED_SECONDS are streamed. `observe` receives the decoded blocks; those of
    the beginning of a long file twice. Raises the same UserError as `load`; for damage far
    into a long file, after the preceding pieces.
    """
    before = _file_state(path)
    piece_samples = piece_seconds * sample_rate_hz
    start, rate_hz, seconds = [], sample_rate_hz, 0.0
    blocks = decoding.blocks(path, observe=observe)
    for mono, rate_hz in blocks:
        start.append(mono)
        seconds += mono.size / rate_hz
        if seconds > LOADED_SECONDS:
            break
    blocks.close()
    if seconds <= LOADED_SECONDS:
        _check_unchanged(path, before)
        yield from cut(resample(_joined(start), rate_hz, sample_rate_hz), piece_samples)
        return
    del start, mono
    declared = max(_declared_samples(path), round(seconds * rate_hz))
    num_samples = _resampled_size(declared, rate_hz, sample_rate_hz)
    stream = (mono for mono, _ in decoding.blocks(path, observe=observe))
    sizes = _piece_sizes(num_samples, piece_samples)
    yield from _rechunk(_resampled(stream, rate_hz, sample_rate_hz), sizes)
    _check_unchanged(path, before)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def cut(waveform: np.ndarray, piece_samples: float) -> list[np.ndarray]:
    """Returns a waveform (samples,) in equal pieces of about `piece_samples`."""
    return np.split(waveform, np.cumsum(_piece_sizes(waveform.size, piece_samples)[:-1]))


def _piece_sizes(num_samples: int, piece_samples: float) -> list[int]:
    count = max(1, round(num_samples / piece_samples))
    size, longer = divmod(num_samples, count)
    return [size + (index < longer) for index in range(count)]


def resample(mono: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Returns float32 (samples,) at `to_hz`, by soxr's HQ filter, with the length of librosa's."""
    if from_hz == to_hz:
        return np.ascontiguousarray(mono)
    resampled = soxr.resample(mono, from_hz, to_hz, quality="HQ")
    missing = _resampled_size(mono.size, from_hz, to_hz) - resampled.size
    # soxr may return one sample more or less than librosa.
    return np.pad(resampled, (0, missing)) if missing > 0 else resampled[: resampled.size + missing]


def _resampled_size(num_samples: int, from_hz: int, to_hz: int) -> int:
    return num_samples if from_hz == to_hz else int(np.ceil(num_samples * to_hz / from_hz))


def _resampled(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Yields the numbers of `resample` in blocks, from blocks."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    num_samples, num_resampled = 0, 0
    for block in blocks:
        resampled = stream.resample_chunk(block)
        num_samples, num_resampled = num_samples + block.size, num_resampled + resampled.size
        yield resampled
    resampled = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    missing = _resampled_size(num_samples, from_hz, to_hz) - num_resampled - resampled.size
    # soxr may return one sample more or less than librosa.
    yield np.pad(resampled, (0, missing)) if missing >= 0 else resampled[:missing]


def _rechunk(blocks: Iterable[np.ndarray], sizes: Sequence[int]) -> Iterator[np.ndarray]:
    """Yields the samples of the blocks in arrays of the given sizes, and all that remain.

    Where the blocks have more samples than the sizes, the last size is repeated. Of a last array
    that would be shorter than half of it, the samples are part of the one before.
    """
    following = itertools.chain(sizes, itertools.repeat(sizes[-1]))
    parts, num_samples, size = [], 0, next(following)
    for block in blocks:
        parts.append(block)
        num_samples += block.size
        while num_samples >= 1.5 * size:
            joined = _joined(parts)
            yield joined[:size]
            parts, num_samples = [joined[size:]], num_samples - size
            size = next(following)
    rest = _joined(parts)
    while rest.size:
        length = size if rest.size >= 1.5 * size else rest.size
        yield rest[:length]
        rest, size = rest[length:], next(following)


def _declared_samples(path: Path) -> int:
    """Returns about how many samples the file contains, for the number of its pieces.

    As its header declares or, where libsndfile cannot open it, as decoding gives.
    """
    with contextlib.suppress(soundfile.LibsndfileError):
        if (num_samples := soundfile.info(path).frames) <= decoding.MAX_SAMPLES:
            return num_samples
    return sum(mono.size for mono, _ in decoding.blocks(path, warn=lambda message: None))


def _file_state(path: Path) -> tuple[int, ...]:
    """Returns inode, size in bytes and modification time in ns, to detect changes of a file."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _check_unchanged(path: Path, before: tuple[int, ...]) -> None:
    if _file_state(path) != before:
        raise UserError(f"{path}: changed while it was read; wait until it is complete")

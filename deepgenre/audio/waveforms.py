"""Audio files to mono waveforms at a given sample rate, with the numbers of `librosa.load`.

`audio.decoding` decodes and mixes the channels; soxr's HQ filter resamples. `load` returns the
waveform of a whole file. `pieces` yields it in equal pieces, and streams files longer than
LOADED_SECONDS, so that memory use does not grow with their length. Both raise UserError where the
file cannot be decoded or changes while it is read. `resample` and `cut` are the steps for arrays.
"""

import collections
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soxr

from deepgenre.audio import decoding, native_decoding
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


def pieces(path: Path, sample_rate_hz: int, piece_seconds: float) -> Iterator[np.ndarray]:
    """Yields the waveform that `load` returns, in equal pieces of about `piece_seconds`.

    Files longer than LOADED_SECONDS are streamed. Raises the same UserError as `load`; for damage
    far into a long file, after the preceding pieces.
    """
    return (piece for _, piece in pieces_of_each(path, [(sample_rate_hz, piece_seconds)]))


def pieces_of_each(
    path: Path, requested: Sequence[tuple[int, float]], observe: decoding.Observe | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, piece): `pieces` of each requested (rate in Hz, length in s), decoded once.

    In the order of time, so that a streamed file is at most a piece ahead for one of them.
    `observe` receives the decoded blocks; those of the beginning of a streamed file twice.
    """
    before = _file_state(path)
    start, rate_hz, seconds = [], 0, 0.0
    blocks = decoding.blocks(path, observe=observe)
    for mono, rate_hz in blocks:
        start.append(mono)
        seconds += mono.size / rate_hz
        if seconds > LOADED_SECONDS:
            break
    blocks.close()
    if seconds <= LOADED_SECONDS:
        _check_unchanged(path, before)
        mono = _joined(start)
        resampled = {
            hz: resample(mono, rate_hz, hz) for hz in dict.fromkeys(hz for hz, _ in requested)
        }
        yield from _by_time(
            [iter(cut(resampled[hz], length * hz)) for hz, length in requested], requested
        )
        return
    del start, mono
    declared = max(_declared_samples(path), round(seconds * rate_hz))
    decoded = (mono for mono, _ in decoding.blocks(path, observe=observe))
    streams = _copies(decoded, len(requested))
    each = []
    for stream, (to_hz, length) in zip(streams, requested, strict=True):
        sizes = _piece_sizes(_resampled_size(declared, rate_hz, to_hz), length * to_hz)
        each.append(_rechunk(_resampled(stream, rate_hz, to_hz), sizes))
    yield from _by_time(each, requested)
    _check_unchanged(path, before)


def _copies(blocks: Iterator[np.ndarray], count: int) -> list[Iterator[np.ndarray]]:
    """Returns iterators over the same blocks, each kept until all have passed it.

    Unlike those of `itertools.tee`, which keep dozens of blocks.
    """
    waiting = [collections.deque[np.ndarray]() for _ in range(count)]

    def copy(own: collections.deque[np.ndarray]) -> Iterator[np.ndarray]:
        while True:
            if not own:
                block = next(blocks, None)
                if block is None:
                    return
                for each in waiting:
                    each.append(block)
            yield own.popleft()

    return [copy(own) for own in waiting]


def _by_time(
    each: Sequence[Iterator[np.ndarray]], requested: Sequence[tuple[int, float]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, piece) of all iterators, always of the one that is least far in time."""
    reached = [(0.0, index) for index in range(len(each))]  # seconds
    while reached:
        seconds, index = heapq.heappop(reached)
        piece = next(each[index], None)
        if piece is not None:
            yield index, piece
            heapq.heappush(reached, (seconds + piece.size / requested[index][0], index))


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
    found = decoding.declared(path)
    if found and found.num_samples <= native_decoding.MAX_SAMPLES:
        return found.num_samples
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

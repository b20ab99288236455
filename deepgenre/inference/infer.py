"""Inference on many files: threads read ahead, windows are scored in full batches, in order."""

import collections
import contextlib
import dataclasses
import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flax.errors
import jax
import numpy as np
from threadpoolctl import threadpool_limits

from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.inference import windows
from deepgenre.weights.spec import Spec, Weights

BATCH_WINDOWS = 16  # of a full batch; the last one is padded to the next power of two only
MAX_WINDOW_SECONDS = 3600  # an hour: a longer window is a typing error
PIECES_AHEAD = 4  # read ahead per file: bounds the memory of long files
InferBatch = Callable[[np.ndarray], dict[str, jax.Array]]
Reader = Callable[[Path, Spec], Iterator[windows.Windows]]
Piece = windows.Windows | str  # of a file; the last one is the error that ended it, or ''


@dataclasses.dataclass(frozen=True)
class FileOutputs:
    """Network outputs per window of a file, or the error why there are none."""

    path: Path
    start_seconds: np.ndarray  # float64 (windows,): start of each window in the file
    scores: np.ndarray  # float32 (windows, classes)
    embeddings: np.ndarray | None  # float32 (windows, features), if requested
    error: str = ""  # with an error the arrays are empty
    attention: np.ndarray | None = None  # float32 (windows, heads), of networks that have it


@dataclasses.dataclass
class _PendingFile:
    """A file in progress, and its outputs so far."""

    path: Path
    starts: list[np.ndarray] = dataclasses.field(default_factory=list)
    outputs: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)  # row per window
    num_unscored: int = 0  # windows that are read and not yet scored
    ended: bool = False
    error: str = ""


Batch = list[tuple[_PendingFile, np.ndarray]]  # windows, each with its file


def compile_infer_batch(weights: Weights) -> InferBatch:
    """Returns the function of levels (windows, frames, bands) to the outputs of the network.

    Weights stay on the device. Outputs may have more rows than the levels: batches are padded to a
    power of two, so that few shapes are compiled and a short song does not cost a full batch.
    """
    step = compile_infer_step(weights.spec)
    variables = jax.device_put(weights.variables)

    def infer_batch(levels: np.ndarray) -> dict[str, jax.Array]:
        padded = 1 << (levels.shape[0] - 1).bit_length()
        return step(variables, np.pad(levels, ((0, padded - levels.shape[0]), (0, 0), (0, 0))))

    return infer_batch


def with_windows(weights: Weights, window_seconds: float, hop_seconds: float) -> Weights:
    """Returns the weights with another window length or hop in their spec; 0: unchanged.

    Raises UserError where the network requires the window length of its training.
    """
    spec = weights.spec
    for flag, seconds in (("window", window_seconds), ("hop", hop_seconds)):
        if not 0 <= seconds <= MAX_WINDOW_SECONDS:
            raise UserError(f"--{flag}_seconds: must be 0 to {MAX_WINDOW_SECONDS}, is {seconds}")
    if not window_seconds and not hop_seconds:
        return weights
    rate = spec.frontend.frames_per_second
    window_frames = round(window_seconds * rate) or spec.window_frames
    changed = dataclasses.replace(
        spec,
        window_frames=window_frames,
        hop_frames=max(1, round(hop_seconds * rate) or min(spec.hop_frames, window_frames)),
        clip_seconds=max(spec.clip_seconds, window_seconds),  # a piece contains a window
    )
    shape = (1, window_frames, spec.frontend.stored_bands)
    levels = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
    try:
        jax.eval_shape(compile_infer_step(changed), weights.variables, levels)
    except (UserError, flax.errors.ScopeParamShapeError) as error:
        raise UserError(
            f"--window_seconds: {spec.model} with these weights does not accept windows of "
            f"{window_seconds} s; it was trained on {spec.window_frames / rate:.2f} s"
        ) from error
    return dataclasses.replace(weights, spec=changed)


def infer_files(
    weights: Weights,
    files: Sequence[Path],
    *,
    embed: bool = False,
    infer_batch: InferBatch | None = None,
    read: Reader = windows.file_windows,
) -> Generator[FileOutputs, None, None]:
    """Yields the outputs of each file, in the order of the files.

    Threads read files ahead of the device by a bounded amount; windows of several files share a
    batch. `infer_batch`: of `compile_infer_batch`, to reuse it between calls.
    """
    infer_batch = infer_batch or compile_infer_batch(weights)
    pending: collections.deque[_PendingFile] = collections.deque()  # in order, not yet yielded
    rows: Batch = []  # not yet scored
    in_progress: tuple[Batch, dict[str, jax.Array]] | None = None  # computed on the device

    with _read_ahead(files, weights.spec, read) as pieces:
        for path, piece in pieces:
            if not pending or pending[-1].ended:
                pending.append(_PendingFile(path))
            rows += _add_piece(pending[-1], piece)
            while len(rows) >= BATCH_WINDOWS:
                batch, rows = rows[:BATCH_WINDOWS], rows[BATCH_WINDOWS:]
                outputs = infer_batch(np.stack([levels for _, levels in batch]))
                if in_progress:  # one batch late, so that host and device work in parallel
                    _distribute(*in_progress)
                in_progress = batch, outputs
            yield from _pop_finished(pending, weights.spec, embed)
    if in_progress:
        _distribute(*in_progress)
    if rows:
        _distribute(rows, infer_batch(np.stack([levels for _, levels in rows])))
    yield from _pop_finished(pending, weights.spec, embed)


def _add_piece(file: _PendingFile, piece: Piece) -> Batch:
    """Adds a piece to its file; returns the windows to score."""
    if isinstance(piece, str):
        file.ended, file.error = True, piece
        return []
    starts, levels = piece
    file.starts.append(starts)
    file.num_unscored += len(levels)
    return [(file, window) for window in levels]


def _distribute(batch: Batch, outputs: dict[str, jax.Array]) -> None:
    """Adds the rows of a batch to their files."""
    for name, values in outputs.items():
        for (file, _), row in zip(batch, np.asarray(values), strict=False):  # the rest is padding
            file.outputs.setdefault(name, []).append(row)
    for file, _ in batch:
        file.num_unscored -= 1


def _pop_finished(
    pending: collections.deque[_PendingFile], spec: Spec, embed: bool
) -> Iterator[FileOutputs]:
    """Removes finished files from the front, and yields their outputs."""
    while pending and pending[0].ended and (pending[0].error or not pending[0].num_unscored):
        file = pending.popleft()
        if file.error:
            empty = np.zeros((0, len(spec.classes)), np.float32)
            yield FileOutputs(
                file.path, np.zeros(0), empty, empty[:, :0] if embed else None, file.error
            )
            continue
        outputs = {name: np.stack(rows) for name, rows in file.outputs.items()}
        yield FileOutputs(
            file.path,
            np.concatenate(file.starts),
            outputs["scores"],
            outputs["embedding"] if embed else None,
            attention=outputs.get("attention"),
        )


@contextlib.contextmanager
def _read_ahead(
    files: Sequence[Path], spec: Spec, read: Reader
) -> Iterator[Iterator[tuple[Path, Piece]]]:
    """Yields an iterator of (file, piece) over all files, in order; threads read ahead of it."""
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads)
    stopped = threading.Event()

    def start(path: Path) -> tuple[Path, queue.Queue]:
        pieces: queue.Queue = queue.Queue(PIECES_AHEAD)
        pool.submit(_read_into, pieces, path, spec, read, stopped)
        return path, pieces

    def iterate() -> Iterator[tuple[Path, Piece]]:
        unread = iter(files)
        first = itertools.islice(unread, 2 * num_threads)
        started = collections.deque(map(start, first))
        while started:
            path, pieces = started.popleft()
            started.extend(map(start, itertools.islice(unread, 1)))
            while True:
                piece = pieces.get()
                if isinstance(piece, BaseException):
                    raise piece
                yield path, piece
                if isinstance(piece, str):
                    break

    # One BLAS thread per reading thread: more would compete for the same cores.
    with threadpool_limits(1):
        try:
            yield iterate()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _read_into(
    pieces: queue.Queue, path: Path, spec: Spec, read: Reader, stopped: threading.Event
) -> None:
    """Puts the pieces of a file into a queue, then its error or ''; returns early once stopped."""

    def put(piece: Piece | BaseException) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return pieces.put(piece, timeout=0.1)

    try:
        for piece in read(path, spec):
            put(piece)
            if stopped.is_set():
                return
        put("")
    except UserError as error:
        put(str(error))
    except BaseException as error:  # a bug: raised again in the thread that gets the pieces
        put(error)

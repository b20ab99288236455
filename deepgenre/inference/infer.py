"""Many files through a network: read ahead by threads, scored in full batches, in order."""

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
from deepgenre.evaluation.scoring import compile_infer_step
from deepgenre.inference import windows
from deepgenre.weights.spec import Spec, Weights

BATCH_WINDOWS = 16  # of a full batch; the last one takes the next power of two, and no more
LONGEST_SECONDS = 3600  # an hour: a window of more is a slip
PIECES_AHEAD = 4  # of each file that is read ahead: bounds the memory of long ones
Scorer = Callable[[np.ndarray], dict[str, jax.Array]]
Reader = Callable[[Path, Spec], Iterator[windows.Windows]]
Piece = windows.Windows | str  # of a file; the last one is the error that ended it, or ''


@dataclasses.dataclass(frozen=True)
class FileOutputs:
    """What a network made of a file, window by window; or why it could not be heard."""

    path: Path
    start_seconds: np.ndarray  # float64 (windows,): where each window starts in the file
    scores: np.ndarray  # float32 (windows, classes)
    embeddings: np.ndarray | None  # float32 (windows, features), where asked for
    error: str = ""  # with an error the arrays are empty
    attention: np.ndarray | None = None  # float32 (windows, heads), of networks that have it


@dataclasses.dataclass
class _Song:
    """A file that is being heard, and what has come of it so far."""

    path: Path
    starts: list[np.ndarray] = dataclasses.field(default_factory=list)
    made: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)  # a row a window
    waiting: int = 0  # windows that are read and not yet scored
    ended: bool = False
    error: str = ""


Batch = list[tuple[_Song, np.ndarray]]  # windows, each with the song that it is of


def scorer(weights: Weights) -> Scorer:
    """Returns the function of levels (windows, frames, bands) to what the network makes of them.

    Weights stay on the device. What comes back may have more rows: batches are padded to a power
    of two, so that few shapes are compiled and a short song does not pay for a long one's.
    """
    step = compile_infer_step(weights.spec)
    variables = jax.device_put(weights.variables)

    def score(levels: np.ndarray) -> dict[str, jax.Array]:
        padded = 1 << (levels.shape[0] - 1).bit_length()
        return step(variables, np.pad(levels, ((0, padded - levels.shape[0]), (0, 0), (0, 0))))

    return score


def with_windows(weights: Weights, window_seconds: float, hop_seconds: float) -> Weights:
    """Returns the weights, to hear windows of another length or another step; 0: as they are.

    Raises UserError where the network takes windows of one length only.
    """
    spec = weights.spec
    for flag, seconds in (("window", window_seconds), ("hop", hop_seconds)):
        if not 0 <= seconds <= LONGEST_SECONDS:
            raise UserError(f"--{flag}_seconds: must be 0 to {LONGEST_SECONDS}, is {seconds}")
    if not window_seconds and not hop_seconds:
        return weights
    rate = spec.frontend.frames_per_second
    window_frames = round(window_seconds * rate) or spec.window_frames
    changed = dataclasses.replace(
        spec,
        window_frames=window_frames,
        hop_frames=max(1, round(hop_seconds * rate) or min(spec.hop_frames, window_frames)),
        clip_seconds=max(spec.clip_seconds, window_seconds),  # a piece holds a window
    )
    shape = (1, window_frames, spec.frontend.stored_bands)
    levels = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
    try:
        jax.eval_shape(compile_infer_step(changed), weights.variables, levels)
    except (UserError, flax.errors.ScopeParamShapeError) as error:
        raise UserError(
            f"--window_seconds: {spec.model} with these weights cannot hear windows of "
            f"{window_seconds} s; it was trained on {spec.window_frames / rate:.2f} s"
        ) from error
    return dataclasses.replace(weights, spec=changed)


def infer_files(
    weights: Weights,
    files: Sequence[Path],
    *,
    embed: bool = False,
    score: Scorer | None = None,
    read: Reader = windows.windows,
) -> Generator[FileOutputs, None, None]:
    """Yields what was heard in each file, in the order of the files.

    Files are read by threads, ahead of the device by a bounded amount; windows of many files share
    a batch. `score`: of `scorer`, where it is to be kept for the next call.
    """
    score = score or scorer(weights)
    songs: collections.deque[_Song] = collections.deque()  # in order, not yet yielded
    rows: Batch = []  # not yet scored
    scored: tuple[Batch, dict[str, jax.Array]] | None = None  # what the device works on

    with _reading_ahead(files, weights.spec, read) as pieces:
        for path, piece in pieces:
            if not songs or songs[-1].ended:
                songs.append(_Song(path))
            rows += _take(songs[-1], piece)
            while len(rows) >= BATCH_WINDOWS:
                batch, rows = rows[:BATCH_WINDOWS], rows[BATCH_WINDOWS:]
                made = score(np.stack([levels for _, levels in batch]))
                if scored:  # one batch behind: the host goes on while the device works
                    _hand_out(*scored)
                scored = batch, made
            yield from _finished(songs, weights.spec, embed)
    if scored:
        _hand_out(*scored)
    if rows:
        _hand_out(rows, score(np.stack([levels for _, levels in rows])))
    yield from _finished(songs, weights.spec, embed)


def _take(song: _Song, piece: Piece) -> Batch:
    """Notes a piece of a song; returns its windows."""
    if isinstance(piece, str):
        song.ended, song.error = True, piece
        return []
    starts, levels = piece
    song.starts.append(starts)
    song.waiting += len(levels)
    return [(song, window) for window in levels]


def _hand_out(batch: Batch, made: dict[str, jax.Array]) -> None:
    """Gives each song of a batch its rows."""
    for name, values in made.items():
        for (song, _), row in zip(batch, np.asarray(values), strict=False):  # the rest is padding
            song.made.setdefault(name, []).append(row)
    for song, _ in batch:
        song.waiting -= 1


def _finished(songs: collections.deque[_Song], spec: Spec, embed: bool) -> Iterator[FileOutputs]:
    """Takes the songs that are done from the front, and yields what was heard in them."""
    while songs and songs[0].ended and (songs[0].error or not songs[0].waiting):
        song = songs.popleft()
        if song.error:
            nothing = np.zeros((0, len(spec.classes)), np.float32)
            yield FileOutputs(
                song.path, np.zeros(0), nothing, nothing[:, :0] if embed else None, song.error
            )
            continue
        made = {name: np.stack(rows) for name, rows in song.made.items()}
        yield FileOutputs(
            song.path,
            np.concatenate(song.starts),
            made["scores"],
            made["embedding"] if embed else None,
            attention=made.get("attention"),
        )


@contextlib.contextmanager
def _reading_ahead(
    files: Sequence[Path], spec: Spec, read: Reader
) -> Iterator[Iterator[tuple[Path, Piece]]]:
    """Yields (file, piece) of all files, in order; threads read ahead of where that stands."""
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads)
    closing = threading.Event()

    def start(path: Path) -> tuple[Path, queue.Queue]:
        pieces: queue.Queue = queue.Queue(PIECES_AHEAD)
        pool.submit(_fill, path, pieces, spec, read, closing)
        return path, pieces

    def pieces() -> Iterator[tuple[Path, Piece]]:
        unread = iter(files)
        first = itertools.islice(unread, 2 * num_threads)
        ahead = collections.deque(map(start, first))
        while ahead:
            path, taken = ahead.popleft()
            ahead.extend(map(start, itertools.islice(unread, 1)))
            while True:
                piece = taken.get()
                if isinstance(piece, BaseException):
                    raise piece
                yield path, piece
                if isinstance(piece, str):
                    break

    # A thread a file: their matrix products must not fight for cores among each other.
    with threadpool_limits(1):
        try:
            yield pieces()
        finally:
            closing.set()
            pool.shutdown(cancel_futures=True)


def _fill(
    path: Path, pieces: queue.Queue, spec: Spec, read: Reader, closing: threading.Event
) -> None:
    """Puts the pieces of a file into a queue, and last what ended it; gives up on `closing`."""

    def put(piece: Piece | BaseException) -> None:
        while not closing.is_set():
            with contextlib.suppress(queue.Full):
                return pieces.put(piece, timeout=0.1)

    try:
        for windows in read(path, spec):
            put(windows)
            if closing.is_set():
                return
        put("")
    except UserError as error:
        put(str(error))
    except BaseException as error:  # a bug of ours: raised again where the pieces are taken
        put(error)

"""Threads that read files ahead of the device, by a bounded amount, in the order of the files."""

import collections
import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from threadpoolctl import threadpool_limits

from deepgenre.errors import UserError
from deepgenre.inference.windows import Reader, Windows
from deepgenre.weights.spec import Spec

PIECES_AHEAD = 4  # read ahead per file: bounds the memory of long files
Piece = tuple[int, Windows] | str  # the last of a file is the error that ended it, or ''


@contextlib.contextmanager
def read_ahead(
    files: Iterable[Path], specs: Sequence[Spec], read: Reader
) -> Iterator[Iterator[tuple[Path, Piece]]]:
    """Yields an iterator of (file, piece) over all files, in order; threads read ahead of it."""
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads)
    stopped = threading.Event()

    def start(path: Path) -> tuple[Path, queue.Queue]:
        pieces: queue.Queue = queue.Queue(PIECES_AHEAD)
        pool.submit(_read_into, pieces, path, specs, read, stopped)
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
    pieces: queue.Queue,
    path: Path,
    specs: Sequence[Spec],
    read: Reader,
    stopped: threading.Event,
) -> None:
    """Puts the pieces of a file into a queue, then its error or ''; returns early once stopped."""

    def put(piece: Piece | BaseException) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return pieces.put(piece, timeout=0.1)

    try:
        for piece in read(path, specs):
            put(piece)
            if stopped.is_set():
                return
        put("")
    except UserError as error:
        put(str(error))
    except BaseException as error:  # a bug: raised again in the thread that gets the pieces
        put(error)

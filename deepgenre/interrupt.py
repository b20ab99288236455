"""Stopping of processes: runs stop between two steps, worker processes with their parent."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPED = 130  # exit code after Ctrl-C

_raised = False  # by `raise_or_exit`; callbacks of libraries swallow the exception


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Yields a function: the signal that requested a stop, 0 without one.

    A second Ctrl-C stops at once. Raises KeyboardInterrupt where there was one before, which a
    library swallowed.
    """
    global _raised
    if _raised:
        _raised = False
        raise KeyboardInterrupt
    requested = 0

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        requested = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_or_exit(number: int, frame: FrameType | None) -> None:
    """Handles Ctrl-C: ends the process at once while libraries load, else raises KeyboardInterrupt.

    Libraries that are half loaded turn the exception into others, or print its traceback.
    """
    global _raised
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"deepgenre: stopped\n")
            os._exit(STOPPED)
        frame = frame.f_back
    _raised = True
    raise KeyboardInterrupt


@contextlib.contextmanager
def unseen_by_children() -> Iterator[None]:
    """Processes that start meanwhile never receive Ctrl-C: their parent decides when they end.

    Here it is delivered at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Ends this worker process when its parent has ended, even by SIGKILL.

    A worker that waits for tasks, or for space in a queue, would not notice.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

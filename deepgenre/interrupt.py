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


_handled = [signal.SIGINT, signal.SIGTERM]
_requested = 0  # the signal that asked for a stop; within `stop_requests`


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Yields a function: the signal that requested a stop, 0 without one.

    Blocks may be nested: an inner one knows of the requests in the outer one. A second Ctrl-C stops
    at once. Raises KeyboardInterrupt where there was one before, which a library swallowed. Outside
    the main thread, which alone receives signals, there are no requests.
    """
    global _raised, _requested
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    if _raised:
        _raised = False
        raise KeyboardInterrupt
    before = {number: signal.signal(number, _request) for number in _handled}
    try:
        yield lambda: _requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _request not in before.values():  # the outermost
            _requested = 0


def leave_termination_to_jax() -> None:
    """Leaves SIGTERM to JAX, whose handler, which is not Python's, would be replaced."""
    if signal.SIGTERM in _handled:
        _handled.remove(signal.SIGTERM)


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = number
    signal.signal(signal.SIGINT, signal.default_int_handler)


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

"""Calls functions of untrusted files in worker processes, within limits of time and memory.

Native decoders can crash or hang on a damaged file. `call` and `stream` then end the worker, raise
UserError that names the file, and the next call starts another worker. Workers are kept between
calls, one per thread that calls at the same time.

Not a pool of `multiprocessing` or `concurrent.futures`: one crash breaks all tasks of the latter,
and both import the caller's main module, which takes seconds here.
"""

import atexit
import contextlib
import dataclasses
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.files import stamp
from deepgenre.isolated.protocol import (
    CAPACITY_SAMPLES,
    Block,
    Done,
    Failed,
    Reply,
    Request,
    Warned,
)

SECONDS = 60.0  # to the next block or the result, and more of a large file
BYTES_PER_SECOND = 1 << 20  # of a slow network drive
MORE_BYTES = 2 << 30  # of memory beside that of libraries, and more of a large file
BYTES_PER_BYTE = 4  # of memory: copies of a file that is repaired
COMMAND = (
    "import sys; sys.path[:] = {path!r}; from deepgenre.isolated import worker; "
    "worker.main{descriptors}"
)

_idle: list["_Worker"] = []


@dataclasses.dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen
    channel: Connection
    lifeline: int
    buffer: np.ndarray  # float32, shared

    def end(self) -> None:
        """Ends the process and those it started, such as ffmpeg."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()
        os.close(self.lifeline)


def call(function: Callable[..., Any], path: Path, *args: Any) -> Any:
    """Returns `function(path, *args)`, of arguments and a result that can be pickled.

    Raises what it raises if that is UserError or OSError, and UserError that names the file where
    it crashes or takes too much time or memory.
    """
    with _borrowed() as worker:
        _send(worker, _request(function, (path, *args), is_stream=False))
        reply = _receive(worker, path)
    return _result(reply)


def stream(
    function: Callable[..., Iterator], path: Path, warn: Callable[[str], None]
) -> Generator[tuple[np.ndarray, int], None, None]:
    """Yields what `function(path, warn, out)` does: (samples, rate in Hz), of large blocks parts.

    Samples, float32 (samples, channels), are in memory that is used again for the next block: copy
    what you keep. The function may place them at the start of out, float32 (CAPACITY_SAMPLES,),
    which saves a copy. Raises what `call` does.
    """
    with _borrowed() as worker:
        _send(worker, _request(function, (path,), is_stream=True))
        while isinstance(reply := _receive(worker, path), Block | Warned):
            if isinstance(reply, Warned):
                warn(reply.message)
                continue
            samples = worker.buffer[: reply.frames * reply.channels]
            try:
                yield samples.reshape(-1, reply.channels), reply.rate_hz
            except GeneratorExit:  # the rest is not needed
                _send(worker, False)
                _receive(worker, path)
                return
            _send(worker, True)
    _result(reply)


def start_ahead() -> None:
    """Starts a worker before the first call, while this process loads libraries."""
    _idle.append(_start())


def end_idle() -> None:
    """Ends the workers that no call uses."""
    while _idle:
        _idle.pop().end()


def _forget() -> None:
    """Leaves the workers to the parent of this process, which was forked."""
    _idle.clear()


atexit.register(end_idle)
os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def _borrowed() -> Iterator[_Worker]:
    """Yields a worker, which is kept for the next call unless this one fails in it."""
    worker = _take_idle() or _start()
    try:
        yield worker
    except BaseException:
        worker.end()
        raise
    _idle.append(worker)


def _take_idle() -> _Worker | None:
    while _idle:
        with contextlib.suppress(IndexError):  # another thread took it
            worker = _idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.end()
    return None


def _start() -> _Worker:
    ours, theirs = socket.socketpair()
    read_end, lifeline = os.pipe()
    memory = os.memfd_create("blocks")
    os.ftruncate(memory, 4 * CAPACITY_SAMPLES)
    buffer = np.frombuffer(mmap.mmap(memory, 0), np.float32)
    descriptors = (theirs.fileno(), read_end, memory)
    command = COMMAND.format(path=sys.path, descriptors=descriptors)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        pass_fds=descriptors,
        start_new_session=True,  # Ctrl-C is for the parent, which decides when it ends
    )
    theirs.close()
    os.close(read_end)
    os.close(memory)
    return _Worker(process, Connection(ours.detach()), lifeline, buffer)


def _request(function: Callable[..., Any], args: tuple[Any, ...], *, is_stream: bool) -> Request:
    return Request(
        module=function.__module__,
        name=function.__name__,
        args=args,
        is_stream=is_stream,
        folder=str(Path.cwd()),
        programs=os.environ.get("PATH", os.defpath),
        more_bytes=MORE_BYTES + BYTES_PER_BYTE * _num_bytes(args[0]),
    )


def _num_bytes(path: Path) -> int:
    found = stamp(path)
    return found[0] if found else 0


def _send(worker: _Worker, message: Request | bool) -> None:
    with contextlib.suppress(ConnectionError):  # it has crashed: `_receive` says so
        worker.channel.send(message)


def _receive(worker: _Worker, path: Path) -> Reply:
    """Returns the next reply about a file; raises UserError where there is none."""
    seconds = SECONDS + _num_bytes(path) / BYTES_PER_SECOND
    if not worker.channel.poll(seconds):
        raise UserError(
            f"{path}: reading it did not get on for {seconds:.0f} s and was stopped; convert it to "
            "another format, or remove it"
        )
    try:
        return worker.channel.recv()
    except (EOFError, ConnectionError) as error:
        code = worker.process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        advice = "too little memory? else " if code == -signal.SIGKILL else ""
        raise UserError(
            f"{path}: the process that read it crashed ({how}); {advice}convert it to another "
            "format, or remove it"
        ) from error


def _result(reply: Reply) -> Any:
    if isinstance(reply, Failed):
        raise reply.error
    assert isinstance(reply, Done)
    return reply.value

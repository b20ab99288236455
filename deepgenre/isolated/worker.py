"""The worker process: calls functions one after another, until its parent ends."""

import functools
import importlib
import mmap
import os
import resource
import signal
import threading
import traceback
from collections.abc import Generator
from multiprocessing.connection import Connection

import numpy as np

from deepgenre.errors import UserError
from deepgenre.isolated.protocol import Block, Done, Failed, Reply, Request, Warned


def main(channel: int, lifeline: int, memory: int) -> None:
    """Answers the requests of a channel; arguments: descriptors.

    lifeline: of a pipe whose other end is closed when the parent ends. memory: shared, of blocks.
    """
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    connection = Connection(channel)
    buffer = np.frombuffer(mmap.mmap(memory, 0), np.float32)
    try:
        while True:
            connection.send(_answer(connection.recv(), connection, buffer))
    except (EOFError, ConnectionError):  # the parent has ended, or needs no worker any more
        return


def _end_with_parent(lifeline: int) -> None:
    """Ends this process and those it started, such as ffmpeg, with its parent."""
    os.read(lifeline, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _answer(request: Request, channel: Connection, buffer: np.ndarray) -> Reply:
    try:
        os.chdir(request.folder)
        os.environ["PATH"] = request.programs
        _limit_memory(request.more_bytes)
        function = getattr(importlib.import_module(request.module), request.name)
        if not request.is_stream:
            return Done(function(*request.args))
        warn = functools.partial(_warn, channel)
        blocks = function(*request.args, warn, buffer)
        _send_blocks(blocks, channel, buffer)
        return Done(None)
    except MemoryError:
        gibibytes = request.more_bytes / 2**30
        return Failed(
            UserError(f"{request.args[0]}: needs more than {gibibytes:.0f} GiB of memory")
        )
    except (UserError, OSError) as error:
        return Failed(error)
    except Exception as error:  # a bug: its traceback is that of this process
        return Failed(RuntimeError("".join(traceback.format_exception(error))))


def _warn(channel: Connection, message: str) -> None:
    channel.send(Warned(message))


def _limit_memory(more_bytes: int) -> None:
    """Limits the address space, also of programs that are started, to what it is and some more."""
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
        used_bytes = int(stream.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = used_bytes + more_bytes
    resource.setrlimit(
        resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


def _send_blocks(
    blocks: Generator[tuple[np.ndarray, int], None, None], channel: Connection, buffer: np.ndarray
) -> None:
    """Sends the blocks of a stream, in parts that fit into the buffer, until no more are needed."""
    for samples, rate_hz in blocks:
        channels = samples.shape[1]
        size = buffer.size // channels
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            place = buffer[: part.size].reshape(part.shape)
            if place.ctypes.data != part.ctypes.data:  # else it was written there
                place[:] = part
            channel.send(Block(len(part), channels, rate_hz))
            if not channel.recv():
                blocks.close()
                return

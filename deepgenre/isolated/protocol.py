"""What a process and its worker send each other.

A `Request` is answered by any number of `Block` and `Warning`, then by a `Done` or `Failed`. The
samples of a block are in memory that both share; the worker waits with the next until it receives
True, and ends the stream early if it receives False.
"""

import dataclasses
from typing import Any

CAPACITY_SAMPLES = 1 << 20  # of the shared memory, float32


@dataclasses.dataclass(frozen=True)
class Request:
    """A function to call, by module and name, and what of the caller's state it depends on."""

    module: str
    name: str
    args: tuple[Any, ...]
    is_stream: bool  # it yields blocks; two more arguments are as in `calls.stream`
    folder: str  # the working directory
    programs: str  # the search path of programs
    more_bytes: int  # of memory, at most


@dataclasses.dataclass(frozen=True)
class Block:
    """Samples in the shared memory, (frames, channels)."""

    frames: int
    channels: int
    rate_hz: int


@dataclasses.dataclass(frozen=True)
class Warned:
    """A line about the file."""

    message: str


@dataclasses.dataclass(frozen=True)
class Done:
    """What the function returned; None of a stream."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Failed:
    """What the function raised."""

    error: Exception


Reply = Block | Warned | Done | Failed

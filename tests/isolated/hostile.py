"""What a decoder can do to its process; called in workers."""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from deepgenre.errors import UserError

Block = tuple[np.ndarray, int]


def crash(path: Path) -> None:
    ctypes.string_at(0)


def hang(path: Path) -> None:
    time.sleep(600)


def spin(path: Path) -> None:
    """Holds the interpreter's lock, as a hang in native code can."""
    ctypes.PyDLL(None).usleep(600_000_000)


def leave(path: Path) -> None:
    os._exit(3)


def fill_memory(path: Path) -> int:
    return len(bytes(10 << 30))


def fail(path: Path, message: str) -> None:
    raise UserError(f"{path}: {message}")


def missing(path: Path) -> bytes:
    return path.read_bytes()


def bug(path: Path) -> None:
    raise KeyError("of the program")


def process_id(path: Path) -> int:
    return os.getpid()


def blocks(path: Path, warn: Callable[[str], None], out: np.ndarray) -> Iterator[Block]:
    """Blocks of random sizes, channels and rates, some of them at their place; see `expected`."""
    warn(f"{path}: a warning")
    for number, (samples, rate_hz) in enumerate(expected()):
        place = out[: samples.size]
        if number % 2 and place.size == samples.size:
            place[:] = samples.ravel()
            samples = place.reshape(samples.shape)
        yield samples, rate_hz


def expected() -> list[Block]:
    rng = np.random.default_rng(0)
    sizes = [(3, 2), (1 << 20, 2), (1, 2), (700_001, 1), (700_001, 1), (5, 3), (1 << 19, 3)]
    return [(rng.random(size, np.float32), 8_000 + 1_000 * size[1]) for size in sizes]


def crash_later(path: Path, warn: Callable[[str], None], out: np.ndarray) -> Iterator[Block]:
    yield np.ones((1 << 20, 1), np.float32), 8_000
    crash(path)

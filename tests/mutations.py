"""Test helpers: damaged bytes, as a disk, a program that was killed or an attacker makes them."""

import contextlib
import random
import re
import resource
import signal
from collections.abc import Iterator
from types import FrameType

# What parsers of text take wrongly: values of other types, too large, too deep, not UTF-8.
TOKENS = [
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-9223372036854775809", b"9" * 5000, b'""',
    b'"x"', b"[]", b"{}", b"[[]]", b"[" * 100_000, b'{"a":' * 20_000, b'"\\ud800"', b"\xff\xfe",
    b"\0", b"\n", b"\r\n", b"\x1b]0;x\x07", "\u202e".encode(), b'"' + b"a" * 300 + b'"', b"../",
    b"/", b",", b":", b"|", b'"',
]  # fmt: skip
VALUES = re.compile(rb'-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|\w+')
NUMBERS = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80", bytes(8)]


def mutated(content: bytes, seed: int) -> bytes:
    """Returns the content with one to four changes."""
    rng = random.Random(seed)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        content = rng.choice(CHANGES)(bytearray(content), rng)
    return content


def _flip(content: bytearray, rng: random.Random) -> bytes:
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _flip_near_an_end(content: bytearray, rng: random.Random) -> bytes:
    if content:
        offset = min(int(rng.expovariate(1 / 40)), len(content) - 1)
        content[rng.choice([offset, -1 - offset])] = rng.randrange(256)
    return bytes(content)


def _cut(content: bytearray, rng: random.Random) -> bytes:
    return bytes(content[: rng.randrange(len(content) + 1)])


def _zero_a_range(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    count = min(rng.choice([1, 8, 512, 4096]), len(content) - start)
    content[start : start + count] = bytes(count)
    return bytes(content)


def _move_a_range(content: bytearray, rng: random.Random) -> bytes:
    start, count = rng.randrange(len(content) + 1), rng.choice([1, 4, 30, 500])
    taken = content[start : start + count]
    if rng.random() < 0.5:
        del content[start : start + count]
    if rng.random() < 0.7:
        target = rng.randrange(len(content) + 1)
        content[target:target] = taken
    return bytes(content)


def _replace_a_value(content: bytearray, rng: random.Random) -> bytes:
    found = [match.span() for match in VALUES.finditer(bytes(content[:20_000]))]
    start, end = rng.choice(found) if found else (0, 0)
    content[start:end] = rng.choice(TOKENS)
    return bytes(content)


def _insert(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    content[start:start] = rng.choice(TOKENS)
    return bytes(content)


def _set_a_number(content: bytearray, rng: random.Random) -> bytes:
    number = rng.choice(NUMBERS)
    start = rng.randrange(min(len(content), rng.choice([64, 1024, 1 << 30])) + 1)
    content[start : start + len(number)] = number
    return bytes(content)


CHANGES = (
    _flip, _flip, _flip_near_an_end, _cut, _zero_a_range, _move_a_range, _replace_a_value,
    _replace_a_value, _insert, _set_a_number,
)  # fmt: skip


@contextlib.contextmanager
def bounded(*, seconds: float, more_bytes: int) -> Iterator[None]:
    """Raises AssertionError after some time, MemoryError where much more memory is asked for.

    seconds: of processor time; ten times as many by the clock, as other programs may be running.
    """

    def expired(number: int, frame: FrameType | None) -> None:
        raise AssertionError(
            f"took longer than {seconds} s of processor time, or 10 x by the clock"
        )

    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
        used = int(stream.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    handlers = {number: signal.signal(number, expired) for number in timers}
    resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    try:
        yield
    finally:
        for number, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, handlers[number])
        resource.setrlimit(resource.RLIMIT_AS, limits)

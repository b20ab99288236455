"""What turns a file that was changed in places back into what it was: small, and byte for byte."""

import base64
import mmap
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

Buffer = bytes | mmap.mmap
Piece = tuple[int, int] | str  # bytes of the changed file: first, count; or others: zlib, base64
Match = tuple[int, int, int]  # place in the changed file, place in the original, count
CHUNK_BYTES = 1 << 20  # compared at a time
KEY_BYTES = 64  # that are looked for; shorter matches cost more than they save
# Of a range, where keys are taken. No simple fractions: they would all fall on the heads of pages.
PLACES = (0.5, 0.2361, 0.7639, 0.1459, 0.3820, 0.6180, 0.8541)


def diff(changed: Buffer, original: Buffer) -> list[Piece]:
    """Returns the pieces of `changed`, and of other bytes, that make `original` again.

    What both begin with and what both end with is taken first; then something from the middle of
    the rest is looked for, and so on before and after it.
    """
    pieces: list[Piece] = []
    done = 0
    for source, target, count in _matches(changed, original, (0, len(changed)), (0, len(original))):
        if target > done:
            pieces.append(_packed(original[done:target]))
        pieces.append((source, count))
        done = target + count
    if done < len(original):
        pieces.append(_packed(original[done:]))
    return pieces


def apply(changed: Buffer, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yields the bytes of the original, in order. Raises ValueError where a piece is damaged."""
    for piece in pieces:
        if isinstance(piece, str):
            try:
                yield zlib.decompress(base64.b64decode(piece))
            except zlib.error as error:
                raise ValueError(str(error)) from error
        else:
            start, count = piece
            for begin in range(start, start + count, CHUNK_BYTES):
                yield changed[begin : min(begin + CHUNK_BYTES, start + count)]


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def _matches(
    changed: Buffer, original: Buffer, sources: tuple[int, int], targets: tuple[int, int]
) -> Iterator[Match]:
    """Yields what a range of each has in common, in order."""
    (a, b), (c, d) = sources, targets
    head = _common(changed, original, a, c, min(b - a, d - c))
    if head >= KEY_BYTES:
        yield a, c, head
        a, c = a + head, c + head
    tail = _common_before(changed, original, b, d, min(b - a, d - c))
    if tail < KEY_BYTES:
        tail = 0
    b, d = b - tail, d - tail
    found = _find(changed, original, (a, b), (c, d))
    if found:
        source, target, count = found
        yield from _matches(changed, original, (a, source), (c, target))
        yield found
        yield from _matches(changed, original, (source + count, b), (target + count, d))
    if tail:
        yield b, d, tail


def _find(
    changed: Buffer, original: Buffer, sources: tuple[int, int], targets: tuple[int, int]
) -> Match | None:
    """Returns a match of at least KEY_BYTES that grows from a key within the ranges, or None."""
    (a, b), (c, d) = sources, targets
    if min(b - a, d - c) < KEY_BYTES:
        return None
    for place in PLACES:
        target = c + int((d - c - KEY_BYTES) * place)
        key = original[target : target + KEY_BYTES]
        likely = (a + target - c, b - (d - target))  # as far from the start, from the end
        source = next((s for s in likely if changed[s : s + KEY_BYTES] == key and a <= s), -1)
        if source < 0 or source + KEY_BYTES > b:
            source = changed.find(key, a, b)
        if source >= 0:
            before = _common_before(changed, original, source, target, min(source - a, target - c))
            after = _common(changed, original, source, target, min(b - source, d - target))
            return source - before, target - before, before + after
    return None


def _common(left: Buffer, right: Buffer, a: int, b: int, most: int) -> int:
    """Returns how many bytes, at most `most`, are equal from places a and b on."""
    for done in range(0, most, CHUNK_BYTES):
        count = min(CHUNK_BYTES, most - done)
        same = _equal(left, right, a + done, b + done, count)
        if not same.all():
            return done + int(same.argmin())
    return max(0, most)


def _common_before(left: Buffer, right: Buffer, a: int, b: int, most: int) -> int:
    """Returns how many bytes, at most `most`, are equal before places a and b."""
    for done in range(0, most, CHUNK_BYTES):
        count = min(CHUNK_BYTES, most - done)
        same = _equal(left, right, a - done - count, b - done - count, count)[::-1]
        if not same.all():
            return done + int(same.argmin())
    return max(0, most)


def _equal(left: Buffer, right: Buffer, a: int, b: int, count: int) -> np.ndarray:
    return np.frombuffer(left, np.uint8, count, a) == np.frombuffer(right, np.uint8, count, b)

"""A binary diff that restores the original of a changed file exactly, from few bytes."""

import base64
import mmap
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

Buffer = bytes | mmap.mmap
Piece = tuple[int, int] | str  # (offset, count) in the changed file, or new bytes: zlib, base64
Match = tuple[int, int, int]  # offset in the changed file, offset in the original, count
CHUNK_BYTES = 1 << 20  # compared at a time
KEY_BYTES = 64  # length of a searched key; shorter matches cost more than they save
# Relative positions of keys in a range. Irregular, because simple fractions would all be at the
# starts of Ogg pages.
KEY_POSITIONS = (0.5, 0.2361, 0.7639, 0.1459, 0.3820, 0.6180, 0.8541)


def diff(changed: Buffer, original: Buffer) -> list[Piece]:
    """Returns the pieces of `changed`, and new bytes, that concatenate to `original`.

    Matches the common prefix and suffix first, then a key from the middle of the rest, and so on
    recursively before and after that match.
    """
    pieces: list[Piece] = []
    done = 0
    for source, target, count in _matches(changed, original, (0, len(changed)), (0, len(original))):
        if target > done:
            pieces.append(_compress(original[done:target]))
        pieces.append((source, count))
        done = target + count
    if done < len(original):
        pieces.append(_compress(original[done:]))
    return pieces


def apply(changed: Buffer, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yields the bytes of the original, in order. Raises ValueError where a piece is damaged."""
    for piece in pieces:
        if isinstance(piece, str):
            yield from _decompress(piece)
        else:
            start, count = piece
            if not 0 <= start <= start + count <= len(changed):
                raise ValueError("a piece lies outside the file")
            for begin in range(start, start + count, CHUNK_BYTES):
                yield changed[begin : min(begin + CHUNK_BYTES, start + count)]


def _compress(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def _decompress(piece: str) -> Iterator[bytes]:
    """Yields the bytes in blocks: a small damaged piece may promise gigabytes."""
    stream, rest = zlib.decompressobj(), base64.b64decode(piece)
    try:
        while not stream.eof:
            block = stream.decompress(rest, CHUNK_BYTES)
            rest = stream.unconsumed_tail
            if not block and not rest and not stream.eof:
                raise ValueError("a piece is cut off")
            yield block
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _matches(
    changed: Buffer, original: Buffer, sources: tuple[int, int], targets: tuple[int, int]
) -> Iterator[Match]:
    """Yields the matches between a range of each file, in order."""
    (a, b), (c, d) = sources, targets
    prefix = _common_prefix(changed, original, a, c, min(b - a, d - c))
    if prefix >= KEY_BYTES:
        yield a, c, prefix
        a, c = a + prefix, c + prefix
    suffix = _common_suffix(changed, original, b, d, min(b - a, d - c))
    if suffix < KEY_BYTES:
        suffix = 0
    b, d = b - suffix, d - suffix
    match = _find(changed, original, (a, b), (c, d))
    if match:
        source, target, count = match
        yield from _matches(changed, original, (a, source), (c, target))
        yield match
        yield from _matches(changed, original, (source + count, b), (target + count, d))
    if suffix:
        yield b, d, suffix


def _find(
    changed: Buffer, original: Buffer, sources: tuple[int, int], targets: tuple[int, int]
) -> Match | None:
    """Returns a match of at least KEY_BYTES, extended from a key within the ranges, or None."""
    (a, b), (c, d) = sources, targets
    if min(b - a, d - c) < KEY_BYTES:
        return None
    for position in KEY_POSITIONS:
        target = c + int((d - c - KEY_BYTES) * position)
        key = original[target : target + KEY_BYTES]
        likely = (a + target - c, b - (d - target))  # same distance from the start, from the end
        source = next((s for s in likely if changed[s : s + KEY_BYTES] == key and a <= s), -1)
        if source < 0 or source + KEY_BYTES > b:
            source = changed.find(key, a, b)
        if source >= 0:
            before = _common_suffix(changed, original, source, target, min(source - a, target - c))
            after = _common_prefix(changed, original, source, target, min(b - source, d - target))
            return source - before, target - before, before + after
    return None


def _common_prefix(left: Buffer, right: Buffer, a: int, b: int, limit: int) -> int:
    """Returns how many bytes, at most `limit`, are equal from offsets a and b onwards."""
    for done in range(0, limit, CHUNK_BYTES):
        count = min(CHUNK_BYTES, limit - done)
        same = _equal(left, right, a + done, b + done, count)
        if not same.all():
            return done + int(same.argmin())
    return max(0, limit)


def _common_suffix(left: Buffer, right: Buffer, a: int, b: int, limit: int) -> int:
    """Returns how many bytes, at most `limit`, are equal before offsets a and b."""
    for done in range(0, limit, CHUNK_BYTES):
        count = min(CHUNK_BYTES, limit - done)
        same = _equal(left, right, a - done - count, b - done - count, count)[::-1]
        if not same.all():
            return done + int(same.argmin())
    return max(0, limit)


def _equal(left: Buffer, right: Buffer, a: int, b: int, count: int) -> np.ndarray:
    return np.frombuffer(left, np.uint8, count, a) == np.frombuffer(right, np.uint8, count, b)

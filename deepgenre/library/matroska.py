"""Tags of Matroska files (.mka, .mkv, .webm), read and written in place.

A file is a tree of EBML elements (RFC 8794): identifier, size, content. The children of the Segment
include Tags, of which those without a target (a track, chapter, ...) belong to the whole file, and
a SeekHead with the positions of other children (RFC 9559). Sound is never moved: new tags take
the place of the old ones where they fit, and are appended to the Segment otherwise.
"""

import dataclasses
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT, SEEK_HEAD, TAGS = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1254C367
VOID, CRC32 = 0xEC, 0xBF
SEEK, SEEK_ID, SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
TAG, TARGETS, SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x7373, 0x63C0, 0x67C8, 0x45A3, 0x4487
TARGET_UIDS = {0x63C5, 0x63C9, 0x63C4, 0x63C6}  # of a track, edition, chapter or attachment
UNKNOWN_SIZE = -1
MAX_TAGS_BYTES = 64 << 20  # covers are attachments, not tags


class MatroskaError(ValueError):
    """The file is damaged, or has no room for tags."""


@dataclasses.dataclass(frozen=True)
class Element:
    """An element of a file or of a content: where it starts, where its content starts and ends."""

    identifier: int
    start: int
    content_start: int
    end: int  # of the content; UNKNOWN_SIZE for a Segment of a live stream


@dataclasses.dataclass(frozen=True)
class SimpleTag:
    """A tag of the whole file: name in capitals, text (None for bytes), and its element."""

    name: str
    text: str | None
    element: bytes


class Matroska:
    """An open file: `tags` are those of the whole file, which `save` writes."""

    def __init__(self, path: Path) -> None:
        """Reads the tags; raises MatroskaError on a damaged file."""
        self._path = path
        with path.open("rb") as stream:
            self._segment, self._children = _layout(stream)
            self._others: list[bytes] = []  # Tag elements of a track, chapter, ...
            self.tags: list[SimpleTag] = []
            for element in self._of(TAGS):
                self._add(_content(stream, element))

    def _of(self, identifier: int) -> list[Element]:
        return [child for child in self._children if child.identifier == identifier]

    def _add(self, content: bytes) -> None:
        for tag in _elements(content):
            if tag.identifier != TAG:
                continue  # a checksum, or padding
            inside = content[tag.content_start : tag.end]
            children = [*_elements(inside)]
            targets = [c for c in children if c.identifier == TARGETS]
            if any(_targets_part(inside[c.content_start : c.end]) for c in targets):
                self._others.append(content[tag.start : tag.end])
                continue
            for child in children:
                if child.identifier == SIMPLE_TAG:
                    self.tags.append(_simple_tag(inside[child.start : child.end]))

    def texts(self, name: str) -> list[str]:
        """Returns the texts of a name, in any case of letters."""
        return [t.text for t in self.tags if t.name == name.upper() and t.text is not None]

    def set(self, name: str, texts: Sequence[str]) -> None:
        """Replaces the texts of a name; none remove it."""
        self.tags = [tag for tag in self.tags if tag.name != name.upper()]
        for text in texts:
            content = _element(TAG_NAME, name.upper().encode())
            content += _element(TAG_STRING, text.encode())
            self.tags.append(_simple_tag(_element(SIMPLE_TAG, content)))

    def others(self, names: Iterable[str]) -> list[str]:
        """Returns all tags but those of the names, for comparison."""
        kept = sorted(tag.element for tag in self.tags if tag.name not in names)
        return [*map(repr, kept), *map(repr, self._others)]

    def save(self) -> None:
        """Writes the tags; raises MatroskaError where the file has no room for them."""
        whole = _element(TARGETS, b"") + b"".join(tag.element for tag in self.tags)
        content = b"".join(self._others) + (_element(TAG, whole) if self.tags else b"")
        with self._path.open("r+b") as stream:
            position = self._replace_tags(stream, _element(TAGS, content) if content else b"")
            for head in self._of(SEEK_HEAD)[:1]:
                self._write_seek_head(stream, head, position)

    def _replace_tags(self, stream: BinaryIO, element: bytes) -> int | None:
        """Writes the Tags element; returns its position in the Segment, None where it has none."""
        old = self._of(TAGS)
        for tags in old[1:]:
            _write_at(stream, tags.start, _void(tags.end - tags.start))
        if old:
            room = self._room(old[0])
            if padding := _fitted(element, room):
                _write_at(stream, old[0].start, padding)
                return old[0].start - self._segment.content_start if element else None
            _write_at(stream, old[0].start, _void(room))
        return self._append(stream, element) if element else None

    def _room(self, element: Element) -> int:
        """Returns the bytes of an element and of the padding that follows it."""
        end = element.end
        for child in self._children:
            if child.identifier == VOID and child.start == end:
                end = child.end
        return end - element.start

    def _append(self, stream: BinaryIO, element: bytes) -> int:
        """Appends an element to the Segment; returns its position."""
        size = stream.seek(0, os.SEEK_END)
        if self._segment.end != UNKNOWN_SIZE:
            if self._segment.end != size:
                raise MatroskaError("is cut short, or something follows its last element")
            width = self._segment.content_start - self._segment.start - 4
            content_bytes = size + len(element) - self._segment.content_start
            _write_at(stream, self._segment.start + 4, _size(content_bytes, width))
        _write_at(stream, size, element)
        return size - self._segment.content_start

    def _write_seek_head(self, stream: BinaryIO, head: Element, position: int | None) -> None:
        """Writes the position of the tags into the list of elements; None: there are no tags."""
        old = [_content(stream, head)[e.start : e.end] for e in _elements(_content(stream, head))]
        seek = _element(SEEK_ID, TAGS.to_bytes(4, "big"))
        seek += _element(SEEK_POSITION, (position or 0).to_bytes(8, "big"))
        kept = [entry for entry in old if _seek_of(entry)[0] not in (0, TAGS)]
        new = b"".join([*kept, *([] if position is None else [_element(SEEK, seek)])])
        if [p for identifier, p in map(_seek_of, old) if identifier == TAGS] == [position]:
            return
        checksum = _element(CRC32, struct.pack("<I", zlib.crc32(new)))
        if not (fitted := _fitted(_element(SEEK_HEAD, checksum + new), self._room(head))):
            raise MatroskaError("its list of elements has no room for the tags")
        _write_at(stream, head.start, fitted)


def _layout(stream: BinaryIO) -> tuple[Element, list[Element]]:
    """Returns the Segment and its children; those after a child of unknown size are left out."""
    file_bytes = stream.seek(0, os.SEEK_END)
    header = _read_element(stream, 0, file_bytes)
    if header.identifier != EBML:
        raise MatroskaError("is not a Matroska file")
    segment = _read_element(stream, header.end, file_bytes)
    if segment.identifier != SEGMENT:
        raise MatroskaError("has no segment")
    children, offset = [], segment.content_start
    end = file_bytes if segment.end == UNKNOWN_SIZE else segment.end
    while offset < end:
        child = _read_element(stream, offset, file_bytes)
        if child.end == UNKNOWN_SIZE:  # a cluster of a live stream
            break
        children.append(child)
        offset = child.end
    return segment, children


def _read_element(stream: BinaryIO, offset: int, limit: int) -> Element:
    stream.seek(offset)
    element = _parse(stream.read(12), 0, offset)
    if element.end > limit and element.identifier != SEGMENT:
        raise MatroskaError(f"is cut short or damaged at byte {offset}")
    return element


def _content(stream: BinaryIO, element: Element) -> bytes:
    count = element.end - element.content_start
    if count > MAX_TAGS_BYTES:
        raise MatroskaError(f"has {count} bytes of tags")
    stream.seek(element.content_start)
    return stream.read(count)


def _elements(content: bytes) -> Iterator[Element]:
    """Yields the elements of a content; raises MatroskaError where they do not fill it."""
    offset = 0
    while offset < len(content):
        element = _parse(content, offset, offset)
        if not offset < element.end <= len(content):
            raise MatroskaError("has damaged tags")
        yield element
        offset = element.end


def _parse(content: bytes, offset: int, start: int) -> Element:
    """Returns the element at an offset of a content, whose position is `start`."""
    identifier, id_bytes = _variable(content, offset, keep_marker=True)
    size, size_bytes = _variable(content, offset + id_bytes, keep_marker=False)
    content_start = start + id_bytes + size_bytes
    is_unknown = size == (1 << 7 * size_bytes) - 1
    end = UNKNOWN_SIZE if is_unknown else content_start + size
    return Element(identifier, start, content_start, end)


def _variable(content: bytes, offset: int, *, keep_marker: bool) -> tuple[int, int]:
    """Returns a number of variable length, and its length in bytes (RFC 8794, section 4)."""
    first = content[offset] if offset < len(content) else 0
    width = 9 - first.bit_length()
    if width > (4 if keep_marker else 8) or offset + width > len(content):
        raise MatroskaError("is cut short or damaged")
    number = int.from_bytes(content[offset : offset + width], "big")
    return number if keep_marker else number & ((1 << 7 * width) - 1), width


def _size(size: int, width: int) -> bytes:
    """Returns the bytes of a size in a given width; raises MatroskaError where it is larger."""
    if size >= (1 << 7 * width) - 1:
        raise MatroskaError("its size has no room to grow")
    return (size | 1 << 7 * width).to_bytes(width, "big")


def _element(identifier: int, content: bytes) -> bytes:
    head = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    width = next(width for width in range(1, 9) if len(content) < (1 << 7 * width) - 1)
    return head + _size(len(content), width) + content


def _void(count: int) -> bytes:
    """Returns padding of a number of bytes, at least two, as one element."""
    width = 1 if count - 2 < 127 else 8
    return VOID.to_bytes(1, "big") + _size(count - 1 - width, width) + bytes(count - 1 - width)


def _fitted(element: bytes, room: int) -> bytes:
    """Returns the element and padding that fill the room; b'' where they cannot."""
    rest = room - len(element)
    if rest == 0:
        return element
    return element + _void(rest) if rest >= 2 else b""


def _write_at(stream: BinaryIO, offset: int, content: bytes) -> None:
    stream.seek(offset)
    stream.write(content)


def _targets_part(targets: bytes) -> bool:
    """Returns whether targets name a part of the file; the identifier 0 stands for all parts."""
    return any(
        child.identifier in TARGET_UIDS and any(targets[child.content_start : child.end])
        for child in _elements(targets)
    )


def _simple_tag(element: bytes) -> SimpleTag:
    whole = next(_elements(element))
    inside = element[whole.content_start : whole.end]
    values = {c.identifier: inside[c.content_start : c.end] for c in _elements(inside)}
    text = values.get(TAG_STRING)
    return SimpleTag(
        _text(values.get(TAG_NAME, b"")).upper(), None if text is None else _text(text), element
    )


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "replace")


def _seek_of(entry: bytes) -> tuple[int, int]:
    """Returns identifier and position of an entry of a SeekHead; (0, 0) of anything else in it."""
    whole = next(_elements(entry))
    if whole.identifier != SEEK:
        return 0, 0
    inside = entry[whole.content_start : whole.end]
    values = {
        c.identifier: int.from_bytes(inside[c.content_start : c.end], "big")
        for c in _elements(inside)
    }
    return values.get(SEEK_ID, 0), values.get(SEEK_POSITION, 0)

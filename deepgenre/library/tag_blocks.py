"""Further blocks of metadata in a file, beside that of its format, which players may read instead.

An mp3 has ID3v2 and may end with APEv2 and ID3v1, a flac may begin with ID3v2, a wav may have a
LIST INFO chunk. A field that is written is written into each block that contains it, so that no
block contradicts another; fields are not added to these blocks.
"""

import dataclasses
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from mutagen import apev2, id3
from mutagen._util import resize_bytes  # pyright: ignore[reportPrivateUsage]

from deepgenre.library.tag_fields import APE_KEYS, SEPARATOR, Values, join, split

ID3V1_BYTES = 128
ID3V1_COMMENT, ID3V1_GENRE = slice(97, 127), 127  # the comment's last two bytes may be the track
NO_GENRE = 255
INFO_IDS = {"genre": b"IGNR", "comment": b"ICMT", "artist": b"IART"}


class Block(Protocol):
    """A block of metadata of a file."""

    def read(self, field: str) -> Values:
        """Returns the values of a field, () where it is missing."""
        ...

    def write(self, fields: Mapping[str, Values]) -> None:
        """Writes the fields that the block contains."""
        ...

    def others(self, fields: Mapping[str, Values]) -> list[str]:
        """Returns all but the given fields, for comparison."""
        ...


@dataclasses.dataclass(frozen=True)
class Id3v1:
    """The last 128 bytes of a file, which begin with 'TAG'."""

    path: Path

    def read(self, field: str) -> Values:
        """Returns the values of a field, () where it is missing."""
        content = last_bytes(self.path)
        if field == "genre" and content[ID3V1_GENRE] < len(id3.TCON.GENRES):
            return (id3.TCON.GENRES[content[ID3V1_GENRE]],)
        if field == "comment":
            text = content[_comment_slice(content)].split(b"\0")[0].decode("latin-1").strip()
            return split(field, [text], slashes=False)
        return ()

    def write(self, fields: Mapping[str, Values]) -> None:
        """Writes genre, as the first value that the standard's list holds, and comment."""
        content = bytearray(last_bytes(self.path))
        if "genre" in fields and self.read("genre"):
            content[ID3V1_GENRE] = _genre_number(fields["genre"], content[ID3V1_GENRE])
        if "comment" in fields and self.read("comment"):
            where = _comment_slice(content)
            text = SEPARATOR.join(fields["comment"]).encode("latin-1", "replace")
            length = where.stop - where.start
            content[where] = text[:length].ljust(length, b"\0")
        replace_last_bytes(self.path, bytes(content))

    def others(self, fields: Mapping[str, Values]) -> list[str]:
        """Returns all but the given fields, for comparison."""
        content = bytearray(last_bytes(self.path))
        if "genre" in fields:
            content[ID3V1_GENRE] = 0
        if "comment" in fields:
            where = _comment_slice(content)
            content[where] = bytes(where.stop - where.start)
        return [f"ID3v1 {bytes(content)!r}"]


def _comment_slice(content: bytes | bytearray) -> slice:
    has_track = content[125] == 0 and content[126] != 0  # ID3v1.1
    return slice(ID3V1_COMMENT.start, 125 if has_track else ID3V1_COMMENT.stop)


def _genre_number(values: Values, old: int) -> int:
    """Returns the number of a genre among the values, `old` where it is one of them."""
    requested = [value.casefold() for value in values]
    names = [name.casefold() for name in id3.TCON.GENRES]
    if old < len(names) and names[old] in requested:
        return old
    return next((names.index(name) for name in requested if name in names), NO_GENRE)


@dataclasses.dataclass(frozen=True)
class Ape:
    """An APEv2 tag at the end of a file whose own tags have another format."""

    path: Path

    def read(self, field: str) -> Values:
        """Returns the values of a field, () where it is missing."""
        return ape_values(apev2.APEv2(self.path), field)

    def write(self, fields: Mapping[str, Values]) -> None:
        """Writes the fields that the tag contains."""
        tags = apev2.APEv2(self.path)
        kept = {field: values for field, values in fields.items() if ape_values(tags, field)}
        if kept:
            for field, values in kept.items():
                set_ape(tags, field, values)
            save_ape(self.path, tags)

    def others(self, fields: Mapping[str, Values]) -> list[str]:
        """Returns all but the given fields, for comparison."""
        ours = {APE_KEYS[field][0].casefold() for field in fields}
        items = sorted(apev2.APEv2(self.path).items())
        return [f"APEv2 {key}={value!r}" for key, value in items if key.casefold() not in ours]


def ape_values(tags: Any, field: str) -> Values:
    """Returns the values of a field in an APEv2 tag, which may be None."""
    key = APE_KEYS[field][0]
    value = tags[key] if tags and key in tags else None
    return split(field, value, slashes=False) if isinstance(value, apev2.APETextValue) else ()


def set_ape(tags: Any, field: str, values: Values) -> None:
    """Sets a field of an APEv2 tag, or removes it where there are no values."""
    key = APE_KEYS[field][0]
    if texts := join(field, values, slashes=False):
        tags[key] = texts
    elif key in tags:
        del tags[key]


def save_ape(path: Path, tags: Any) -> None:
    """Saves an APEv2 tag; keeps what follows it (Lyrics3, ID3v1), which mutagen cuts off."""
    with path.open("r+b") as stream:
        found = apev2._APEv2Data(stream)  # pyright: ignore[reportPrivateUsage]
        size = stream.seek(0, os.SEEK_END)
        end = size - ID3V1_BYTES if last_bytes(path).startswith(b"TAG") else size
        if found.end is not None and not found.is_at_start:
            end = found.end
        stream.seek(end)
        rest = stream.read()
        stream.truncate(end)
    tags.save(path)
    with path.open("ab") as stream:
        stream.write(rest)


@dataclasses.dataclass(frozen=True)
class Info:
    """The LIST INFO chunk of a wav file: offset of its size, and its subchunks."""

    path: Path
    offset: int

    def read(self, field: str) -> Values:
        """Returns the values of a field, () where it is missing."""
        texts = [text for name, text in self._subchunks() if name == INFO_IDS.get(field)]
        return split(field, [_info_text(text) for text in texts[:1]], slashes=False)

    def write(self, fields: Mapping[str, Values]) -> None:
        """Writes the fields that the chunk contains, each as one text."""
        new = {INFO_IDS[f]: SEPARATOR.join(v).encode() for f, v in fields.items() if self.read(f)}
        if not new:
            return
        parts = [
            (name, new[name] + b"\0" if name in new else content)
            for name, content in self._subchunks()
            if new.get(name, b"kept")
        ]
        chunk = b"INFO" + b"".join(
            name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
            for name, content in parts
        )
        with self.path.open("r+b") as stream:
            stream.seek(self.offset)
            (old_size,) = struct.unpack("<I", stream.read(4))
            padded = old_size + old_size % 2
            resize_bytes(stream, padded, len(chunk), self.offset + 4)
            stream.seek(self.offset)
            stream.write(struct.pack("<I", len(chunk)) + chunk)
            stream.seek(4)
            (riff_size,) = struct.unpack("<I", stream.read(4))
            stream.seek(4)
            stream.write(struct.pack("<I", riff_size + len(chunk) - padded))

    def others(self, fields: Mapping[str, Values]) -> list[str]:
        """Returns all but the given fields, for comparison."""
        ours = {INFO_IDS.get(field) for field in fields}
        return [f"INFO {name!r}={text!r}" for name, text in self._subchunks() if name not in ours]

    def _subchunks(self) -> list[tuple[bytes, bytes]]:
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            (size,) = struct.unpack("<I", stream.read(4))
            content = stream.read(size)
        return [
            (name, content[start : start + count])
            for name, start, count in _chunks(content, len(b"INFO"))
        ]


def _info_text(content: bytes) -> str:
    text = content.split(b"\0")[0]
    try:
        return text.decode().strip()
    except UnicodeDecodeError:  # of Windows programs
        return text.decode("cp1252", "replace").strip()


def _chunks(content: bytes, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, offset and size in bytes of each complete chunk."""
    while offset + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, offset)
        if offset + 8 + size > len(content):
            return
        yield name, offset + 8, size
        offset += 8 + size + size % 2


def find_info(path: Path) -> Info | None:
    """Returns the LIST INFO chunk of a RIFF file that is smaller than 4 GB, None without one."""
    with path.open("rb") as stream:
        if stream.read(4) != b"RIFF":
            return None
        offset, size = 12, stream.seek(0, os.SEEK_END)
        while offset + 8 <= size:
            stream.seek(offset)
            name, count = struct.unpack("<4sI", stream.read(8))
            if name == b"LIST" and stream.read(4) == b"INFO":
                return Info(path, offset + 4) if offset + 8 + count <= size else None
            offset += 8 + count + count % 2
    return None


def find_id3v1(path: Path) -> Id3v1 | None:
    """Returns the ID3v1 tag at the end of a file, None without one."""
    content = last_bytes(path)
    return Id3v1(path) if len(content) == ID3V1_BYTES and content.startswith(b"TAG") else None


def find_ape(path: Path) -> Ape | None:
    """Returns the APEv2 tag of a file, None without one; raises as mutagen does."""
    try:
        apev2.APEv2(path)
    except apev2.APENoHeaderError:
        return None
    return Ape(path)


def id3_frame(key: str, texts: list[str]) -> Any:
    """Returns the ID3 frame for a key such as 'TCON', 'COMM::eng' or 'TXXX:MOOD'."""
    name, _, rest = key.partition(":")
    encoding = id3.Encoding.UTF8
    if name == "COMM":
        return id3.COMM(encoding=encoding, lang=rest[1:], desc="", text=texts)
    if name == "TXXX":
        return id3.TXXX(encoding=encoding, desc=rest, text=texts)
    return id3.Frames[name](encoding=encoding, text=texts)


def save_id3(path: Path, tags: Any, save: Callable[..., None]) -> None:
    """Saves an ID3v2 tag in its own version; keeps ID3v1, which mutagen overwrites from it."""
    end = last_bytes(path)
    save(path, v2_version=tags.version[1], v23_sep=None)
    if end.startswith(b"TAG"):
        replace_last_bytes(path, end)


def last_bytes(path: Path) -> bytes:
    """Returns the last 128 bytes of a file, all of a shorter one."""
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - ID3V1_BYTES))
        return stream.read()


def replace_last_bytes(path: Path, content: bytes) -> None:
    """Overwrites the last bytes of a file."""
    with path.open("r+b") as stream:
        stream.seek(-len(content), os.SEEK_END)
        stream.write(content)

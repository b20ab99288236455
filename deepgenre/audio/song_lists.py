"""Reads lists of songs: .m3u and .m3u8, .pls, .xspf, and text with a path per line.

Players and systems write the same file in many ways: as a path or a `file:` URL, percent-encoded,
with backslashes, in UTF-8 or in the encoding of an old Windows. An entry is therefore a text with
several readings, and refers to the first of them that exists.
"""

import codecs
import dataclasses
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from deepgenre.errors import UserError
from deepgenre.files import file_mode

STANDARD_INPUT = "-"
XSPF_LOCATION = ["track", "location"]  # the last two elements around the text of an entry


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry as the list contains it; bytes that are not UTF-8 are surrogates, as in paths."""

    text: str
    line: int  # from 1
    is_uri: bool = False  # percent-encoded by the definition of the format


def read(path: Path) -> list[Entry]:
    """Returns the entries of a list, in its order; its suffix determines the format.

    Raises UserError where it cannot be read or is not a list.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the list {str(path)!r}: {error.strerror}.") from error
    if path.suffix.lower() == ".xspf":
        return _xspf_entries(content, path)
    text = _decode(content)
    if "\0" in text:
        raise UserError(f"The list {str(path)!r} is not UTF-8 text: save it as UTF-8.")
    if path.suffix.lower() == ".pls":
        return _pls_entries(text)
    return list(_text_entries(text, path.parent))


def read_standard_input() -> list[Entry]:
    r"""Returns the entries on standard input, one per line or, as of `find -print0`, per '\0'."""
    text = _decode(sys.stdin.buffer.read())
    if "\0" in text:
        names = text.removesuffix("\0").split("\0")
        return [Entry(name, number) for number, name in enumerate(names, 1) if name]
    return list(_text_entries(text, Path()))


def locate(entry: Entry, folders: Sequence[Path]) -> Path:
    """Returns the path that an entry refers to: in the first folder that contains it, else none."""
    readings = _readings(entry)
    paths = (folder / reading for folder in folders for reading in readings)
    return next(filter(file_mode, paths), folders[0] / readings[0])


def _decode(content: bytes) -> str:
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16", "replace")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields (number, line) of each line that is not blank; ends are LF, CR LF or, alone, CR."""
    # Not splitlines: names may contain its other line ends, such as U+0085 and U+2028.
    end = "\n" if "\n" in text else "\r"
    for number, line in enumerate(text.split(end), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _text_entries(text: str, folder: Path) -> Iterator[Entry]:
    for number, line in _lines(text):
        # A line that begins with '#' is a comment, unless it is the name of a file.
        if not line.lstrip().startswith("#") or file_mode(folder / line):
            yield Entry(line, number)


def _pls_entries(text: str) -> list[Entry]:
    """Returns the entries File1=..., File2=..., in the order of their numbers."""
    found: list[tuple[int, Entry]] = []
    for line_number, line in _lines(text):
        match = re.match(r"\s*file(\d{1,9})\s*=(.*)", line, re.IGNORECASE | re.DOTALL)
        if match and match[2].strip():
            found.append((int(match[1]), Entry(match[2], line_number)))
    return [entry for _, entry in sorted(found, key=lambda numbered: numbered[0])]


def _xspf_entries(content: bytes, path: Path) -> list[Entry]:
    """Returns the locations of the tracks; raises UserError where it is not safe XML.

    A document type is refused: only there can entities be declared, which could refer to other
    files or expand to gigabytes.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    entries: list[Entry] = []
    names: list[str] = []  # of the open elements, without namespace
    texts: list[str] = []  # of the open location

    def refuse(*_: object) -> None:
        raise UserError(f"The list {str(path)!r} declares a document type: remove its DOCTYPE.")

    def start(name: str, _: dict[str, str]) -> None:
        names.append(name.rpartition(" ")[2])
        texts.clear()

    def add_text(text: str) -> None:
        if names[-2:] == XSPF_LOCATION:
            texts.append(text)

    def end(_: str) -> None:
        if text := "".join(texts).strip():
            entries.append(Entry(text, parser.CurrentLineNumber, is_uri=True))
        texts.clear()
        names.pop()

    parser.StartDoctypeDeclHandler, parser.CharacterDataHandler = refuse, add_text
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: of its encoding
        raise UserError(f"The list {str(path)!r} is not XML ({error}): save it again.") from error
    return entries


def _readings(entry: Entry) -> list[str]:
    """Returns the paths that an entry can mean, the most literal first."""
    stripped = entry.text.strip()
    if re.match(r"file:/", stripped, re.IGNORECASE):
        readings = [_path_of_url(stripped)]
    elif entry.is_uri:
        readings = [_unquoted(stripped), stripped]
    else:
        readings = [entry.text]
    changes: list[Callable[[str], str]] = [
        str.strip, _unquoted, _with_slashes, _from_windows_1252, os.path.expanduser,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFD", text),
    ]  # fmt: skip
    for change in changes:  # each also of what the others give; most change nothing
        readings = list(dict.fromkeys([*readings, *map(change, readings)]))
    return readings


def _path_of_url(url: str) -> str:
    """Returns the path of a `file:` URL (RFC 8089): file:/a, file:///a or file://localhost/a."""
    path = url[len("file:") :]
    match = re.match(r"//(localhost)?(/.*)", path, re.IGNORECASE | re.DOTALL)
    return _unquoted(match[2] if match else path)


def _unquoted(text: str) -> str:
    """Returns a text with its %XX decoded, except where that is no name."""
    decoded = os.fsdecode(unquote_to_bytes(os.fsencode(text)))
    return text if "\0" in decoded else decoded


def _with_slashes(text: str) -> str:
    return text.replace("\\", "/")


def _from_windows_1252(text: str) -> str:
    """Returns a text that is not UTF-8 decoded as Windows-1252, else Latin-1."""
    content = text.encode("utf-8", "surrogateescape")
    try:
        content.decode()
        return text
    except UnicodeDecodeError:
        with_undefined_bytes = content.decode("cp1252", "replace")
        return content.decode("latin-1") if "�" in with_undefined_bytes else with_undefined_bytes

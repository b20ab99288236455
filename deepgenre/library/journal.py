"""The journal of changes that were written into files: one JSON object per line.

    path        the file, links resolved
    changes     per field: {"field": ..., "old": [...], "new": [...]}; one text in earlier versions
    mtime_ns    modification time before the change
    old_sha256  of the file before the change
    new_sha256  of the file after it
    back        pieces that restore the old file from the new one, see `binary_diff`

Each line has a checksum (`sealed_lines`). One that is damaged is named and skipped, and stays in
the journal.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.files import append_to, check_not_replaced, replacing, updating
from deepgenre.library.file_tags import Change
from deepgenre.library.tag_fields import FIELDS, SEPARATOR, Values
from deepgenre.sealed_lines import sealed, unsealed

Record = Callable[[Mapping[str, Any]], None]
Line = Mapping[str, Any]


@contextlib.contextmanager
def appending(path: Path) -> Iterator[Record]:
    """Yields a function that appends a line, at once on disk; one process at a time."""
    with updating(path), path.open("ab", buffering=0) as stream:
        sync_folder(path.parent)
        if torn := incomplete_line(path):
            log.warning("%s", torn[0])
        # An incomplete last line of a killed run belongs to a file that was not changed.
        stream.truncate(sum(map(len, _complete_lines(path))))

        def record(line: Mapping[str, Any]) -> None:
            check_not_replaced(path, stream)
            append_to(stream, path, sealed(line).encode())
            os.fsync(stream.fileno())

        yield record


def sync_folder(folder: Path) -> None:
    """Flushes the entries of a folder to disk, where its file system supports that."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


def read(path: Path) -> tuple[dict[str, list[Line]], list[tuple[int, bytes]]]:
    """Returns the lines of each file, oldest first, and the number and bytes of damaged lines."""
    songs: dict[str, list[Line]] = {}
    damaged: list[tuple[int, bytes]] = []
    for number, raw in enumerate(_complete_lines(path), 1):
        try:
            line = unsealed(raw)
            _check(line)
            songs.setdefault(line["path"], []).append(line)
        except (ValueError, KeyError, TypeError):
            damaged.append((number, raw))
    return songs, damaged


def replace(path: Path, lines: list[Line], damaged: list[bytes]) -> None:
    """Replaces the journal by the lines that are left of it, or removes it.

    damaged: lines as they are, an incomplete one last.
    """
    if not lines and not damaged:
        path.unlink()
        return
    with replacing(path) as temporary:
        kept = [sealed(line).encode() for line in lines]
        temporary.write_bytes(b"".join([*kept, *damaged]))


def changes_of(line: Line) -> list[Change]:
    """Returns the changes of a line."""
    return [Change(c["field"], _values(c["old"]), _values(c["new"])) for c in line["changes"]]


def history(path: Path) -> dict[str, dict[str, Change]]:
    """Returns, by file and field, the values before the first and after the last change.

    None of them where there is no journal. Warns of damaged lines.
    """
    if not path.exists():
        return {}
    songs, damaged = read(path)
    for number, _ in damaged:
        log.warning("%s", damage_message(path, number))
    return {song: combined(lines) for song, lines in songs.items()}


def combined(lines: list[Line]) -> dict[str, Change]:
    """Returns, by field, the values before the first and after the last of a file's lines."""
    fields: dict[str, Change] = {}
    for change in (change for line in lines for change in changes_of(line)):
        first = fields.get(change.field, change)
        fields[change.field] = Change(change.field, first.old, change.new)
    return fields


def damage_message(path: Path, number: int) -> str:
    """Returns the message about a damaged line."""
    return f"{path}: line {number} is damaged and was skipped; the file that it is about is unknown"


def _values(stored: str | list[str]) -> Values:
    if isinstance(stored, str):  # of earlier versions, which joined them
        return tuple(stored.split(SEPARATOR)) if stored else ()
    return tuple(stored)


def _check(line: Any) -> None:
    """Raises TypeError or KeyError where a value of a line is missing or has another type."""
    types = {"path": str, "changes": list, "mtime_ns": int, "old_sha256": str, "new_sha256": str}
    for name, expected in {**types, "back": list}.items():
        if not isinstance(line[name], expected):
            raise TypeError(name)
    for change in changes_of(line):
        is_text = all(isinstance(text, str) for text in (*change.old, *change.new))
        if change.field not in FIELDS or not is_text:
            raise TypeError("changes")
    for piece in line["back"]:
        if not isinstance(piece, str):
            start, count = piece
            if not isinstance(start, int) or not isinstance(count, int):
                raise TypeError("back")


def _complete_lines(path: Path) -> list[bytes]:
    return [line for line in _lines(path) if line.endswith(b"\n")]


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def incomplete_line(path: Path) -> tuple[str, bytes] | None:
    """Returns an incomplete last line and the message about it; None without one.

    None too where its file is as it was before: the run was killed while it wrote the line.
    """
    lines = _lines(path)
    if not lines or lines[-1].endswith(b"\n"):
        return None
    found = {
        name: match[1].decode(errors="replace")
        for name in ("path", "old_sha256")
        if (match := re.search(rb'"%s": "((?:[^"\\]|\\.)*)"' % name.encode(), lines[-1]))
    }
    song = ""
    with contextlib.suppress(ValueError, OSError):
        song = json.loads(f'"{found.get("path", "")}"')
        content = Path(song).read_bytes() if song and "old_sha256" in found else b""
        if hashlib.sha256(content).hexdigest() == found.get("old_sha256"):
            return None
    about = f"the change of {song}" if song else "the change of a file"
    message = (
        f"{path}: its last line is incomplete: {about} cannot be undone, unless it was not made, "
        "as where the run was killed just then"
    )
    return message, lines[-1]

"""Files on disk: written whole or not at all, and recognised when they change."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Fingerprint = tuple[int, int]  # of a file: bytes, time of its last change in ns


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns the state of a file; None where none can be seen."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: what no name can hold, such as '\0'
        return None
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it takes the name `path` when the block ends well.

    It is this process's own, so that several may write the same file at once. Raises OSError that
    names `path` where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # a stream's own error does not know its file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes a JSON object a line, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(json_lines(rows))


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Returns the rows as JSON, an object a line, in UTF-8."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "backslashreplace")  # a name that is no UTF-8: a JSON escape

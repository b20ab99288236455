"""Files on disk: atomic writes, and fingerprints that tell whether a file changed."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Fingerprint = tuple[int, int]  # of a file: size in bytes, modification time in ns


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns the fingerprint of a file; None where it does not exist or cannot be accessed."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: characters that no name can hold, such as '\0'
        return None
    return found.st_size, found.st_mtime_ns


def file_mode(path: Path) -> int:
    """Returns `st_mode` of `path`, links followed; 0 if it does not exist or is inaccessible."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: characters that no name can hold, such as '\0'
        return 0


def for_soundfile(path: Path) -> Any:
    """Returns a path as bytes: soundfile itself fails to encode a name that is not UTF-8."""
    return os.fsencode(path)  # accepted, but not declared, by soundfile: hence Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which is renamed to `path` when the block succeeds.

    Its name contains the process id, so that processes do not share it. Raises OSError that names
    `path` where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # a stream's own error does not name its file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes one JSON object per line, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(json_lines(rows))


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Returns the rows as JSON, one object per line, in UTF-8."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "backslashreplace")  # what is not UTF-8 becomes a JSON escape

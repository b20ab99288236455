"""Files on disk: atomic writes, and fingerprints that tell whether a file changed.

Writing tags changes a file's size and time but not its audio. `record_retagged` therefore notes in
one small file, shared by all modes, which fingerprint followed which, and `fingerprint` returns the
one from before tags were written: predictions and embeddings of the file stay valid.
"""

import contextlib
import errno
import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Fingerprint = tuple[int, int]  # of a file: size in bytes, modification time in ns


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns the fingerprint of a file; None where it does not exist or cannot be accessed.

    Of a file whose tags deepgenre wrote: the fingerprint that it had before.
    """
    found = stamp(path)
    origins = _origins(_retagged_path(), stamp(_retagged_path()))
    return origins.get((os.path.realpath(path), found), found) if found and origins else found


def stamp(path: Path) -> Fingerprint | None:
    """Returns the size and time of a file as they are; None where it cannot be accessed."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: characters that no name can hold, such as '\0'
        return None
    return found.st_size, found.st_mtime_ns


def record_retagged(path: Path, before: Fingerprint, after: Fingerprint) -> None:
    """Notes that only the tags of a file changed between two fingerprints, not its audio.

    Raises OSError where the note cannot be written.
    """
    record = _retagged_path()
    record.parent.mkdir(parents=True, exist_ok=True)
    line = {"path": os.path.realpath(path), "before": before, "after": after}
    with record.open("ab") as stream:  # one write per line: processes do not mix theirs
        stream.write(json.dumps(line).encode() + b"\n")


def _retagged_path() -> Path:
    default = Path.home() / ".cache/deepgenre/retagged.jsonl"
    return Path(os.environ.get("DEEPGENRE_RETAGGED", default))


@functools.lru_cache(maxsize=1)
def _origins(record: Path, version: Fingerprint | None) -> dict[tuple[str, Fingerprint], Any]:
    """Returns, by real path and fingerprint, the fingerprint before any tags were written.

    version: the stamp of the record, None where there is none. Damaged lines are skipped: their
    files are analysed again.
    """
    origins: dict[tuple[str, Fingerprint], Any] = {}
    for raw in record.read_bytes().splitlines() if version else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            line = json.loads(raw)
            path, (before, after) = line["path"], (tuple(line["before"]), tuple(line["after"]))
            origins[path, after] = origins.get((path, before), before)
    return origins


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

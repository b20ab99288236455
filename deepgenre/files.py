"""Files on disk: atomic writes, locks, and fingerprints that tell whether a file changed."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from deepgenre.errors import UserError

Fingerprint = tuple[int, int]  # of a file: size in bytes, modification time in ns


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns the fingerprint of a file; None where it does not exist or cannot be accessed."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: characters that no name can hold, such as '\0'
        return None
    return found.st_size, found.st_mtime_ns


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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other runs from writing `path` until the block ends, or this process does.

    The lock is on a hidden file beside `path`, which itself is replaced when it is written. Raises
    UserError where another run holds it. File systems without locks are not protected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with _lock(lock, path):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held: the next run locks a new file


def _lock(lock: Path, path: Path) -> IO[str]:
    """Returns the lock file, locked; it contains the process id of its holder."""
    while True:
        try:
            stream = lock.open("a+")
        except OSError as error:  # a folder that cannot be written: about `path`
            raise OSError(error.errno, error.strerror, str(path)) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read()
            stream.close()
            raise UserError(
                f"{path}: another run (process {holder}) is writing it; wait until it ends, or "
                "give another name"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                stream.close()
                raise
        with contextlib.suppress(FileNotFoundError):  # its last holder has removed it
            if os.path.samestat(lock.stat(), os.fstat(stream.fileno())):
                stream.truncate(0)
                stream.write(str(os.getpid()))
                stream.flush()
                return stream
        stream.close()

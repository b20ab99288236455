"""Writes fields into audio files atomically; each change is recorded so that it can be undone.

A file is copied within its folder, the copy is changed and verified (same decoded samples, same
other tags, see `tag_copy`), the difference to the old file is appended to the journal, and the copy
is renamed to the file. At any time the path holds either the complete old file or the complete new
one.

A changed file keeps owner, mode and extended attributes; its modification time is the time of
writing, so that backup programs detect the change.
"""

import contextlib
import dataclasses
import hashlib
import mmap
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import process_runs, record_retagged, stamp
from deepgenre.isolated import calls
from deepgenre.library import binary_diff, file_tags, journal, tag_copy
from deepgenre.library.file_tags import Change, Combine
from deepgenre.library.journal import Record
from deepgenre.library.tag_fields import Values

TEMPORARY = ".deepgenre-"  # prefix of a copy's name, before the process id and the song's suffix


def changes(path: Path, requested: Mapping[str, Combine]) -> list[Change]:
    """Returns the changes that give the requested values to the fields of an audio file.

    Raises UserError where the file cannot be written.
    """
    with user_errors(path):
        _check_writable(path, path.stat())
        found, slashes = calls.call(file_tags.read_with_slashes, path)
    return file_tags.changes(found, requested, slashes=slashes)


def read(path: Path) -> dict[str, Values]:
    """Returns the values of each field of an audio file; raises UserError of `file_tags.read`."""
    return calls.call(file_tags.read, path)


def rewrite(path: Path, requested: Sequence[Change], record: Record) -> None:
    """Applies changes to an audio file; `record` receives the journal line before the rename.

    Raises UserError, and leaves the file unchanged, where it cannot be written or verified.
    """
    with user_errors(path), copy_path(Path(os.path.realpath(path, strict=True))) as (song, copy):
        before = song.stat()
        _check_writable(path, before)
        shutil.copyfile(song, copy)
        fields = {change.field: change.new for change in requested}
        calls.call(tag_copy.write, copy, song, fields)
        record(
            {
                "path": str(song),
                "changes": [dataclasses.asdict(change) for change in requested],
                "mtime_ns": before.st_mtime_ns,
                "old_sha256": sha256(song),
                "new_sha256": sha256(copy),
                "back": binary_diff.diff(mapped(copy), mapped(song)),
            }
        )
        now = song.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise UserError(f"{path}: another program is writing it; file left unchanged")
        replace(song, copy)


def _check_writable(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & 0o200 or not os.access(path, os.W_OK):
        raise UserError(f"{path}: is read-only; make it writable first")
    if status.st_nlink > 1:
        raise UserError(
            f"{path}: has {status.st_nlink} names (hard links), and writing changes only one; "
            "make a copy of it first"
        )


@contextlib.contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turns errors of the system into UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); file left unchanged"
        ) from error


@contextlib.contextmanager
def copy_path(song: Path) -> Iterator[tuple[Path, Path]]:
    """Yields the song and the path of a copy in the same folder, which is removed at the end.

    An error about the copy names the song.
    """
    copy = song.with_name(f"{TEMPORARY}{os.getpid()}{song.suffix}")
    try:
        yield song, copy
    except UserError as error:
        raise UserError(str(error).replace(str(copy), str(song))) from error
    finally:
        copy.unlink(missing_ok=True)


def replace(song: Path, copy: Path, mtime_ns: int | None = None) -> None:
    """Renames the copy to the song, with its mode, owner and attributes; `mtime_ns` None: now."""
    status, before = song.stat(), stamp(song)
    shutil.copystat(song, copy)
    os.chown(copy, status.st_uid, status.st_gid)
    os.utime(copy, ns=(status.st_atime_ns, mtime_ns or time.time_ns()))
    with copy.open("rb") as stream:
        os.fsync(stream.fileno())
    if mtime_ns is None and before and (after := stamp(copy)):
        try:
            record_retagged(song, before, after)
        except OSError as error:  # e.g. no home folder: the file is analysed again, no more
            log.warning("%s: will be analysed again (%s: %s)", song, error.filename, error.strerror)
    copy.replace(song)
    journal.sync_folder(song.parent)


def sha256(path: Path) -> str:
    """Returns the digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mapped(path: Path) -> binary_diff.Buffer:
    """Returns the bytes of a file, mapped into memory."""
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def remove_stale_copies(folders: Iterable[Path]) -> None:
    """Removes from folders the copies that killed runs left."""
    for folder in folders:
        for copy in folder.glob(f"{TEMPORARY}*"):
            process_id = copy.name.removeprefix(TEMPORARY).partition(".")[0]
            if process_id.isdecimal() and not process_runs(int(process_id)):
                copy.unlink(missing_ok=True)

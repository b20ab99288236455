"""Writes fields into audio files atomically, with a journal from which every change can be undone.

A file is copied within its folder, the copy is changed and verified (same decoded samples, same
other tags), the difference to the old file is appended to the journal, and the copy is renamed to
the file. At any time the path holds either the complete old file or the complete new one.

A changed file keeps owner, mode and extended attributes; its modification time is the time of
writing, so that backup programs detect the change. Undoing restores every byte and the old time.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.library import binary_diff, file_tags

Record = Callable[[Mapping[str, Any]], None]
TEMPORARY = ".deepgenre-"  # prefix of a copy's name, before the process id and the song's suffix


@dataclasses.dataclass(frozen=True)
class Change:
    """A change of a field of a file: its old and its new text."""

    field: str
    old: str
    new: str


def changes(path: Path, fields: Mapping[str, str]) -> list[Change]:
    """Returns the fields, given by name, that differ from those in an audio file.

    Raises UserError where the file cannot be written.
    """
    with _user_errors(path):
        _check_writable(path, path.stat())
        old = file_tags.read(path)
    return [Change(f, old[f], new) for f, new in fields.items() if old[f] != new]


def rewrite(path: Path, requested: Sequence[Change], record: Record) -> None:
    """Applies changes to an audio file; `record` receives the journal line before the rename.

    Raises UserError, and leaves the file unchanged, where it cannot be written or verified.
    """
    with _user_errors(path), _copy_path(Path(os.path.realpath(path, strict=True))) as (song, copy):
        before = song.stat()
        _check_writable(path, before)
        shutil.copyfile(song, copy)
        file_tags.write(copy, {change.field: change.new for change in requested})
        if file_tags.other_tags(copy) != file_tags.other_tags(song):
            raise UserError(f"{path}: other tags differ in the changed copy; file left unchanged")
        if _audio_digest(copy) != _audio_digest(song):
            raise UserError(f"{path}: audio differs in the changed copy; file left unchanged")
        record(
            {
                "path": str(song),
                "changes": [dataclasses.asdict(change) for change in requested],
                "mtime_ns": before.st_mtime_ns,
                "old_sha256": sha256(song),
                "new_sha256": sha256(copy),
                "back": binary_diff.diff(_mapped(copy), _mapped(song)),
            }
        )
        now = song.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise UserError(f"{path}: another program is writing it; file left unchanged")
        _replace(song, copy)


def _check_writable(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & 0o200 or not os.access(path, os.W_OK):
        raise UserError(f"{path}: is read-only; make it writable first")
    if status.st_nlink > 1:
        raise UserError(
            f"{path}: has {status.st_nlink} names (hard links), and writing changes only one; "
            "make a copy of it first"
        )


@contextlib.contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    """Turns errors of the system and of libsndfile into UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); file left unchanged"
        ) from error
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: is not audio that can be verified; file left unchanged"
        ) from error


@contextlib.contextmanager
def _copy_path(song: Path) -> Iterator[tuple[Path, Path]]:
    """Yields the song and the path of a copy in the same folder, which is removed at the end."""
    copy = song.with_name(f"{TEMPORARY}{os.getpid()}{song.suffix}")
    try:
        yield song, copy
    finally:
        copy.unlink(missing_ok=True)


def _replace(song: Path, copy: Path, mtime_ns: int | None = None) -> None:
    """Renames the copy to the song, with its mode, owner and attributes; `mtime_ns` None: now."""
    status = song.stat()
    shutil.copystat(song, copy)
    os.chown(copy, status.st_uid, status.st_gid)
    os.utime(copy, ns=(status.st_atime_ns, mtime_ns or time.time_ns()))
    with copy.open("rb") as stream:
        os.fsync(stream.fileno())
    copy.replace(song)
    _sync_folder(song.parent)


def _sync_folder(folder: Path) -> None:
    """Flushes the entries of a folder to disk, where its file system supports that."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


def _audio_digest(path: Path) -> str:
    """Returns a digest of the decoded audio: samples, sample rate and channels."""
    digest = hashlib.sha256()
    for samples, rate_hz in _decode(path):
        digest.update(f"{rate_hz} {samples.shape}".encode())
        digest.update(samples.tobytes())
    return digest.hexdigest()


def _decode(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (samples, channels), rate in Hz), in blocks."""
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:  # m4a
        yield from ffmpeg.decode(path)
        return
    with sound:
        for samples in sound.blocks(1 << 18, dtype="float32", always_2d=True):
            yield samples, sound.samplerate


def sha256(path: Path) -> str:
    """Returns the digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mapped(path: Path) -> binary_diff.Buffer:
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def remove_stale_copies(folders: Iterable[Path]) -> None:
    """Removes from folders the copies that killed runs left."""
    for folder in folders:
        for copy in folder.glob(f"{TEMPORARY}*"):
            process_id = copy.name.removeprefix(TEMPORARY).partition(".")[0]
            if process_id.isdecimal() and not _is_running(int(process_id)):
                copy.unlink(missing_ok=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True


@contextlib.contextmanager
def journal(path: Path) -> Iterator[Record]:
    """Yields a function that appends a line, at once on disk; one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        lock(path, stream.fileno())
        _sync_folder(path.parent)
        # An incomplete last line belongs to a file that was not changed.
        stream.truncate(sum(map(len, _complete_lines(path))))

        def record(line: Mapping[str, Any]) -> None:
            stream.write(json.dumps(line).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        yield record


def lock(path: Path, descriptor: int) -> None:
    """Locks an open file or folder for this process; raises UserError where another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{path}: another run is writing it; wait until it ends") from error


def _complete_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]


def undo(path: Path) -> Iterator[tuple[Path, str]]:
    """Restores the files of a journal; yields each with '' or, where that failed, the error.

    The journal keeps the lines of files that failed or were not reached.
    """
    try:
        songs: dict[str, list[Mapping[str, Any]]] = {}
        for line in map(json.loads, _complete_lines(path)):
            songs.setdefault(line["path"], []).append(line)
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; there are no changes to undo") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); nothing was undone") from error
    remaining = dict(songs)
    with path.open("rb") as stream:
        lock(path, stream.fileno())
        remove_stale_copies({Path(song).parent for song in songs})
        try:
            for song, lines in songs.items():
                try:
                    _undo_file(Path(song), lines)
                    del remaining[song]
                    yield Path(song), ""
                except UserError as error:
                    yield Path(song), str(error)
        finally:
            _write_journal(path, [line for lines in remaining.values() for line in lines])


def _write_journal(path: Path, lines: list[Mapping[str, Any]]) -> None:
    if not lines:
        path.unlink()
        return
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _undo_file(song: Path, lines: list[Mapping[str, Any]]) -> None:
    """Reverts the changes of a file according to its journal lines, which are oldest first."""
    with _user_errors(song):
        now = sha256(song)
        for line in reversed(lines):
            if now == line["new_sha256"]:
                _restore(song, line)
                now = line["old_sha256"]
    if now != lines[0]["old_sha256"]:
        raise UserError(f"{song}: was changed since its tags were written; file left unchanged")


def _restore(song: Path, line: Mapping[str, Any]) -> None:
    with _copy_path(song) as (_, copy):
        try:
            with copy.open("wb") as stream:
                stream.writelines(binary_diff.apply(_mapped(song), line["back"]))
        except ValueError as error:
            raise UserError(f"{song}: its line in the journal is damaged ({error})") from error
        if sha256(copy) != line["old_sha256"]:
            raise UserError(f"{song}: its line in the journal is damaged; file left unchanged")
        _replace(song, copy, line["mtime_ns"])

"""Writes fields into audio files so that nothing is lost, whatever happens, and all can be undone.

A file is copied beside itself, the copy is changed and checked (the same sound, the same other
tags), what leads back to the old file is put into the journal, and only then the copy takes the
file's name. At every moment the name leads to the whole old file or to the whole new one.

A changed file keeps owner, mode and extended attributes; its time of change is that of the writing,
so that programs that copy what is new see it. Undoing brings back every byte, and the old time.
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
TEMPORARY = ".deepgenre-"  # then the process that made the copy, and the song's suffix


@dataclasses.dataclass(frozen=True)
class Change:
    """A field of a file: what stands there and what is to stand there."""

    field: str
    old: str
    new: str


def changes(path: Path, fields: Mapping[str, str]) -> list[Change]:
    """Returns what writing the fields, by name, would change in an audio file.

    Raises UserError where it cannot be written.
    """
    with _named(path):
        _check_writable(path, path.stat())
        found = file_tags.read(path)
    return [Change(f, found[f], new) for f, new in fields.items() if found[f] != new]


def rewrite(path: Path, wanted: Sequence[Change], record: Record) -> None:
    """Makes the changes in an audio file; `record` gets the line of the journal before.

    Raises UserError where the file cannot be written or checked; it is then as it was.
    """
    with _named(path), _copy_beside(Path(os.path.realpath(path, strict=True))) as (song, copy):
        before = song.stat()
        _check_writable(path, before)
        shutil.copyfile(song, copy)
        file_tags.write(copy, {change.field: change.new for change in wanted})
        if file_tags.others(copy) != file_tags.others(song):
            raise UserError(f"{path}: its other tags would change too; left as it is")
        if _sound(copy) != _sound(song):
            raise UserError(f"{path}: its sound would change too; left as it is")
        record(
            {
                "path": str(song),
                "changes": [dataclasses.asdict(change) for change in wanted],
                "mtime_ns": before.st_mtime_ns,
                "old_sha256": sha256(song),
                "new_sha256": sha256(copy),
                "back": binary_diff.diff(_mapped(copy), _mapped(song)),
            }
        )
        now = song.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise UserError(f"{path}: another program is writing it; left as it is")
        _take_place(copy, song)


def _check_writable(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & 0o200 or not os.access(path, os.W_OK):
        raise UserError(f"{path}: is read-only; make it writable first")
    if status.st_nlink > 1:
        raise UserError(
            f"{path}: has {status.st_nlink} names (hard links), of which only one would change; "
            "make a copy of it first"
        )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); left as it is") from error
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: is not audio that can be checked; left as it is") from error


@contextlib.contextmanager
def _copy_beside(song: Path) -> Iterator[tuple[Path, Path]]:
    """Yields the song and a place beside it for what takes its name."""
    copy = song.with_name(f"{TEMPORARY}{os.getpid()}{song.suffix}")
    try:
        yield song, copy
    finally:
        copy.unlink(missing_ok=True)


def _take_place(copy: Path, song: Path, mtime_ns: int | None = None) -> None:
    """Gives the copy the song's mode, owner and attributes, a time (None: now) and the name."""
    status = song.stat()
    shutil.copystat(song, copy)
    os.chown(copy, status.st_uid, status.st_gid)
    os.utime(copy, ns=(status.st_atime_ns, mtime_ns or time.time_ns()))
    with copy.open("rb") as stream:
        os.fsync(stream.fileno())
    copy.replace(song)
    _sync_folder(song.parent)


def _sync_folder(folder: Path) -> None:
    """Puts the names in a folder on disk, where its file system can."""
    number = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(number)
    os.close(number)


def _sound(path: Path) -> str:
    """Returns a digest of what a file sounds like: its decoded samples, their rate and channels."""
    digest = hashlib.sha256()
    for samples, rate_hz in _decoded(path):
        digest.update(f"{rate_hz} {samples.shape}".encode())
        digest.update(samples.tobytes())
    return digest.hexdigest()


def _decoded(path: Path) -> Iterator[tuple[np.ndarray, int]]:
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


def clear_up(folders: Iterable[Path]) -> None:
    """Removes from folders the copies that a killed run left."""
    for folder in folders:
        for copy in folder.glob(f"{TEMPORARY}*"):
            number = copy.name.removeprefix(TEMPORARY).partition(".")[0]
            if number.isdecimal() and not _is_running(int(number)):
                copy.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


@contextlib.contextmanager
def journal(path: Path) -> Iterator[Record]:
    """Yields the function that adds a line, at once on disk; for one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        _lock(path, stream.fileno())
        _sync_folder(path.parent)
        whole = _whole_lines(path)
        stream.truncate(sum(map(len, whole)))  # half a line is of a file that was not changed

        def record(line: Mapping[str, Any]) -> None:
            stream.write(json.dumps(line).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        yield record


def _lock(path: Path, number: int) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{path}: another run is writing it; wait for its end") from error


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]


def undo(path: Path) -> Iterator[tuple[Path, str]]:
    """Yields each file that a journal names, when it is again what it was, and '', or why not.

    The journal keeps the lines of the files that could not be undone, or not yet.
    """
    try:
        songs: dict[str, list[Mapping[str, Any]]] = {}
        for line in map(json.loads, _whole_lines(path)):
            songs.setdefault(line["path"], []).append(line)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is not there; nothing was written that can be undone") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); nothing was undone") from error
    left = dict(songs)
    with path.open("rb") as stream:
        _lock(path, stream.fileno())
        clear_up({Path(song).parent for song in songs})
        try:
            for song, lines in songs.items():
                try:
                    _undo_file(Path(song), lines)
                    del left[song]
                    yield Path(song), ""
                except UserError as error:
                    yield Path(song), str(error)
        finally:
            _keep(path, [line for lines in left.values() for line in lines])


def _keep(path: Path, lines: list[Mapping[str, Any]]) -> None:
    if not lines:
        path.unlink()
        return
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _undo_file(song: Path, lines: list[Mapping[str, Any]]) -> None:
    """Takes back what the lines of the journal, oldest first, say was done to a file."""
    with _named(song):
        now = sha256(song)
        for line in reversed(lines):
            if now == line["new_sha256"]:
                _restore(song, line)
                now = line["old_sha256"]
    if now != lines[0]["old_sha256"]:
        raise UserError(f"{song}: was changed since its tags were written; left as it is")


def _restore(song: Path, line: Mapping[str, Any]) -> None:
    with _copy_beside(song) as (_, copy):
        try:
            with copy.open("wb") as stream:
                stream.writelines(binary_diff.apply(_mapped(song), line["back"]))
        except ValueError as error:
            raise UserError(f"{song}: its line in the journal is damaged ({error})") from error
        if sha256(copy) != line["old_sha256"]:
            raise UserError(f"{song}: its line in the journal is damaged; left as it is")
        _take_place(copy, song, line["mtime_ns"])

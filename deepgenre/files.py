"""Files on disk: atomic writes, one writer at a time, fingerprints that tell of a change.

Writing tags changes a file's size and time but not its audio. `record_retagged` therefore notes in
one small file, shared by all modes, which fingerprint followed which, and `fingerprint` returns the
one from before tags were written: predictions and embeddings of the file stay valid.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from deepgenre.errors import UserError

FULL_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))  # or a quota that is used up
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


def real_paths(paths: Iterable[Path]) -> list[str]:
    """Returns the path of each file without '..' and links: one for all paths to the same file.

    Each folder is resolved once, which makes this fast for many files.
    """
    folders: dict[str, str] = {}
    real = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        joined = f"{folders[folder].rstrip('/')}/{name}"
        real.append(os.path.realpath(joined) if os.path.islink(joined) else joined)  # noqa: PTH114
    return real


def file_mode(path: Path) -> int:
    """Returns `st_mode` of `path`, links followed; 0 if it does not exist or is inaccessible."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: characters that no name can hold, such as '\0'
        return 0


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Returns a path with '~' expanded; '~name' of an unknown user is the name of a file."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path's fails for unknown users)


def for_soundfile(path: Path) -> Any:
    """Returns a path as bytes: soundfile itself fails to encode a name that is not UTF-8."""
    return os.fsencode(path)  # accepted, but not declared, by soundfile: hence Any


def record_retagged(path: Path, before: Fingerprint, after: Fingerprint) -> None:
    """Notes that only the tags of a file changed between two fingerprints, not its audio.

    Raises OSError where the note cannot be written.
    """
    record = _retagged_path()
    record.parent.mkdir(parents=True, exist_ok=True)
    line = {"path": os.path.realpath(path), "before": before, "after": after}
    append_line(record, json.dumps(line).encode() + b"\n")


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
            line = parse_json(raw)
            path, (before, after) = line["path"], (tuple(line["before"]), tuple(line["after"]))
            origins[path, after] = origins.get((path, before), before)
    return origins


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which is renamed to `path` when the block succeeds.

    Its name contains host and process, so that processes do not share it. Temporary files in the
    folder that killed processes left are removed. The content is on disk before the name is, so
    that a power cut does not leave an empty file. Raises OSError that names `path`, not the
    temporary file, where it cannot be written.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{process_name()}.part")
    try:
        # The lock tells processes elsewhere, which do not see our process id, that we are running.
        with _naming(path, temporary), temporary.open("wb") as stream:
            _try_lock(stream.fileno())
            yield temporary
            os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # e.g. its folder is none: it was not created
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path, *others: Path) -> Iterator[None]:
    """Makes OSErrors name `path`: those about `others`, its folder, or a full disk."""
    try:
        yield
    except OSError as error:
        about = [str(other) for other in (*others, path, path.parent)]
        # The error of a full disk may be of a stream, which does not name its file.
        if error.errno in FULL_DISK or str(error.filename) in about:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def check_place(path: Path, flag: str, *, folder: bool | None = None) -> None:
    """Raises UserError, beginning with the flag, where nothing can be written to `path`.

    folder: whether it is to be a folder; None: either.
    """
    if path.is_dir() and folder is False:
        raise UserError(f"{flag}: {path} is a folder; give the name of a file to write")
    if path.exists() and not path.is_dir() and (folder or not path.is_file()):
        kind = "a file; give a folder" if path.is_file() else "no regular file; give another name"
        raise UserError(f"{flag}: {path} is {kind}")
    place = path if path.is_dir() else path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{flag}: {path} cannot be created, as {place} is a file; give another one")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{flag}: {path} cannot be written, as the folder {place} is protected")


def process_name() -> str:
    """Returns a name for this process that no other has, also of hosts that share a drive."""
    return f"{_host()}-{os.getpid()}"


@functools.cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Removes the temporary files in a folder whose process ended without removing them.

    Only regular files named like those of `replacing`, whose process was one of this host, has
    ended, and does not lock the file: containers may share a host's name. Files of earlier
    versions, which did not name the host, only where they are temporary files of `name`, if one is
    given.
    """
    if not os.access(folder, os.R_OK):
        return  # files can be written into a folder that cannot be listed
    pattern = re.compile(r"\.(.+)\.(?:([0-9a-f]{6})-)?([1-9]\d{0,9})\.part", re.ASCII | re.DOTALL)
    with os.scandir(folder) as entries:
        matches = [(pattern.fullmatch(entry.name), entry) for entry in entries]
    for match, entry in matches:
        if not match or match[2] not in (None, _host()) or process_runs(int(match[3])):
            continue
        is_ours = match[2] or match[1] == (name or match[1])
        if is_ours and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError), Path(entry.path).open("rb") as stream:
                if _try_lock(stream.fileno()) is not False:
                    Path(entry.path).unlink()


def process_runs(process_id: int) -> bool:
    """Returns whether a process of this host has this id."""
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True


@contextlib.contextmanager
def updating(*outputs: Path | None, advice: str = "wait until it ends") -> Iterator[None]:
    """Lets one process at a time update files or folders; None stands for an output not asked for.

    advice: what to do where another process updates an output. Raises UserError naming the output,
    that process and its host. The lock is on a file beside the output, `.NAME.lock`, or in a folder
    `.lock`, because an update replaces the file itself. The system releases it when the process
    ends, even by SIGKILL; a lock file that remains is harmless. On a file system without locks,
    such as some network drives, the process that the file names counts: one of this host that has
    ended does not hold it, one of another host does, until somebody removes the file.
    """
    with contextlib.ExitStack() as stack:
        for output in outputs:
            if output is not None:
                stack.enter_context(_updating(output, advice))
        yield


def updated_by(path: Path) -> str:
    """Returns the process that is updating a file or folder, and its host; '' without one."""
    lock = _lock_of(path)
    try:
        with lock.open("rb") as stream:
            state = _try_lock(stream.fileno())
    except OSError:  # there is no lock
        return ""
    held = state is False or (state is None and _named_process_runs(lock))
    return _holder(lock) if held else ""


def _lock_of(path: Path) -> Path:
    real = Path(os.path.realpath(path))
    return real / ".lock" if real.is_dir() else real.with_name(f".{real.name}.lock")


@contextlib.contextmanager
def _updating(path: Path, advice: str) -> Iterator[None]:
    lock = _lock_of(path)
    with _naming(path, lock, lock.parent):
        stream = _open_locked(lock, path, advice)
    with stream:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _open_locked(lock: Path, path: Path, advice: str) -> IO[bytes]:
    """Returns the open and locked lock file of `path`, with this process and its host in it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with contextlib.ExitStack() as unless_held:
            stream = unless_held.enter_context(lock.open("a+b", buffering=0))
            state = _try_lock(stream.fileno())
            if state is False or (state is None and _named_process_runs(lock)):
                removal = "" if state is False else f" (if it has ended, remove {lock})"
                raise UserError(f"{path}: is being updated by {_holder(lock)}{removal}; {advice}")
            if is_open_at(lock, stream):  # else its last holder removed it meanwhile
                stream.truncate(0)
                with contextlib.suppress(OSError):  # a full disk: messages name no process
                    stream.write(f"{os.getpid()} {platform.node()}".encode())
                unless_held.pop_all()
                return stream


def _try_lock(descriptor: int) -> bool | None:
    """Locks an open file until it is closed; returns False where another process locks it.

    Returns None on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _holder(lock: Path) -> str:
    """Returns the process that a lock file names, and its host."""
    process_id, host = _named_process(lock)
    if not process_id:
        return "another process"
    return f"process {process_id}" + (f" on {host}" if host else "")


def _named_process(lock: Path) -> tuple[int, str]:
    """Returns process id and host in a lock file; 0 and '' where it has none."""
    with contextlib.suppress(OSError, ValueError):
        number, _, host = lock.read_text(encoding="utf-8").partition(" ")
        return int(number), host
    return 0, ""


def _named_process_runs(lock: Path) -> bool:
    """Returns whether the process that a lock file names may be running; it is not this one."""
    process_id, host = _named_process(lock)
    if not process_id or (process_id == os.getpid() and host == platform.node()):
        return False
    return process_runs(process_id) if host in ("", platform.node()) else True


def is_open_at(path: Path, stream: IO[bytes]) -> bool:
    """Returns whether a path still leads to the open file, and not to one that replaced it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Returns the value as JSON that every reader accepts: NaN and infinity become null."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes `strict_json` of a value atomically; surrogates of undecodable names are escapes."""
    with replacing(path) as temporary:
        temporary.write_text(
            strict_json(value, indent=1) + "\n", encoding="utf-8", errors="backslashreplace"
        )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_line(path: Path, line: bytes) -> None:
    """Appends a line to a file that several processes may append to: whole, or not at all.

    It begins a line of its own, also where a process was killed while it wrote the one before.
    Raises OSError that names the file.
    """
    with _naming(path), path.open("a+b", buffering=0) as stream:
        with contextlib.suppress(OSError):  # there are no locks: one write is seldom torn
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else b"\n" + line
        append_to(stream, path, line)


def append_to(stream: IO[bytes], path: Path, content: bytes) -> None:
    """Appends to the unbuffered stream of a file, whole or not at all.

    Raises OSError that names the file.
    """
    size = os.fstat(stream.fileno()).st_size
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError as error:  # a full disk
        with contextlib.suppress(OSError):
            os.ftruncate(stream.fileno(), size)
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_not_replaced(path: Path, stream: IO[bytes]) -> None:
    """Raises UserError where a file to which this process appends was replaced or removed."""
    if not is_open_at(path, stream):
        raise UserError(
            f"{path}: was replaced or removed by another program while this run was writing it; "
            "what this run wrote since is lost: run it again"
        )


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text. Raises ValueError, also where it is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes one JSON object per line, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(json_lines(rows))


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Returns the rows as JSON, one object per line, in UTF-8."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "backslashreplace")  # what is not UTF-8 becomes a JSON escape

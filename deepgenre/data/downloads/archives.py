"""Safe extraction of zip and tar archives, also of zips in parts.

Nothing is written outside the folder, by no name and no link; nothing is half-written (temporary
name, then rename); what is extracted already is skipped; an archive may not grow without bound.
"""

import bisect
import functools
import gzip
import io
import itertools
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from tqdm import tqdm

from deepgenre import log
from deepgenre.data.downloads.transfer import check_space
from deepgenre.errors import UserError, one_line

MOST_RATIO = 20  # of extracted bytes to those of the archive; of tables about 4, of audio 1
LEAST_BYTES = 1 << 20  # that any archive may extract to
COPY_BYTES = 1 << 20
JUNK = ("__MACOSX", ".DS_Store")  # what macOS adds, beside names that begin with '._'
# What damaged archives raise, beside errors of the system; RuntimeError: an encrypted entry.
DAMAGE = (
    EOFError, gzip.BadGzipFile, RuntimeError, NotImplementedError, struct.error, zlib.error,
    lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, ValueError,
)  # fmt: skip


class JoinedFile(io.RawIOBase):
    """A readable, seekable file that consists of several, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Opens the files."""
        self._streams = [path.open("rb") for path in paths]
        sizes = (os.fstat(stream.fileno()).st_size for stream in self._streams)
        self._starts = [0, *itertools.accumulate(sizes)]
        self.size = self._starts[-1]
        self._offset = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Sets and returns the offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"offset {base + offset} is before the file")
        self._offset = base + offset
        return self._offset

    def tell(self) -> int:
        """Returns the offset."""
        return self._offset

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads from one of the files; returns the number of bytes, 0 at the end."""
        if self._offset >= self.size:
            return 0
        index = bisect.bisect_right(self._starts, self._offset) - 1
        stream = self._streams[index]
        stream.seek(self._offset - self._starts[index])
        count = stream.readinto(buffer)
        self._offset += count
        return count

    def close(self) -> None:
        """Closes the files."""
        for stream in self._streams:
            stream.close()
        super().close()


def extract(parts: Sequence[Path], name: str, folder: Path) -> int:
    """Extracts an archive into a folder; returns the number of files, also of those there already.

    name: of the archive, whose suffix tells its format. A file of the same size is there already.

    Raises:
      UserError: the archive is damaged, leads out of the folder, contains links, extracts to more
        than MOST_RATIO times its size, or the disk is too small.
    """
    if not name.endswith((".zip", ".tar.gz", ".tgz", ".tar")):
        raise UserError(f"{name}: is no zip or tar; unpack it by hand")
    files = _zip_files if name.endswith(".zip") else _tar_files
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        with (
            JoinedFile(parts) as joined,
            log.progress(None, total=1, unit="file", title=f"extract {name}") as bar,
        ):
            for target, size, opened in files(joined, folder, bar):
                if not (target.is_file() and target.stat().st_size == size):
                    _write(opened, target, size)
                count += 1
                bar.update(1)
    except DAMAGE as error:
        reason = one_line(error)
        where = ", ".join(map(str, parts))
        raise UserError(f"{name}: is damaged ({reason}); remove {where}, and run again") from error
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    os.sync()  # the caller will note that this is done
    return count


# The path of a file, its size, and what opens its content.
File = tuple[Path, int, Callable[[], IO[bytes] | None]]


def _zip_files(joined: JoinedFile, folder: Path, bar: tqdm) -> Iterator[File]:
    with zipfile.ZipFile(io.BufferedReader(joined)) as archive:
        entries = [
            one for one in archive.infolist() if not one.is_dir() and not _is_junk(one.filename)
        ]
        targets = [_target(folder, one.filename) for one in entries]
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _unsafe(entry.filename, "is a link or a device")
        total = sum(entry.file_size for entry in entries)
        _check_growth(total, joined.size)
        there = sum(
            entry.file_size
            for entry, target in zip(entries, targets, strict=True)
            if target.is_file()
        )
        check_space(folder, total - there, "the extracted files")
        bar.reset(total=len(entries))
        for entry, target in zip(entries, targets, strict=True):
            yield target, entry.file_size, functools.partial(archive.open, entry)


def _tar_files(joined: JoinedFile, folder: Path, bar: tqdm) -> Iterator[File]:
    total = 0
    bar.reset(total=None)
    with tarfile.open(fileobj=io.BufferedReader(joined), mode="r:*") as archive:
        for entry in archive:
            if entry.isdir() or _is_junk(entry.name):
                continue
            target = _target(folder, entry.name)
            if not entry.isreg():
                raise _unsafe(entry.name, "is a link or a device")
            total += entry.size
            _check_growth(total, joined.size)
            check_space(folder, entry.size, entry.name)
            yield target, entry.size, functools.partial(archive.extractfile, entry)


def _write(opened: Callable[[], IO[bytes] | None], target: Path, size: int) -> None:
    """Writes one file under a temporary name, then renames it; never more than its stated size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    written = 0
    try:
        source = opened()
        assert source is not None  # tarfile's type: it is a regular file
        with source, temporary.open("wb") as stream:
            while chunk := source.read(COPY_BYTES):
                written += len(chunk)
                if written > size:
                    break
                stream.write(chunk)
        if written != size:
            raise zipfile.BadZipFile(f"{target.name} has {written} bytes, not the stated {size}")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _target(folder: Path, name: str) -> Path:
    """Returns the path of an entry; raises UserError where it is not inside the folder."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
        raise _unsafe(name, "leads out of the folder")
    return folder / name


def _is_junk(name: str) -> bool:
    *_, last = name.rstrip("/").split("/")
    return name.startswith(JUNK[0]) or last in JUNK or last.startswith("._")


def _check_growth(num_bytes: int, size: int) -> None:
    if num_bytes > max(MOST_RATIO * size, LEAST_BYTES):
        raise UserError(
            f"of {size} bytes would extract to more than {MOST_RATIO} times its size, as no "
            "dataset does; this is not the published archive"
        )


def _unsafe(name: str, what: str) -> UserError:
    return UserError(f"entry {name!r} {what}; this is not the published archive")

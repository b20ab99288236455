"""The songs that clients can name: those of the library, of the index, and uploads.

Clients know songs by ids only, which are looked up here: no path or name from a client is used as a
path.
"""

import asyncio
import collections
import dataclasses
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from deepgenre.files import stamp
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.server.jobs import RefusedError
from deepgenre.server.settings import MEBIBYTE, Limits

ID_BYTES = 12


@dataclasses.dataclass(frozen=True)
class Song:
    """A song that clients can name."""

    id: str
    path: Path
    name: str  # to show
    folder: str = ""  # to show: the folder below the library's
    is_upload: bool = False

    @property
    def version(self) -> object:
        """Returns what changes with the content of the file."""
        return self.id if self.is_upload else (self.id, stamp(self.path))

    def to_json(self) -> dict[str, object]:
        """Returns what the page shows of the song."""
        kind = "upload" if self.is_upload else "library"
        return {"id": self.id, "name": self.name, "folder": self.folder, "kind": kind}


class Songs:
    """The table of songs by id; uploads are removed, least recently used first, beyond a limit."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Starts with no songs. folder: of uploads."""
        self._folder, self._limits = folder, limits
        self._of_files: dict[str, Song] = {}
        self._uploads: collections.OrderedDict[str, tuple[Song, int]] = collections.OrderedDict()
        self._receiving = asyncio.Semaphore(limits.concurrent_uploads)
        self.library: list[Song] = []

    def add_library(self, paths: Sequence[Path]) -> None:
        """Adds the files of the library."""
        reals = [os.path.realpath(path) for path in paths]
        top = os.path.commonpath([os.path.dirname(r) for r in reals]) if reals else ""  # noqa: PTH120
        self.library = [
            self.of_file(path, os.path.relpath(os.path.dirname(real), top))  # noqa: PTH120
            for path, real in zip(paths, reals, strict=True)
        ]

    def of_file(self, path: Path, folder: str = "") -> Song:
        """Returns the song of a file on this machine, which clients can name from now on."""
        digest = hashlib.sha256(os.fsencode(os.path.realpath(path)))
        song_id = digest.hexdigest()[: 2 * ID_BYTES]
        if song_id not in self._of_files:
            shown = encodable("" if folder == "." else folder)
            self._of_files[song_id] = Song(song_id, path, encodable(path.name), shown)
        return self._of_files[song_id]

    @property
    def files(self) -> Sequence[Song]:
        """Returns the songs of the library, then those that only the index has."""
        return [*self._of_files.values()]

    def of_library(self, song_id: str) -> Song | None:
        """Returns a song of the library or of the index by its id; None where there is none."""
        return self._of_files.get(song_id)

    def find(self, song_id: object) -> Song:
        """Returns a song by its id; raises RefusedError where there is none."""
        if isinstance(song_id, str) and song_id in self._uploads:
            self._uploads.move_to_end(song_id)
            return self._uploads[song_id][0]
        if isinstance(song_id, str) and song_id in self._of_files:
            return self._of_files[song_id]
        raise RefusedError(404, "There is no such song here (any more); upload it again.")

    async def upload(self, content: AsyncIterator[bytes], declared_bytes: int | None) -> Song:
        """Returns the song of uploaded bytes, which are stored under a random name.

        Raises RefusedError where it is empty, too large, or arrives too slowly.
        """
        if declared_bytes is not None and declared_bytes > self._limits.upload_bytes:
            raise self._too_large()
        song_id = secrets.token_hex(ID_BYTES)
        path = self._folder / song_id
        is_complete = False
        try:
            async with self._receiving, asyncio.timeout(self._limits.upload_seconds):
                size = await self._receive(path, content)
            if not size:
                raise RefusedError(422, "The file is empty (0 bytes); copy or download it again.")
            is_complete = True
        except TimeoutError as error:
            raise RefusedError(408, "The upload took too long; try again.") from error
        finally:
            if not is_complete:
                path.unlink(missing_ok=True)
        song = Song(song_id, path, "", is_upload=True)
        self._uploads[song_id] = song, size
        self._remove_oldest()
        return song

    async def _receive(self, path: Path, content: AsyncIterator[bytes]) -> int:
        size = 0
        with path.open("xb") as stream:
            async for chunk in content:
                size += len(chunk)
                if size > self._limits.upload_bytes:
                    raise self._too_large()
                stream.write(chunk)
        return size

    def _too_large(self) -> RefusedError:
        limit = self._limits.upload_bytes / MEBIBYTE
        return RefusedError(413, f"The file is larger than {limit:g} MB; upload a smaller one.")

    def remove(self, song: Song) -> None:
        """Removes an upload; songs of the library stay."""
        if self._uploads.pop(song.id, None):
            song.path.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        sizes = [size for _, size in self._uploads.values()]
        for song, size in list(self._uploads.values())[:-1]:
            if len(self._uploads) <= self._limits.uploads and sum(sizes) <= (
                self._limits.uploads_bytes
            ):
                return
            sizes.remove(size)
            self.remove(song)

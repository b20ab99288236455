"""A vector a song, on disk (.npz): what `--mode=embed` writes and `--mode=similar` looks in.

model     text: digest of the network and weights that made the vectors
paths     uint8: the songs' absolute paths as JSON; names that are no UTF-8 included
stamps    int64 (songs, 2): size in bytes and time of change in ns of each file when heard
vectors   float32 (songs, features): the mean over a song's windows
search    uint8: what `search` keeps to find neighbours among very many; or empty
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deepgenre.errors import UserError
from deepgenre.stamps import Stamp, stamp
from deepgenre.store import replacing


@dataclasses.dataclass(frozen=True)
class Song:
    """A song's vector, float32 (features,), and the state of the file that it was made of."""

    path: Path
    stamp: Stamp
    vector: np.ndarray


@dataclasses.dataclass(frozen=True)
class Vectors:
    """The vectors of some songs, all made by one model."""

    model: str
    songs: tuple[Song, ...]
    search: bytes = b""

    def matrix(self) -> np.ndarray:
        """Returns float32 (songs, features)."""
        if not self.songs:
            return np.zeros((0, 0), np.float32)
        return np.stack([song.vector for song in self.songs])


def unchanged(songs: Iterable[Song]) -> list[Song]:
    """Returns the songs whose file is as it was when it was heard."""
    return [song for song in songs if song.stamp == stamp(song.path)]


def write(path: Path, vectors: Vectors) -> None:
    """Writes the file, all or nothing."""
    names = json.dumps([str(song.path) for song in vectors.songs])  # ASCII
    stamps = np.array([song.stamp for song in vectors.songs], np.int64).reshape(-1, 2)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            model=np.array(vectors.model),
            paths=np.frombuffer(names.encode(), np.uint8),
            stamps=stamps,
            vectors=vectors.matrix(),
            search=np.frombuffer(vectors.search, np.uint8),
        )


def read(path: Path) -> Vectors:
    """Returns what a file holds; raises UserError where it is damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = json.loads(arrays["paths"].tobytes())
            rows = zip(names, arrays["stamps"].tolist(), arrays["vectors"], strict=True)
            songs = tuple(Song(Path(n), (size, time), vector) for n, (size, time), vector in rows)
            return Vectors(str(arrays["model"]), songs, arrays["search"].tobytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; give --library to make an index") from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is no index of songs, or damaged ({reason}); give another name or remove it"
        ) from error


def check_model(path: Path, vectors: Vectors, model: str) -> None:
    """Raises UserError unless the vectors were made by `model`: others say nothing about it."""
    if vectors.model != model:
        raise UserError(
            f"{path}: was made with other weights ({vectors.model[:12]}, these are {model[:12]}); "
            "give those --weights, or another name for a new index"
        )

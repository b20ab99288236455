"""A vector a song, on disk (.npz): what `--mode=embed` writes and `--mode=similar` looks in.

model     text: digest of the network and weights that made the vectors
paths     uint8: the songs' absolute paths as JSON; names that are no UTF-8 included
fingerprints    int64 (songs, 2): size in bytes and time of change in ns of each file when heard
vectors   float32 (songs, features): the mean over a song's windows
search    uint8: what `search` keeps to find neighbours among very many; or empty
"""

import dataclasses
import json
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from deepgenre.errors import UserError
from deepgenre.files import Fingerprint, fingerprint, replacing


@dataclasses.dataclass(frozen=True)
class Song:
    """A song's vector, float32 (features,), and the state of the file that it was made of."""

    path: Path
    fingerprint: Fingerprint
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
    return [song for song in songs if song.fingerprint == fingerprint(song.path)]


def write(path: Path, vectors: Vectors) -> None:
    """Writes the file, all or nothing."""
    names = json.dumps([str(song.path) for song in vectors.songs])  # ASCII
    fingerprints = np.array([song.fingerprint for song in vectors.songs], np.int64).reshape(-1, 2)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            model=np.array(vectors.model),
            paths=np.frombuffer(names.encode(), np.uint8),
            fingerprints=fingerprints,
            vectors=vectors.matrix(),
            search=np.frombuffer(vectors.search, np.uint8),
        )


def read(path: Path) -> Vectors:
    """Returns what a file holds; raises UserError where it is damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = json.loads(arrays["paths"].tobytes())
            rows = zip(names, arrays["fingerprints"].tolist(), arrays["vectors"], strict=True)
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


EXACT_SONGS = 100_000
WANTED_RECALL = 0.95  # cells looked into are doubled until a sample is found that well
RECALL_SONGS = 200  # of the sample
RECALL_NEIGHBOURS = 10
TRAIN_SONGS_PER_CELL = 40
TRAIN_ROUNDS = 10


@dataclasses.dataclass(frozen=True)
class Search:
    """What finds neighbours, and how well: the share of the exact nearest ones that it finds."""

    index: Any  # of faiss, over vectors of length 1
    recall: float


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors, float32 (songs, features), at length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def build(vectors: np.ndarray) -> Search:
    """Returns the search among vectors, float32 (songs, features)."""
    units = unit(vectors)
    exact: Any = faiss.IndexFlatIP(units.shape[1])
    exact.add(units)
    if len(units) <= EXACT_SONGS:
        return Search(exact, 1.0)
    return _in_cells(units, exact)


def _in_cells(units: np.ndarray, exact: Any) -> Search:
    draw = np.random.default_rng(0)
    num_cells = 4 * math.isqrt(len(units))
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(units.shape[1]), units.shape[1], num_cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid = TRAIN_ROUNDS, TRAIN_SONGS_PER_CELL
    index.train(units[draw.permutation(len(units))[: num_cells * TRAIN_SONGS_PER_CELL]])
    index.add(units)
    sample = units[draw.choice(len(units), RECALL_SONGS, replace=False)]
    nearest = exact.search(sample, 1 + RECALL_NEIGHBOURS)[1]
    index.nprobe, recall = 8, 0.0
    while True:
        recall = _shared(index.search(sample, 1 + RECALL_NEIGHBOURS)[1], nearest)
        if recall >= WANTED_RECALL or index.nprobe >= num_cells:
            return Search(index, recall)
        index.nprobe = min(2 * index.nprobe, num_cells)


def _shared(found: np.ndarray, nearest: np.ndarray) -> float:
    """Returns the share of the nearest, but for the first, which is the song itself, in found."""
    hits = [len({*ours} & {*truth[1:]}) for ours, truth in zip(found, nearest, strict=True)]
    return float(np.mean(hits) / (nearest.shape[1] - 1))


def to_bytes(search: Search) -> bytes:
    """Returns what to keep of a search that took long to build; nothing of an exact one."""
    if isinstance(search.index, faiss.IndexFlat):
        return b""
    return np.float64(search.recall).tobytes() + faiss.serialize_index(search.index).tobytes()


def from_bytes(kept: bytes) -> Search:
    """Returns the search that `to_bytes` kept."""
    index = faiss.deserialize_index(np.frombuffer(kept, np.uint8, offset=8).copy())
    return Search(index, float(np.frombuffer(kept, np.float64, 1)[0]))


def nearest(search: Search, questions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cosines, float32, and rows of the vectors, int64, both (questions, at most count).

    Nearest first; -1 for a row where fewer were found. questions: float32 (questions, features).
    """
    return search.index.search(unit(questions), min(count, search.index.ntotal))

"""An index of songs: their embeddings on disk (.npz) and nearest-neighbour search (faiss).

Arrays of the file:

model     text: digest of the network and weights that computed the embeddings
paths     uint8: the songs' absolute paths as JSON, including names that are not UTF-8
stamps    int64 (songs, 2): fingerprint of each file, size in bytes and modification time in ns
vectors   float32 (songs, features): embedding of each song, the mean over its windows
search    uint8: serialised search (`dump_search`) of an index of more than EXACT_SONGS, or empty

Neighbours are ranked by cosine similarity: exactly up to EXACT_SONGS songs, beyond that with an
inverted file whose recall is measured on a sample.
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

EXACT_SONGS = 100_000
TARGET_RECALL = 0.95  # the number of probed cells is doubled until a sample reaches it
RECALL_SONGS = 200  # size of the sample
RECALL_NEIGHBOURS = 10
TRAIN_SONGS_PER_CELL = 40
TRAIN_ROUNDS = 10


@dataclasses.dataclass(frozen=True)
class Song:
    """A song's embedding, float32 (features,), and the fingerprint of its file at that time."""

    path: Path
    fingerprint: Fingerprint
    vector: np.ndarray


@dataclasses.dataclass(frozen=True)
class SongIndex:
    """Embeddings of songs, all computed by one model, and the serialised search, if any."""

    model: str
    songs: tuple[Song, ...]
    search: bytes = b""

    def matrix(self) -> np.ndarray:
        """Returns the embeddings, float32 (songs, features)."""
        if not self.songs:
            return np.zeros((0, 0), np.float32)
        return np.stack([song.vector for song in self.songs])


def read_index(path: Path) -> SongIndex:
    """Returns the index; raises UserError where the file is missing, damaged or not an index."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = json.loads(arrays["paths"].tobytes())
            rows = zip(names, arrays["stamps"].tolist(), arrays["vectors"], strict=True)
            songs = tuple(Song(Path(n), (size, time), vector) for n, (size, time), vector in rows)
            return SongIndex(str(arrays["model"]), songs, arrays["search"].tobytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; give --library to create an index") from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is not a song index, or is damaged ({reason}); give another name or remove it"
        ) from error


def write_index(path: Path, index: SongIndex) -> None:
    """Writes an index atomically."""
    names = json.dumps([str(song.path) for song in index.songs])  # ASCII
    fingerprints = np.array([song.fingerprint for song in index.songs], np.int64).reshape(-1, 2)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            model=np.array(index.model),
            paths=np.frombuffer(names.encode(), np.uint8),
            stamps=fingerprints,
            vectors=index.matrix(),
            search=np.frombuffer(index.search, np.uint8),
        )


def check_model(path: Path, index: SongIndex, model: str) -> None:
    """Raises UserError unless `model` computed the embeddings: others cannot be compared."""
    if index.model != model:
        raise UserError(
            f"{path}: was made with other weights ({index.model[:12]}, these are {model[:12]}); "
            "give those --weights, or another name for a new index"
        )


def unchanged(songs: Iterable[Song]) -> list[Song]:
    """Returns the songs whose file still has the same fingerprint."""
    return [song for song in songs if song.fingerprint == fingerprint(song.path)]


@dataclasses.dataclass(frozen=True)
class Search:
    """A search structure, and its recall: the share of the exact nearest neighbours it returns."""

    index: Any  # of faiss, over unit vectors
    recall: float


def build_search(vectors: np.ndarray) -> Search:
    """Returns the search over vectors, float32 (songs, features)."""
    units = unit_vectors(vectors)
    exact: Any = faiss.IndexFlatIP(units.shape[1])
    exact.add(units)
    if len(units) <= EXACT_SONGS:
        return Search(exact, 1.0)
    return _inverted_file(units, exact)


def nearest_songs(search: Search, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cosines, float32, and row indices, int64, both (queries, at most count).

    Nearest first; -1 for an index where fewer were found. queries: float32 (queries, features).
    """
    return search.index.search(unit_vectors(queries), min(count, search.index.ntotal))


def dump_search(search: Search) -> bytes:
    """Returns a search as bytes; empty for an exact one, which is fast to build."""
    if isinstance(search.index, faiss.IndexFlat):
        return b""
    return np.float64(search.recall).tobytes() + faiss.serialize_index(search.index).tobytes()


def load_search(content: bytes) -> Search:
    """Returns the search from the bytes of `dump_search`."""
    index = faiss.deserialize_index(np.frombuffer(content, np.uint8, offset=8).copy())
    return Search(index, float(np.frombuffer(content, np.float64, 1)[0]))


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors, float32 (songs, features), scaled to length 1; zero vectors stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _inverted_file(units: np.ndarray, exact: Any) -> Search:
    rng = np.random.default_rng(0)
    num_cells = 4 * math.isqrt(len(units))
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(units.shape[1]), units.shape[1], num_cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid = TRAIN_ROUNDS, TRAIN_SONGS_PER_CELL
    index.train(units[rng.permutation(len(units))[: num_cells * TRAIN_SONGS_PER_CELL]])
    index.add(units)
    sample = units[rng.choice(len(units), RECALL_SONGS, replace=False)]
    nearest = exact.search(sample, 1 + RECALL_NEIGHBOURS)[1]
    index.nprobe, recall = 8, 0.0
    while True:
        recall = _recall(index.search(sample, 1 + RECALL_NEIGHBOURS)[1], nearest)
        if recall >= TARGET_RECALL or index.nprobe >= num_cells:
            return Search(index, recall)
        index.nprobe = min(2 * index.nprobe, num_cells)


def _recall(found: np.ndarray, nearest: np.ndarray) -> float:
    """Returns the share of the nearest that was found, without the first: the query itself."""
    hits = [len({*row} & {*exact[1:]}) for row, exact in zip(found, nearest, strict=True)]
    return float(np.mean(hits) / (nearest.shape[1] - 1))

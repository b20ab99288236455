"""Nearest songs by cosine similarity of their embeddings.

Exact up to EXACT_SONGS songs, beyond that with an inverted file (faiss) whose recall is measured on
a sample.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

EXACT_SONGS = 100_000
EXACT_QUERIES = 32  # whose cosines to all songs are in memory at the same time
TARGET_RECALL = 0.95  # the number of probed cells is doubled until a sample reaches it
RECALL_SONGS = 200  # size of the sample
RECALL_NEIGHBOURS = 10
TRAIN_SONGS_PER_CELL = 40
TRAIN_ROUNDS = 10
FIRST_SONGS = 32  # of a ranking; then four times as many, and so on


@dataclasses.dataclass(frozen=True)
class Cells:
    """An inverted file without its vectors: what took long to compute."""

    centroids: np.ndarray  # float32 (cells, features)
    cell_of: np.ndarray  # int32 (songs,)
    num_probed: int  # cells that a query searches
    recall: float


@dataclasses.dataclass(frozen=True)
class Exact:
    """The exact search, with the interface of an index of faiss.

    For single queries it takes half the time of `faiss.IndexFlatIP`: BLAS uses all cores.
    """

    units: np.ndarray  # float32 (songs, features)

    @property
    def ntotal(self) -> int:
        """Returns the number of songs."""
        return len(self.units)

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `nearest_songs` does. queries: of length 1; count: at most `ntotal`."""
        rows = np.empty((len(queries), count), np.int64)
        cosines = np.empty((len(queries), count), np.float32)
        for start in range(0, len(queries), EXACT_QUERIES):
            products = queries[start : start + EXACT_QUERIES] @ self.units.T
            for number, of_query in enumerate(products, start):
                best = np.sort(np.argpartition(-of_query, count - 1)[:count])  # equal ones by row
                rows[number] = best[np.argsort(-of_query[best], kind="stable")]
                cosines[number] = of_query[rows[number]]
        return cosines, rows


@dataclasses.dataclass(frozen=True)
class Search:
    """A search structure, and its recall: the share of the exact nearest neighbours it returns."""

    index: Any  # `Exact`, or an index of faiss, over unit vectors
    recall: float = 1.0


def exact_search(vectors: np.ndarray) -> Search:
    """Returns the exact search over vectors, float32 (songs, features)."""
    return Search(Exact(unit_vectors(vectors)))


def cell_search(vectors: np.ndarray, cells: Cells) -> Search:
    """Returns the search over vectors, float32 (songs, features), by their cells."""
    units = unit_vectors(vectors)
    index = _inverted_file(cells.centroids)
    index.is_trained = True
    assigned = cells.cell_of.astype(np.int64)
    index.add_core(len(units), faiss.swig_ptr(units), None, faiss.swig_ptr(assigned))
    index.ntotal = len(units)
    index.nprobe = cells.num_probed
    return Search(index, cells.recall)


def find_cells(vectors: np.ndarray) -> Cells:
    """Returns the cells of more than EXACT_SONGS vectors, float32 (songs, features)."""
    units = unit_vectors(vectors)
    rng = np.random.default_rng(0)
    num_cells = 4 * math.isqrt(len(units))
    clusters: Any = faiss.Kmeans(
        units.shape[1], num_cells, niter=TRAIN_ROUNDS, spherical=True,
        max_points_per_centroid=TRAIN_SONGS_PER_CELL,
    )  # fmt: skip
    clusters.train(units[rng.permutation(len(units))[: num_cells * TRAIN_SONGS_PER_CELL]])
    cell_of = clusters.index.search(units, 1)[1][:, 0].astype(np.int32)
    cells = Cells(clusters.centroids, cell_of, 8, 0.0)
    sample = units[rng.choice(len(units), RECALL_SONGS, replace=False)]
    nearest = exact_search(units).index.search(sample, 1 + RECALL_NEIGHBOURS)[1]
    index = cell_search(units, cells).index
    while True:
        recall = _recall(index.search(sample, 1 + RECALL_NEIGHBOURS)[1], nearest)
        if recall >= TARGET_RECALL or index.nprobe >= num_cells:
            return dataclasses.replace(cells, num_probed=index.nprobe, recall=recall)
        index.nprobe = min(2 * index.nprobe, num_cells)


def nearest_songs(search: Search, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cosines, float32, and row indices, int64, both (queries, at most count).

    Nearest first; -1 for an index where fewer were found. queries: float32 (queries, features).
    """
    return search.index.search(unit_vectors(queries), min(count, search.index.ntotal))


def ranking(
    search: Search, query: np.ndarray, count: int = FIRST_SONGS
) -> Iterator[tuple[float, int]]:
    """Yields (cosine, row) of the songs that the search finds, nearest first, each once.

    query: float32 (features,). count: songs of the first search; more are searched as more are
    taken.
    """
    yielded = set()
    while True:
        cosines, rows = (found[0] for found in nearest_songs(search, query[None], count))
        for cosine, row in zip(cosines.tolist(), rows.tolist(), strict=True):
            if row >= 0 and row not in yielded:
                yielded.add(row)
                yield cosine, row
        if count >= search.index.ntotal or rows[-1] < 0:
            return
        count *= 4


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors, float32 (songs, features), scaled to length 1; zero vectors stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _inverted_file(centroids: np.ndarray) -> Any:
    """Returns a faiss inverted file with these cells and no songs."""
    num_cells, num_features = centroids.shape
    quantizer: Any = faiss.IndexFlatIP(num_features)
    quantizer.add(np.ascontiguousarray(centroids))
    return faiss.IndexIVFFlat(quantizer, num_features, num_cells, faiss.METRIC_INNER_PRODUCT)


def _recall(found: np.ndarray, nearest: np.ndarray) -> float:
    """Returns the share of the nearest that was found, without the first: the query itself."""
    hits = [len({*row} & {*exact[1:]}) for row, exact in zip(found, nearest, strict=True)]
    return float(np.mean(hits) / (nearest.shape[1] - 1))

"""The nearest of many vectors by cosine, with faiss: exactly, or nearly so among very many.

Beyond EXACT_SONGS, vectors are sorted into cells, and only the cells nearest to a question are
looked into (an inverted file; Sivic and Zisserman, 2003; J. Johnson et al., "Billion-scale
similarity search with GPUs", arXiv:1702.08734).
"""

import dataclasses
import math
from typing import Any

import faiss
import numpy as np

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

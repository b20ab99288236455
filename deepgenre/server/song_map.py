"""Maps of the songs of an index on which near songs are similar, by PCA or UMAP.

UMAP: L. McInnes, J. Healy and J. Melville, "UMAP: Uniform Manifold Approximation and Projection for
Dimension Reduction", 2018, arXiv:1802.03426. It keeps neighbours together that two principal axes
put on top of strangers, and takes seconds to minutes: it runs in a process of its own.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from deepgenre import interrupt
from deepgenre.inference import song_index
from deepgenre.inference.song_search import unit_vectors
from deepgenre.server.settings import Settings

PCA_SAMPLE = 5_000  # songs from which the axes are computed
UMAP_SONGS = 10, 20_000  # fewer have too few neighbours, more take minutes
UMAP_NEIGHBOURS = 15
MARGIN = 0.005  # of the songs at each edge are moved to it, so that a stray one leaves room


def pca(vectors: np.ndarray) -> np.ndarray:
    """Returns embeddings on their first two principal axes, float32 (songs, 2)."""
    units = unit_vectors(vectors)
    sample = units[np.random.default_rng(0).permutation(len(units))[:PCA_SAMPLE]]
    centre = sample.mean(axis=0)
    axes = np.linalg.svd(sample - centre, full_matrices=False)[2][:2]
    flat = (units - centre) @ axes.T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


def umap(vectors: np.ndarray) -> np.ndarray:
    """Returns the UMAP of embeddings by cosine, float32 (songs, 2); the same at every call."""
    import umap  # pyright: ignore[reportMissingImports] - an extra, and slow to import

    reducer = umap.UMAP(
        n_neighbors=min(UMAP_NEIGHBOURS, len(vectors) - 1),
        metric="cosine",
        init="pca",
        random_state=0,
        n_jobs=1,
    )
    return np.asarray(reducer.fit_transform(unit_vectors(vectors)), np.float32)


METHODS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"umap": umap, "pca": pca}


def offered(num_songs: int) -> list[str]:
    """Returns the methods that can be used for an index, the best first."""
    least, most = UMAP_SONGS
    has_umap = importlib.util.find_spec("umap") is not None and least <= num_songs <= most
    return [name for name in METHODS if name != "umap" or has_umap]


def scaled(flat: np.ndarray) -> np.ndarray:
    """Returns positions (songs, 2) in 0 to 1."""
    low, high = np.quantile(flat, [MARGIN, 1 - MARGIN], axis=0)
    return np.clip((flat - low) / np.maximum(high - low, 1e-9), 0, 1)


def run(connection: Connection, cancelled: Any, settings: Settings) -> None:
    """Runs a process that computes UMAPs: per job, that of the index at its path, see `jobs`."""
    os.setpgid(0, 0)
    interrupt.end_with_parent()
    connection.send(("ready", {}))
    while True:
        job = connection.recv()
        flat = umap(song_index.read_index(job.path).matrix())
        connection.send(("result", {"flat": flat}))

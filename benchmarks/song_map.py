"""Measures how well maps of an index keep neighbours together: trustworthiness of PCA and UMAP.

    deepgenre embed songs/ --weights=mtt_musicnn --output=songs.npz
    python benchmarks/song_map.py songs.npz

Trustworthiness (J. Venna and S. Kaski, 2001): 1 where the nearest songs on the map are the nearest
by embedding, 0.5 at random. The share of common neighbours: of the 10 nearest songs on the map, how
many are among the 10 nearest by embedding. Needs umap-learn (`pip install 'deepgenre[umap]'`).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from deepgenre.inference import song_index
from deepgenre.inference.song_search import unit_vectors
from deepgenre.server.song_map import METHODS

NUM_NEIGHBOURS = (5, 10, 20)


def common_neighbours(first: np.ndarray, second: np.ndarray, count: int) -> float:
    """Returns the mean share of the nearest rows that two sets of positions have in common."""
    found = [
        NearestNeighbors(n_neighbors=count).fit(rows).kneighbors(return_distance=False)
        for rows in (first, second)
    ]
    return float(np.mean([len({*a} & {*b}) / count for a, b in zip(*found, strict=True)]))


def main() -> None:
    """Prints a line per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    vectors = song_index.read_index(parser.parse_args().index).matrix()
    units = unit_vectors(vectors)  # the Euclidean distance of these orders as the cosine does
    print(f"{len(units)} songs, {units.shape[1]} numbers each")
    for name, method in METHODS.items():
        started = time.perf_counter()
        flat = method(vectors)
        seconds = time.perf_counter() - started
        values = ", ".join(
            f"{count}: {trustworthiness(units, flat, n_neighbors=count):.3f}"
            for count in NUM_NEIGHBOURS
        )
        share = common_neighbours(units, flat, 10)
        print(f"{name}: trustworthiness {values}; common neighbours {share:.2f}; {seconds:.1f} s")


if __name__ == "__main__":
    main()

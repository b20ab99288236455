"""Seconds and memory of searches by several terms, paths and shared songs in a large index.

    python benchmarks/similar_terms.py --songs=100000 --features=748

*Synthetic* random embeddings, scores, tempi, keys and loudnesses; files that do not exist. Each row
has the seconds of the step and the peak resident memory of the process so far. The last rows state
how even the steps of a path are: the largest and the mean of 1 - similarity of neighbours, against
that of its ends.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from measured_steps import timed

from deepgenre.inference import shared_songs, song_index
from deepgenre.inference.song_details import KEYS, NAMES, Details
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.library import similarity, song_path

_SONGS = flags.DEFINE_integer("songs", 100_000, "Number of songs.")
_FEATURES = flags.DEFINE_integer("features", 748, "Length of an embedding; 748: of gtzan.")
_CLUSTERS = flags.DEFINE_integer("clusters", 200, "Centres around which embeddings lie.")

WEIGHTS = {"embedding": 1.0, "tempo": 0.5, "key": 0.2, "loudness": 0.1, "tags": 0.5}
CLASSES = tuple(f"tag {number}" for number in range(50))


def library(num_songs: int, num_features: int) -> SongIndex:
    """Returns random songs with all details but fingerprints."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((_CLUSTERS.value, num_features)).astype(np.float32)
    computed = frozenset(NAMES) - {"fingerprint"}
    songs = []
    for number in range(num_songs):
        noise = rng.standard_normal(num_features, dtype=np.float32)
        details = Details(
            computed,
            float(rng.uniform(60, 180)),
            KEYS[rng.integers(len(KEYS))],
            float(rng.uniform(-20, -6)),
            rng.random(len(CLASSES), dtype=np.float32),
        )
        path = Path(f"/music/artist {number // 100}/{number}.mp3")
        songs.append(Song(path, (1, 1), centres[rng.integers(len(centres))] + noise, details))
    return SongIndex("model", tuple(songs), classes=CLASSES)


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    print("| step | seconds | peak memory, MB |\n| --- | --- | --- |")
    index = timed("compose", lambda: library(_SONGS.value, _FEATURES.value))
    with tempfile.TemporaryDirectory() as folder:
        path, shared = Path(folder) / "v.npz", Path(folder) / "v.parquet"
        timed("write .npz", lambda: song_index.write_index(path, index))
        index = timed("read .npz", lambda: song_index.read_index(path))
        timed("write .parquet", lambda: shared_songs.write(shared, index, "none"))
        timed("read .parquet", lambda: shared_songs.read(shared))
        sizes = ", ".join(
            f"{file.name} {file.stat().st_size / 1e6:.0f} MB" for file in (path, shared)
        )
    table = timed("table", lambda: similarity.table(index.songs))
    query = similarity.table(index.songs[:1])
    timed("a query, five terms", lambda: similarity.similarities(query, table, WEIGHTS))
    rules = song_path.Rules(20)
    ends, others = (index.songs[0], index.songs[1]), index.songs[2:]
    steps = []
    for name, weights in (("embedding", similarity.DEFAULT), ("five terms", WEIGHTS)):
        found = timed(
            f"path of {rules.num_songs}, {name}",
            lambda weights=weights: song_path.find(ends, others, weights, rules),
        )
        songs = similarity.table(found)
        distances = 1 - similarity.similarities(songs, songs, weights)
        along = np.diagonal(distances, 1)
        steps.append(
            f"path, {name}: steps at most {along.max():.3f}, mean {along.mean():.3f}; "
            f"ends {distances[0, -1]:.3f}"
        )
    print("\n" + "\n".join([sizes, *steps]))


if __name__ == "__main__":
    app.run(main)

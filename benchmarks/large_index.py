"""Seconds and memory of a large song index: random embeddings, files that do not exist.

    python benchmarks/large_index.py --songs=100000 --features=200

Steps: write and read the index file, build the search, rank the nearest songs of a query. Each row
has the seconds of the step and the peak resident memory of the process so far.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from measured_steps import timed

from deepgenre.inference import song_index, song_search
from deepgenre.inference.song_index import Song, SongIndex

_SONGS = flags.DEFINE_integer("songs", 100_000, "Number of songs.")
_FEATURES = flags.DEFINE_integer("features", 200, "Length of an embedding.")

QUERIES = 100


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((_SONGS.value, _FEATURES.value)).astype(np.float32)
    paths = (Path(f"/music/artist {i // 100}/{i}.mp3") for i in range(len(vectors)))
    songs = tuple(Song(path, (1, 1), row) for path, row in zip(paths, vectors, strict=True))
    print("| step | seconds | peak memory, MB |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.npz"
        timed("start", lambda: None)
        timed("write", lambda: song_index.write_index(path, SongIndex("model", songs)))
        index = timed("read", lambda: song_index.read_index(path))
        if len(index.songs) <= song_search.EXACT_SONGS:
            search = timed("exact search", lambda: song_search.exact_search(index.matrix()))
        else:
            cells = timed("find cells", lambda: song_search.find_cells(index.matrix()))
            search = timed("cell search", lambda: song_search.cell_search(index.matrix(), cells))
        queries = vectors[:QUERIES] + 0.1
        timed(f"{QUERIES} queries", lambda: [next(song_search.ranking(search, q)) for q in queries])
        print(f"\nfile: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    app.run(main)

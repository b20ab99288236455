"""Seconds and memory of a store's index, its split and the order of training for very many clips.

    python benchmarks/million.py --clips=1000000
    python benchmarks/large_index.py --songs=1000000        # the same for similar songs

The rows are synthetic: one clip per song, ten songs per artist, ten genres; there are no records.
Each row of the table has the seconds of a step and the peak resident memory of the process so far.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from measured_steps import timed

from deepgenre import config as defaults
from deepgenre.data import pipeline, store
from deepgenre.data.parts import split_rows
from deepgenre.data.sampling import Order
from deepgenre.data.shards import Measured
from deepgenre.data.store import Row

_CLIPS = flags.DEFINE_integer("clips", 1_000_000, "Number of clips.")

BATCHES = 1000
BATCH_SIZE = 256
FRAMES, BANDS = 1292, 128  # of 30 s at 22,050 Hz and a hop of 512 samples
WINDOW_FRAMES = 298
CLIPS_PER_SHARD = 64
GENRES = 10


def synthetic_rows(number: int) -> list[Row]:
    """Returns rows as `prepare` would write them, sorted by key."""
    levels = np.random.default_rng(0).uniform(100, 140, number)
    return [
        Row(
            key=f"artist {clip // 10:06d}/{clip:07d}.mp3",
            labels=(f"genre {clip // 10 % GENRES}",),
            group=f"artist {clip // 10:06d}",
            split="",
            measured=Measured(
                key=f"artist {clip // 10:06d}/{clip:07d}.mp3",
                frames=FRAMES,
                bands=BANDS,
                level_sum=FRAMES * BANDS * levels[clip],
                level_sum_of_squares=FRAMES * BANDS * (levels[clip] ** 2 + 900),
                source_bytes=5_000_000,
                source_mtime_ns=clip,
                shard=f"{clip // CLIPS_PER_SHARD:016x}",
                record=clip % CLIPS_PER_SHARD,
                crc32=clip,
            ),
        )
        for clip in range(number)
    ]


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    config = defaults.get_config()
    config.dataset, config.split = "folder", "group_random"
    names = [f"genre {number}" for number in range(GENRES)]
    print("| step | seconds | peak memory, MB |\n| --- | --- | --- |")
    timed("start", lambda: None)
    rows = timed("make rows", lambda: synthetic_rows(_CLIPS.value))
    with tempfile.TemporaryDirectory() as folder:
        timed("write index", lambda: store.write_index(Path(folder), rows))
        del rows
        rows = timed("read index", lambda: store.read_index(Path(folder)))
        size_mb = (Path(folder) / "index.jsonl").stat().st_size / 1e6
    parts = timed("split by artist", lambda: split_rows(config, rows, names, False))
    train = parts["train"]
    timed("mean and deviation", lambda: store.mean_and_deviation(train))
    timed("encode labels", lambda: pipeline.encode_labels(train, names, False))
    frames = np.array([row.measured.frames for row in train])
    order = Order(frames, WINDOW_FRAMES, BATCH_SIZE, seed=0)
    timed("first batch of an epoch", lambda: order.batch(0))
    timed(f"{BATCHES} more batches", lambda: [order.batch(n) for n in range(1, BATCHES + 1)])
    print(f"\nindex: {size_mb:.0f} MB; " + ", ".join(f"{k} {len(v)}" for k, v in parts.items()))


if __name__ == "__main__":
    app.run(main)

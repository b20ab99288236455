"""The musicnn package at work, for `tag_speed.py`, which runs this file in the package's Python.

    musicnn_package.py files LIST.txt          # a file at a time, as the package is used
    musicnn_package.py windows WINDOWS.npy     # batches of windows, the graph built once

Knows nothing of deepgenre. Prints one JSON object last, whose 'wall' and 'cpu' are seconds.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from musicnn import models  # pyright: ignore[reportMissingImports]
from musicnn.extractor import extractor  # pyright: ignore[reportMissingImports]

MODEL = "MTT_musicnn"
NUM_TAGS = 50


@contextmanager
def measured(found: dict[str, object]) -> Iterator[None]:
    """Adds to `found` how long the block took, and how much of the cores' time."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    found.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def tag_files(files: list[str]) -> dict[str, object]:
    """Tags a file a call, each with a spectrogram, a graph and weights of its own."""
    found: dict[str, object] = {}
    with measured(found):
        for file in files:
            extractor(file, model=MODEL, extract_features=False)
    return found


def tag_windows(batches: np.ndarray) -> dict[str, object]:
    """Scores float32 (batches, windows, frames, bands), after one batch that is not counted."""
    with tf.name_scope("model"):
        x = tf.compat.v1.placeholder(tf.float32, [None, *batches.shape[2:]])
        is_training = tf.compat.v1.placeholder(tf.bool)
        probabilities = tf.nn.sigmoid(models.define_model(x, is_training, MODEL, NUM_TAGS)[0])
    found: dict[str, object] = {}
    with tf.compat.v1.Session() as session:
        tf.compat.v1.train.Saver().restore(session, f"{Path(models.__file__).parent / MODEL}/")
        session.run(probabilities, {x: batches[0], is_training: False})
        with measured(found):
            said = [session.run(probabilities, {x: batch, is_training: False}) for batch in batches]
    return {**found, "probabilities": np.concatenate(said).tolist()}


def main() -> None:
    """Does what the command line asks for."""
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "files":
        found = tag_files(path.read_text().splitlines())
    else:
        found = tag_windows(np.load(path))
    print("\n" + json.dumps({"tensorflow": tf.__version__, **found}))


if __name__ == "__main__":
    main()

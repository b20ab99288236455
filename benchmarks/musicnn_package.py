"""Times the musicnn package; `tag_speed.py` runs this file in the package's Python.

    musicnn_package.py files LIST.txt          # one file per call, the package's usual interface
    musicnn_package.py windows WINDOWS.npy     # batches of windows; the graph is built once

Does not import deepgenre. The last output line is a JSON object with 'wall' and 'cpu' in seconds.
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
def timed(results: dict[str, object]) -> Iterator[None]:
    """Adds the wall time and the CPU time of the block, in seconds, to `results`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    results.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def tag_files(files: list[str]) -> dict[str, object]:
    """Tags one file per call; every call builds the graph and loads the weights."""
    results: dict[str, object] = {}
    with timed(results):
        for file in files:
            extractor(file, model=MODEL, extract_features=False)
    return results


def tag_windows(batches: np.ndarray) -> dict[str, object]:
    """Scores float32 (batches, windows, frames, bands), after an untimed warm-up batch."""
    with tf.name_scope("model"):
        x = tf.compat.v1.placeholder(tf.float32, [None, *batches.shape[2:]])
        is_training = tf.compat.v1.placeholder(tf.bool)
        probabilities = tf.nn.sigmoid(models.define_model(x, is_training, MODEL, NUM_TAGS)[0])
    results: dict[str, object] = {}
    with tf.compat.v1.Session() as session:
        tf.compat.v1.train.Saver().restore(session, f"{Path(models.__file__).parent / MODEL}/")
        session.run(probabilities, {x: batches[0], is_training: False})
        with timed(results):
            scores = [
                session.run(probabilities, {x: batch, is_training: False}) for batch in batches
            ]
    return {**results, "probabilities": np.concatenate(scores).tolist()}


def main() -> None:
    """Runs the command line."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    if kind == "files":
        results = tag_files(path.read_text().splitlines())
    else:
        results = tag_windows(np.load(path))
    print("\n" + json.dumps({"tensorflow": tf.__version__, **results}))


if __name__ == "__main__":
    main()

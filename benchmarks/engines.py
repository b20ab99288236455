"""What computes a network in prediction: JAX, onnxruntime, OpenVINO. Speed, and agreement.

    python benchmarks/engines.py --files=FOLDER --output=engines.json   # speed
    python benchmarks/engines.py --table --output=agreement.json        # every network

Speed: of each weights and engine, milliseconds of the network alone (the median of --repeats
batches of --batch windows of random levels), and songs per second of the whole command `predict` in
a process of its own, started once before to fill caches, after the program's own count. Table: for
every network, at published input sizes and --width of its published widths with random weights,
the largest difference of a score from JAX's, by engine; or why there is none.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

from deepgenre import config as defaults
from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.inference.infer import compile_infer_batch
from deepgenre.runtimes import engines
from deepgenre.weights import loading
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights

_FILES = flags.DEFINE_string("files", "", "Folder of songs.")
_WEIGHTS = flags.DEFINE_list("weights", ["mtt_musicnn", "gtzan"], "Weights whose speed to measure.")
_ENGINES = flags.DEFINE_list("engines", [*engines.ENGINES], "Engines to compare.")
_BATCH = flags.DEFINE_integer("batch", 16, "Windows per batch.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Batches to time.")
_TABLE = flags.DEFINE_bool("table", False, "Compare the scores of every network instead.")
_WIDTH = flags.DEFINE_float("width", 0.25, "Share of the published widths in the table.")
_ONLY = flags.DEFINE_list("only", [], "Networks of the table; default all.")
_OUTPUT = flags.DEFINE_string("output", "engines.json", "JSON file of the rows.")

# Input of the table (frames, bands) of networks whose minimum is too short to be of use.
SIZES = {"musicnn": (187, 96), "musicnn_vgg": (187, 96), "li": (190, 13), "vggish": (96, 64)}
WAVEFORMS = ("sample_cnn", "sample_cnn_se", "sample_cnn_rese", "sample_cnn_rese_multi",
             "harmonic_cnn")  # fmt: skip


def network_ms(weights: Weights) -> float:
    """Returns the median time of a batch, in milliseconds."""
    infer = compile_infer_batch(weights)
    levels = np.resize(engines.example_levels(weights), (_BATCH.value, *_shape(weights.spec)))
    times = []
    for _ in range(_REPEATS.value + 2):
        start = time.perf_counter()
        jax.block_until_ready(infer(levels))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[2:]))


def _shape(spec: Spec) -> tuple[int, int]:
    return spec.window_frames, spec.frontend.stored_bands


def songs_per_second(name: str, engine: str, summary: Path) -> float:
    """Returns the rate of the second of two runs of `predict`."""
    program = [sys.executable, "-m", "deepgenre.main", "predict", _FILES.value, "--quiet"]
    options = [f"--engine={engine}", f"--weights={name}", f"--summary={summary}"]
    elapsed = 0.0
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run([*program, *options], check=True, stdout=subprocess.DEVNULL)
        elapsed = time.perf_counter() - start
    return json.loads(summary.read_text())["processed"] / elapsed


def speed() -> list[dict[str, Any]]:
    """Returns a row per weights and engine."""
    rows = []
    for name in _WEIGHTS.value:
        for engine in _ENGINES.value:
            row: dict[str, Any] = {"weights": name, "engine": engine, "cores": os.cpu_count()}
            row["network_ms"] = network_ms(dataclasses.replace(loading.load(name), engine=engine))
            if _FILES.value:
                summary = Path(_OUTPUT.value).with_suffix(".summary.json")
                row["songs_per_second"] = songs_per_second(name, engine, summary)
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def random_weights(name: str) -> Weights:
    """Returns random weights of a network, with an input of its published kind."""
    network = {"width": _WIDTH.value} if "width" in models.options(name) else {}
    frames, bands = SIZES.get(name, (max(models.MODELS[name].min_frames, 387), 128))
    kind = "waveform" if name in WAVEFORMS else "log_mel"
    frontend = FrontEnd(kind=kind, n_mels=bands, n_mfcc=min(20, bands))
    spec = Spec(name, network, tuple(map(str, range(10))), False, frontend, 128.0, 64.0,
                frames, frames, 30.0, defaults.get_config().to_dict())  # fmt: skip
    module, rng = specs.build(spec), np.random.default_rng(0)
    shape = jax.ShapeDtypeStruct((1, frames, frontend.num_bands), np.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), shape)

    def leaf(like: Any) -> np.ndarray:
        if len(like.shape) < 2:
            return rng.uniform(0.5, 1.5, like.shape).astype(np.float32)
        deviation = np.sqrt(np.prod(like.shape[:-1]))
        return (rng.standard_normal(like.shape) / deviation).astype(np.float32)

    kept = {key: shapes[key] for key in ("params", "batch_stats") if key in shapes}
    return Weights(spec, jax.tree.map(leaf, kept), step=0, metrics={})


def agreement() -> list[dict[str, Any]]:
    """Returns a row per network."""
    rows = []
    for name in _ONLY.value or models.MODELS:
        row: dict[str, Any] = {"network": name}
        weights = random_weights(name)
        for engine in _ENGINES.value:
            if engine == engines.JAX:
                continue
            chosen = dataclasses.replace(weights, engine=engine)
            try:
                row[engine] = engines.largest_difference(chosen, engines.load(chosen))
            except UserError as error:
                row[engine] = str(error)
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main(_: list[str]) -> None:
    """Measures, and writes the rows."""
    rows = agreement() if _TABLE.value else speed()
    Path(_OUTPUT.value).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)

"""Rate of clips from the store to the device, and whether training waits for them.

    python benchmarks/pipeline_speed.py

On a *synthetic* store of --num_clips clips of MagnaTagATune's size, 628 x 128 bytes of noise, in
batches of --batch_size:

- streamed: batches read by `training_batches` and sent by `device_put`, with 0 to --workers worker
  processes; 'cold' after the files were dropped from the page cache, 'warm' after that;
- held: the same batches cut on the device from a store in device memory, as training does
  automatically on a GPU if the clips fit;
- training steps of --model on one batch on the device, and the same steps fed in both modes without
  workers: the ratio is the share of the device's rate that training reaches.

Each is measured for --seconds, --repeats times alternately. 'wall' rates require an idle machine;
'cpu' is the CPU time of all cores in this process. Prints medians and ranges and writes everything
to --output.
"""

import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

from deepgenre import config as defaults
from deepgenre import log
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data import device_feed, pipeline, shards
from deepgenre.data.sampling import Order
from deepgenre.data.store import Records, Row
from deepgenre.training.loop import RUN_AHEAD, recipe_of
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.step import TrainStep, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec
from deepgenre.weights.state import State, initial_state

_NUM_CLIPS = flags.DEFINE_integer("num_clips", 2000, "Clips in the store; 80 kB each.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Clips per batch.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Maximum number of worker processes.")
_MODEL = flags.DEFINE_string("model", "paper_1d", "Network to train.")
_SECONDS = flags.DEFINE_float("seconds", 4.0, "Minimum duration of each measurement.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Repeats of each measurement.")
_OUTPUT = flags.DEFINE_string("output", "pipeline_speed.json", "JSON file of all results.")

FRAMES, BANDS, TAGS = 628, 128, 50
CLIPS_PER_SHARD = 64
Rates = dict[str, float]  # clips per second of wall time ('wall') and of CPU time ('cpu')
Batches = Iterator[dict[str, Any]]


def synthetic_store(folder: Path) -> tuple[list[Row], np.ndarray]:
    """Writes a store of noise to `folder`; returns its rows and their multi-hot labels."""
    generator, source, rows = np.random.default_rng(0), folder / "source", []
    source.touch()
    for first in range(0, _NUM_CLIPS.value, CLIPS_PER_SHARD):
        clips = []
        for number in range(first, min(first + CLIPS_PER_SHARD, _NUM_CLIPS.value)):
            levels = generator.integers(0, 256, (FRAMES, BANDS), np.uint8)
            clips.append((shards.measure(f"{number:06d}", levels, source), levels))
        entries = shards.write(folder, f"{first:06d}", clips)
        rows += [Row(entry.key, (), entry.key, "", entry) for entry in entries]
    return rows, generator.integers(0, 2, (len(rows), TAGS), np.uint8)


def drop_from_page_cache(folder: Path) -> None:
    """Drops the shards from the page cache."""
    for path in (folder / "shards").glob("*.arrayrecord"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())  # only clean pages can be dropped
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_rates(process_batch: Callable[[], object]) -> Rates:
    """Returns the rates of a function that processes one batch, over --seconds."""
    wall, cpu, clips = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < _SECONDS.value:
        process_batch()
        clips += _BATCH_SIZE.value
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": clips / seconds[0], "cpu": clips / seconds[1]}


class Bench:
    """A store and a network to train on it."""

    def __init__(self, folder: Path) -> None:
        """Writes the store and compiles the step."""
        self.folder = folder
        rows, self.labels = synthetic_store(folder)
        self.records = Records(folder, rows, np.uint8)
        config = defaults.get_config()
        classes = tuple(f"tag {number}" for number in range(TAGS))
        parts = (FrontEnd(), 127.5, 73.9, FRAMES, FRAMES, 29.1, config.to_dict())
        spec = Spec(_MODEL.value, {}, classes, True, *parts)
        tx = make_optimizer(config, make_schedule(config, 400, 1 << 20))
        self.step: TrainStep = compile_train_step(spec, tx, recipe_of(config), num_devices=1)
        self.state: State = initial_state(specs.build(spec), tx, (1, FRAMES, BANDS), seed=0)

    @contextlib.contextmanager
    def batches(self, feed: tuple[pipeline.Read, device_feed.Feed], num_workers: int = 0):
        """Yields an iterator of training batches from this feed."""
        order = Order(self.records.frames, FRAMES, _BATCH_SIZE.value, seed=0)
        read, to_batch = feed
        batches = pipeline.training_batches(order, self.labels, read, num_workers=num_workers)
        with contextlib.closing(batches):
            yield map(to_batch, batches)

    def reading(self, feed: tuple[pipeline.Read, device_feed.Feed], num_workers: int = 0) -> Rates:
        """Returns the rates from the store to the device."""
        with self.batches(feed, num_workers) as batches:
            next(batches)  # excludes the start of the workers
            return measure_rates(lambda: jax.block_until_ready(jax.device_put(next(batches))))

    def training(self, batches: Batches) -> Rates:
        """Returns the rates of training steps, with RUN_AHEAD steps in flight as in training."""
        pending: list[jax.Array] = []

        def run_step() -> None:
            self.state, scalars = self.step(self.state, next(batches))
            pending.append(scalars["loss"])
            if len(pending) > RUN_AHEAD:
                jax.block_until_ready(pending.pop(0))

        run_step()
        jax.block_until_ready(pending)
        return measure_rates(run_step)

    def repeat(self, results: dict[str, list[Rates]]) -> None:
        """Measures everything once and appends it to `results`."""
        streamed = device_feed.streamed_feed(self.records, FRAMES)
        for workers in range(_WORKERS.value + 1):
            for pages in ("cold", "warm"):
                if pages == "cold":
                    drop_from_page_cache(self.folder)
                name = f"streamed, {workers} workers, {pages}"
                results.setdefault(name, []).append(self.reading(streamed, workers))
        resident = device_feed.resident_feed(self.records, FRAMES)
        results.setdefault("held", []).append(self.reading(resident))
        with self.batches(streamed) as batches:
            batch = jax.device_put(next(batches))
        results.setdefault("training, one batch", []).append(self.training(itertools.repeat(batch)))
        for name, feed in (("streamed", streamed), ("held", resident)):
            with self.batches(feed) as batches:
                results.setdefault(f"training, {name}", []).append(self.training(batches))


def median_and_range(values: Sequence[float]) -> str:
    """Returns 'median (minimum-maximum)'."""
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def report(results: dict[str, list[Rates]]) -> dict[str, list[float]]:
    """Prints medians and ranges; returns training rates divided by that on one batch."""
    for name, repeats in results.items():
        for clock in ("wall", "cpu"):
            rates = median_and_range([rates[clock] for rates in repeats])
            print(f"{name}: {rates} clips/s, {clock}")
    ratios = {}
    for mode, clock in itertools.product(("streamed", "held"), ("wall", "cpu")):
        pairs = zip(results[f"training, {mode}"], results["training, one batch"], strict=True)
        ratio = [fed[clock] / single[clock] for fed, single in pairs]
        ratios[f"training, {mode} / one batch, {clock}"] = ratio
        print(f"training, {mode} / one batch, {clock}: {median_and_range(ratio)}")
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes --output."""
    del argv
    log.quieten_libraries()
    results: dict[str, list[Rates]] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on a disk; /tmp may be in memory
        bench = Bench(Path(folder))
        for repeat in range(_REPEATS.value):
            bench.repeat(results)
            print(f"repeat {repeat + 1} of {_REPEATS.value} done", file=sys.stderr)
    about = {"cores": os.cpu_count(), "device": jax.devices()[0].device_kind, "model": _MODEL.value}
    about |= {"num_clips": _NUM_CLIPS.value, "batch_size": _BATCH_SIZE.value}
    result = {**about, "clips_per_second": results, "ratios": report(results)}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

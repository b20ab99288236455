"""How fast clips come from the store to the device, and whether training waits for them.

    python benchmarks/pipeline_speed.py

On a *synthetic* store of --num_clips clips of MagnaTagATune's size, 628 x 128 bytes of noise, in
batches of --batch_size:

- streamed: what `training_batches` reads and `device_put` sends, with 0 to --workers worker
  processes; 'cold' after the system was told to forget the files' pages, 'warm' after that;
- held: the same batches cut on the device out of a store that lies there whole, as training does
  by itself on a GPU where the clips fit;
- training steps of --model on one batch that stays on the device, and the same steps fed both ways
  without workers: the ratio is the share of the device's rate that training reaches.

Each is measured for --seconds, --repeats times in turn. 'wall' rates want a machine that has
nothing else to do; 'cpu' is the time of all cores together in this process. Prints medians and
spreads and writes everything to --output.
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
from deepgenre.data import device_feed, pipeline, store
from deepgenre.data.sampling import Order
from deepgenre.data.store import Records, Row
from deepgenre.training.loop import RUN_AHEAD, recipe_of
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.step import TrainStep, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec
from deepgenre.weights.state import State, initial_state

_NUM_CLIPS = flags.DEFINE_integer("num_clips", 2000, "Clips in the store; 80 kB each.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Clips a batch.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Most worker processes that read.")
_MODEL = flags.DEFINE_string("model", "paper_1d", "Network that is trained.")
_SECONDS = flags.DEFINE_float("seconds", 4.0, "Time that each measurement takes at least.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each is measured.")
_OUTPUT = flags.DEFINE_string("output", "pipeline_speed.json", "File for all that was measured.")

FRAMES, BANDS, TAGS = 628, 128, 50
CLIPS_PER_SHARD = 64
Rates = dict[str, float]  # clips a second, by the clock ('wall') and by CPU time ('cpu')
Batches = Iterator[dict[str, Any]]


def synthetic_store(folder: Path) -> tuple[list[Row], np.ndarray]:
    """Returns the rows of a new store of noise in `folder`, and their multi-hot labels."""
    generator, source, rows = np.random.default_rng(0), folder / "source", []
    source.touch()
    for first in range(0, _NUM_CLIPS.value, CLIPS_PER_SHARD):
        clips = []
        for number in range(first, min(first + CLIPS_PER_SHARD, _NUM_CLIPS.value)):
            levels = generator.integers(0, 256, (FRAMES, BANDS), np.uint8)
            clips.append((store.measure(f"{number:06d}", levels, source), levels))
        placed = store.write_shard(folder, f"{first:06d}", clips)
        rows += [Row(entry.key, (), entry.key, "", entry) for entry in placed]
    return rows, generator.integers(0, 2, (len(rows), TAGS), np.uint8)


def forget_pages(folder: Path) -> None:
    """Tells the system to drop the shards from its memory."""
    for path in (folder / "shards").glob("*.arrayrecord"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())  # only pages that are on disk can go
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(turn: Callable[[], object]) -> Rates:
    """Returns the rates of a function that handles a batch, over --seconds."""
    wall, cpu, clips = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < _SECONDS.value:
        turn()
        clips += _BATCH_SIZE.value
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": clips / seconds[0], "cpu": clips / seconds[1]}


class Bench:
    """A store, and a network to train on it."""

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
    def batches(self, fed: tuple[pipeline.Read, device_feed.Feed], num_workers: int = 0):
        """Yields the iterator of training's batches, read and fed in this way."""
        order = Order(self.records.frames, FRAMES, _BATCH_SIZE.value, seed=0)
        read, to_batch = fed
        batches = pipeline.training_batches(order, self.labels, read, num_workers=num_workers)
        with contextlib.closing(batches):
            yield map(to_batch, batches)

    def reading(self, fed: tuple[pipeline.Read, device_feed.Feed], num_workers: int = 0) -> Rates:
        """Returns the rates at which batches reach the device."""
        with self.batches(fed, num_workers) as batches:
            next(batches)  # the start of workers does not count
            return timed(lambda: jax.block_until_ready(jax.device_put(next(batches))))

    def training(self, batches: Batches) -> Rates:
        """Returns the rates of the training loop, which runs some steps ahead of the device."""
        waiting: list[jax.Array] = []

        def turn() -> None:
            self.state, scalars = self.step(self.state, next(batches))
            waiting.append(scalars["loss"])
            if len(waiting) > RUN_AHEAD:
                jax.block_until_ready(waiting.pop(0))

        turn()
        jax.block_until_ready(waiting)
        return timed(turn)

    def repeat(self, found: dict[str, list[Rates]]) -> None:
        """Measures everything once, and adds it to what was found."""
        streamed = device_feed.streamed(self.records, FRAMES)
        for workers in range(_WORKERS.value + 1):
            for pages in ("cold", "warm"):
                if pages == "cold":
                    forget_pages(self.folder)
                name = f"streamed, {workers} workers, {pages}"
                found.setdefault(name, []).append(self.reading(streamed, workers))
        held = device_feed.held(self.records, FRAMES)
        found.setdefault("held", []).append(self.reading(held))
        with self.batches(streamed) as batches:
            batch = jax.device_put(next(batches))
        found.setdefault("training, one batch", []).append(self.training(itertools.repeat(batch)))
        for name, fed in (("streamed", streamed), ("held", held)):
            with self.batches(fed) as batches:
                found.setdefault(f"training, {name}", []).append(self.training(batches))


def said(values: Sequence[float]) -> str:
    """Returns 'median (least-most)'."""
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def report(found: dict[str, list[Rates]]) -> dict[str, list[float]]:
    """Prints medians and spreads; returns training's rates by that on one batch, a repeat each."""
    for name, repeats in found.items():
        for clock in ("wall", "cpu"):
            print(f"{name}: {said([rates[clock] for rates in repeats])} clips/s, {clock}")
    ratios = {}
    for way, clock in itertools.product(("streamed", "held"), ("wall", "cpu")):
        pairs = zip(found[f"training, {way}"], found["training, one batch"], strict=True)
        ratio = [fed[clock] / alone[clock] for fed, alone in pairs]
        ratios[f"training, {way} / one batch, {clock}"] = ratio
        print(f"training, {way} / one batch, {clock}: {said(ratio)}")
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes --output."""
    del argv
    log.quieten_libraries()
    found: dict[str, list[Rates]] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk, where /tmp may be memory
        bench = Bench(Path(folder))
        for repeat in range(_REPEATS.value):
            bench.repeat(found)
            print(f"repeat {repeat + 1} of {_REPEATS.value} done", file=sys.stderr)
    about = {"cores": os.cpu_count(), "device": jax.devices()[0].device_kind, "model": _MODEL.value}
    about |= {"num_clips": _NUM_CLIPS.value, "batch_size": _BATCH_SIZE.value}
    result = {**about, "clips_per_second": found, "ratios": report(found)}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

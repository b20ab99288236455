"""All networks on one split with one recipe: validation accuracy, size, time, clips per second.

    python benchmarks/networks.py --data_dir=FILE.npz --output=networks.json

All use the recipe and budget of `common_config` below (AdamW, cosine with warm-up, the augmentation
of configs/gtzan_best.py, windows of 10 s or the network's minimum). Accuracy is that of the last
epoch on the validation part, which selects nothing. If the estimated time exceeds --max_minutes,
the width is reduced to a half, a quarter or an eighth of the published one; a network without this
option, or too slow at any width, is not trained: its row gives the estimated time. Networks with
samples as input require a dataset of audio.

Rows are written one by one; the same command resumes a stopped run. Prints the table as Markdown,
best first.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

from deepgenre import config as defaults
from deepgenre import log, models
from deepgenre.config import Config
from deepgenre.data.augmentation import Augmentation
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.training import train
from deepgenre.training.loop import recipe_of
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.pretrain import PRETRAINED
from deepgenre.training.step import compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.state import initial_state, num_parameters

_DATA_DIR = flags.DEFINE_string("data_dir", None, "GTZAN: folder, or .npz.", required=True)
_SPLIT = flags.DEFINE_string("split", "fault_filtered", "A split of the dataset.")
_EPOCHS = flags.DEFINE_integer("epochs", 30, "Training epochs of each network.")
_MAX_MINUTES = flags.DEFINE_float("max_minutes", 20.0, "Maximum training time of one network.")
_ONLY = flags.DEFINE_list("only", [], "Names of networks; default: all that take spectrograms.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/networks", "Folder of the runs' workdirs.")
_OUTPUT = flags.DEFINE_string("output", "networks.json", "JSON file of the rows.")

WIDTHS = (1.0, 0.5, 0.25, 0.125)
TIMED_STEPS = 1
AUGMENTATION = Augmentation(
    time_stretch=0.25,
    pitch_shift_bands=4.0,
    gain_db=3.0,
    equaliser_db=4.0,
    num_masks=2,
    mixup_alpha=0.3,
)


@dataclasses.dataclass(frozen=True)
class Result:
    """A row of the table."""

    network: str
    width: float  # share of the published widths
    parameters: int
    clips_per_second: float  # of training steps, with the input in memory
    minutes: float  # of training: measured, or estimated from the step time if not trained
    accuracy: float | None  # on validation, last epoch; None: not trained
    accuracy_low: float | None = None  # 95 % interval over clips
    accuracy_high: float | None = None
    loss: float | None = None


def common_config(name: str, width: float) -> Config:
    """Returns the common recipe with this network and width."""
    config = defaults.get_config()
    config.dataset, config.split = "gtzan", _SPLIT.value
    config.frontend.kind = "mfcc" if name == "li" else "log_mel"
    config.frontend.hop_length = 1712
    config.frontend.n_mfcc = 13
    config.model = name
    config.pretrain_epochs = 10 if name in PRETRAINED else 0
    if width != 1:
        config.network.width = width
    config.window_seconds = 10.0
    config.window_hop_seconds = 5.0
    config.num_epochs = config.eval_every_epochs = _EPOCHS.value
    config.batch_size = 32
    config.learning_rate = 1e-3
    config.schedule = "cosine"
    config.warmup_epochs = 3.0
    config.weight_decay = 0.02
    config.clip_norm = 1.0
    config.label_smoothing = 0.1
    config.ema_decay = 0.99
    config.augment.update(dataclasses.asdict(AUGMENTATION))
    return config


def measure(config: Config, plan: Plan) -> tuple[int, float]:
    """Returns the number of parameters and the seconds per training step on one device."""
    schedule = make_schedule(config, plan.steps_per_epoch, plan.total_steps)
    tx = make_optimizer(config, schedule)
    shape = (1, plan.spec.window_frames, plan.spec.frontend.num_bands)
    state = initial_state(specs.build(plan.spec), tx, shape, seed=0, averaged=True)
    step = compile_train_step(plan.spec, tx, recipe_of(config), num_devices=1)
    clips = (config.batch_size, plan.input_frames, plan.spec.frontend.stored_bands)
    batch = {
        "levels": np.random.default_rng(0).integers(0, 256, clips).astype(np.uint8),
        "labels": np.arange(config.batch_size, dtype=np.int32) % len(plan.spec.classes),
    }
    parameters = num_parameters(state.params)
    state, _ = jax.block_until_ready(step(state, batch))  # compiles
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        state, _ = jax.block_until_ready(step(state, batch))
    return parameters, (time.perf_counter() - start) / TIMED_STEPS


def widths(name: str) -> Sequence[float]:
    """Returns the widths to try, largest first."""
    return WIDTHS if "width" in models.options(name) else WIDTHS[:1]


def result_of(name: str, prepared: Prepared, data_dir: Path, workdir: Path) -> Result:
    """Returns the row of a network, not trained if every width exceeds --max_minutes."""
    untrained = None
    for width in widths(name):
        config = common_config(name, width)
        plan = make_plan(config, prepared)
        parameters, seconds = measure(config, plan)
        minutes = plan.total_steps * seconds / 60
        row = Result(name, width, parameters, config.batch_size / seconds, minutes, None)
        if minutes <= _MAX_MINUTES.value:
            log.info(
                "%s: width %g, %d parameters, about %.1f min", name, width, parameters, minutes
            )
            return train_row(row, config, data_dir, workdir / f"{name}-{width:g}")
        untrained = untrained or row
        jax.clear_caches()
    assert untrained is not None
    return untrained


def train_row(row: Result, config: Config, data_dir: Path, workdir: Path) -> Result:
    """Returns the row with the results of a complete training run."""
    start = time.perf_counter()
    metrics: Any = train.train(config, data_dir, workdir)["last_epoch"]
    return dataclasses.replace(
        row,
        minutes=(time.perf_counter() - start) / 60,
        accuracy=metrics["accuracy"],
        accuracy_low=metrics["accuracy_low"],
        accuracy_high=metrics["accuracy_high"],
        loss=metrics["loss"],
    )


def spectrogram_networks() -> Iterator[str]:
    """Yields the networks that can be trained on a dataset of spectrograms."""
    for name, network in models.MODELS.items():
        if "samples" not in network.input:
            yield name


def table(rows: Sequence[Result]) -> str:
    """Returns the rows as a Markdown table, best first, untrained networks last."""
    lines = [
        "| network | width | parameters | training clips/s | minutes | validation accuracy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: -(row.accuracy or 0)):
        accuracy = (
            f"not trained ({row.minutes:.0f} min here)"
            if row.accuracy is None
            else f"{row.accuracy:.3f} ({row.accuracy_low:.3f} to {row.accuracy_high:.3f})"
        )
        minutes = "" if row.accuracy is None else f"{row.minutes:.1f}"
        lines.append(
            f"| {row.network} | {row.width:g} | {row.parameters:,} | {row.clips_per_second:.0f} "
            f"| {minutes} | {accuracy} |"
        )
    return "\n".join(lines)


def read_rows(output: Path) -> dict[str, Result]:
    """Returns the rows written by an earlier run, by network."""
    if not output.exists():
        return {}
    written: Sequence[Mapping[str, Any]] = json.loads(output.read_text())["rows"]
    return {row["network"]: Result(**row) for row in written}


def main(argv: Sequence[str]) -> None:
    """Trains the networks without a row and prints the table."""
    data_dir, output = Path(_DATA_DIR.value), Path(_OUTPUT.value)
    rows = read_rows(output)
    try:
        for name in _ONLY.value or spectrogram_networks():
            if name in rows:
                continue
            prepared = prepare(common_config(name, 1.0), data_dir)
            rows[name] = result_of(name, prepared, data_dir, Path(_WORKDIR.value))
            jax.clear_caches()
            with replacing(output) as temporary:
                document = {
                    "split": _SPLIT.value,
                    "epochs": _EPOCHS.value,
                    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
                    "rows": [dataclasses.asdict(row) for row in rows.values()],
                }
                temporary.write_text(json.dumps(document, indent=1) + "\n")
    except UserError as error:
        sys.exit(f"networks: {error}")
    print(table(list(rows.values())))


if __name__ == "__main__":
    app.run(main)

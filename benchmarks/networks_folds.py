"""All networks with one recipe in artist-disjoint cross-validation: accuracy, size, time.

    python benchmarks/networks_folds.py --data_dir=FOLDER/gtzan_mel_dev.npz --output=folds.jsonl

`gtzan_artists.csv` must be beside the data. All use the recipe and budget of `fold_config` below
(AdamW, cosine with warm-up, the augmentation of configs/gtzan_best.py, windows of 10 s or the
network's minimum; few and small steps, so that a fold of a small network takes about a minute).
Folds and their parts are those of `--config.folds`. The weights are those of the last epoch, and
are scored once, on the held-out fold: nothing is selected.

If the estimated time of one fold exceeds --max_minutes, the width is reduced to a half, a quarter
or an eighth of the published one; a network without this option, or too slow at any width, is not
trained: its row gives the estimated time. --only chooses networks and their order, cheap ones
first. Networks with samples as input require a dataset of audio.

A line of JSON is appended to --output for each finished fold, and for each network that is too
slow; the same command skips these, and resumes a stopped fold. Prints the table as Markdown, best
first; --notrain prints the table of what is finished.
"""

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

from deepgenre import config as defaults
from deepgenre import log, models
from deepgenre.config import Config
from deepgenre.data import pipeline
from deepgenre.data.augmentation import Augmentation
from deepgenre.data.prepare import prepare
from deepgenre.errors import UserError
from deepgenre.evaluation.metrics import evaluate, wilson_interval
from deepgenre.evaluation.scoring import clip_scores
from deepgenre.evaluation.steps import compile_score_step
from deepgenre.training.loop import fit, recipe_of
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.pretrain import PRETRAINED
from deepgenre.training.step import compile_train_step
from deepgenre.weights import checkpoint
from deepgenre.weights import spec as specs
from deepgenre.weights.state import initial_state, num_parameters

_DATA_DIR = flags.DEFINE_string("data_dir", None, "GTZAN: folder, or .npz.", required=True)
_SPLIT = flags.DEFINE_string("split", "fault_filtered", "Its parts but test are divided.")
_FOLDS = flags.DEFINE_integer("folds", 5, "Number of folds.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of folds, initial weights, order and crops.")
_EPOCHS = flags.DEFINE_integer("epochs", 15, "Training epochs of each fold.")
_MAX_MINUTES = flags.DEFINE_float("max_minutes", 5.0, "Maximum training time of one fold.")
_ONLY = flags.DEFINE_list("only", [], "Networks, in order; default: all that take spectrograms.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/networks", "Folder of the fold being trained.")
_STORE_DIR = flags.DEFINE_string("store_dir", "", "Folder of the store; default: as in training.")
_OUTPUT = flags.DEFINE_string("output", "networks_folds.jsonl", "Lines of JSON.")
_TRAIN = flags.DEFINE_bool("train", True, "Train what is missing.")

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
class Line:
    """One finished fold; or a network that is too slow: then fold is -1 and nothing was scored."""

    network: str
    width: float  # share of the published widths
    parameters: int
    seed: int
    minutes: float  # of a fold: measured, or estimated from the step time if not trained
    fold: int = -1
    clips: int = 0  # of the held-out fold
    accuracy: float = 0.0
    loss: float = 0.0


def fold_config(name: str, width: float, fold: int) -> Config:
    """Returns the common recipe with this network and width, for one fold."""
    config = defaults.get_config()
    config.dataset, config.split = "gtzan", _SPLIT.value
    config.store_dir = _STORE_DIR.value
    config.folds, config.fold, config.seed = _FOLDS.value, fold, _SEED.value
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
    config.batch_size = 16
    config.learning_rate = 1e-3
    config.schedule = "cosine"
    config.warmup_epochs = 1.5
    config.weight_decay = 0.02
    config.clip_norm = 1.0
    config.label_smoothing = 0.1
    config.ema_decay = 0.99
    config.augment.update(dataclasses.asdict(AUGMENTATION))
    return config


def step_seconds(config: Config, plan: Plan) -> tuple[int, float]:
    """Returns the number of parameters, and the seconds per training step on one device."""
    schedule = make_schedule(config, plan.steps_per_epoch, plan.total_steps)
    tx = make_optimizer(config, schedule)
    shape = (1, plan.spec.window_frames, plan.spec.frontend.num_bands)
    state = initial_state(specs.build(plan.spec), tx, shape, seed=0, averaged=True)
    parameters = num_parameters(state.params)
    if models.network(config.model).solved:
        return parameters, 0.0
    step = compile_train_step(plan.spec, tx, recipe_of(config), num_devices=1)
    clips = (config.batch_size, plan.input_frames, plan.spec.frontend.stored_bands)
    batch = {
        "levels": np.random.default_rng(0).integers(0, 256, clips).astype(np.uint8),
        "labels": np.arange(config.batch_size, dtype=np.int32) % len(plan.spec.classes),
    }
    state, _ = jax.block_until_ready(step(state, batch))  # compiles
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        state, _ = jax.block_until_ready(step(state, batch))
    return parameters, (time.perf_counter() - start) / TIMED_STEPS


def estimate(name: str, data_dir: Path) -> Line:
    """Returns the line of a network that is not trained: the largest width that is fast enough.

    The smallest width if none is.
    """
    widths = WIDTHS if "width" in models.options(name) else WIDTHS[:1]
    for width in widths:
        config = fold_config(name, width, 0)
        plan = make_plan(config, prepare(config, data_dir))
        parameters, seconds = step_seconds(config, plan)
        jax.clear_caches()
        line = Line(name, width, parameters, _SEED.value, plan.total_steps * seconds / 60)
        log.info("%s: width %g, about %.1f min per fold", name, width, line.minutes)
        if line.minutes <= _MAX_MINUTES.value:
            break
    return line


def trained(line: Line, fold: int, data_dir: Path, workdir: Path) -> Line:
    """Returns the line of a fold, after its whole training; its workdir is removed."""
    start = time.perf_counter()
    config = fold_config(line.network, line.width, fold)
    plan = make_plan(config, prepare(config, data_dir))
    fit(plan, config, workdir, data_dir)
    variables, rows = checkpoint.restore(workdir).variables, plan.parts["held_out"]
    score, batch_size = compile_score_step(plan.spec), config.batch_size
    scores = clip_scores(score, variables, plan.spec, plan.store, rows, batch_size=batch_size)
    labels = pipeline.encode_labels(rows, plan.spec.classes, multi_label=False)
    results: Any = evaluate(scores, labels, multi_label=False)
    shutil.rmtree(workdir)
    jax.clear_caches()
    minutes = (time.perf_counter() - start) / 60
    scored = {name: results[name] for name in ("clips", "accuracy", "loss")}
    return dataclasses.replace(line, fold=fold, minutes=minutes, **scored)


def missing(name: str, lines: Sequence[Line], data_dir: Path) -> Iterator[Line]:
    """Yields the lines that a network lacks, each when it is finished."""
    own = [line for line in lines if line.network == name and line.seed == _SEED.value]
    if any(line.fold < 0 for line in own) or len(own) == _FOLDS.value:
        return
    line = dataclasses.replace(own[0], fold=-1) if own else estimate(name, data_dir)
    if not own and line.minutes > _MAX_MINUTES.value:
        yield line
        return
    for fold in sorted({*range(_FOLDS.value)} - {line.fold for line in own}):
        workdir = Path(_WORKDIR.value) / f"{name}-{line.width:g}-{_SEED.value}-{fold}"
        yield trained(line, fold, data_dir, workdir)


def spectrogram_networks() -> Iterator[str]:
    """Yields the networks that can be trained on a dataset of spectrograms."""
    for name, network in models.MODELS.items():
        if "samples" not in network.input:
            yield name


def table(lines: Sequence[Line]) -> str:
    """Returns a row per network and seed as Markdown: best first, untrained networks last."""
    rows = []
    for name, seed in dict.fromkeys((line.network, line.seed) for line in lines):
        own = [line for line in lines if (line.network, line.seed) == (name, seed)]
        start = f"| {name} | {own[0].width:g} | {own[0].parameters:,} | {seed} "
        minutes = np.mean([line.minutes for line in own])
        if own[0].fold < 0:
            rows.append((0.0, f"{start}| {minutes:.0f} | | not trained |"))
            continue
        folds = [line.accuracy for line in own]
        clips = sum(line.clips for line in own)
        hits = round(sum(line.accuracy * line.clips for line in own))
        low, high = wilson_interval(hits, clips)
        spread = np.std(folds, ddof=1) if len(folds) > 1 else np.nan
        partly = "" if len(folds) == _FOLDS.value else f", {len(folds)} of {_FOLDS.value} folds"
        accuracy = f"{np.mean(folds):.3f} ± {spread:.3f}{partly}"
        rows.append(
            (hits / clips, f"{start}| {minutes:.1f} | {accuracy} | {low:.3f} to {high:.3f} |")
        )
    head = "| network | width | parameters | seed | minutes per fold | accuracy | 95 % interval |"
    divider = "| --- " * head.count(" | ") + "| --- |"
    return "\n".join([head, divider, *(row for _, row in sorted(rows, key=lambda row: -row[0]))])


def main(argv: Sequence[str]) -> None:
    """Trains the folds without a line, and prints the table."""
    logging.set_verbosity(logging.WARNING)  # Orbax logs each checkpoint
    output = Path(_OUTPUT.value)
    written = output.read_text().splitlines() if output.exists() else []
    lines = [Line(**json.loads(line)) for line in written]
    try:
        for name in (_ONLY.value or spectrogram_networks()) if _TRAIN.value else ():
            for line in missing(name, list(lines), Path(_DATA_DIR.value)):
                with output.open("a") as stream:
                    stream.write(json.dumps(dataclasses.asdict(line)) + "\n")
                lines.append(line)
    except UserError as error:
        sys.exit(f"networks_folds: {error}")
    print(table(lines))


if __name__ == "__main__":
    app.run(main)

"""From a prepared dataset and a config to who trains, who validates, and the spec of the run."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from deepgenre import classes as class_names
from deepgenre import models, store
from deepgenre.config import Config
from deepgenre.datasets import dataset_kind
from deepgenre.errors import UserError
from deepgenre.frontend import FrontEnd
from deepgenre.nearest import choose
from deepgenre.prepare import Prepared
from deepgenre.spec import Spec
from deepgenre.splits import Parts, as_given
from deepgenre.store import Row

Split = dict[str, list[Row]]

LONGEST_INPUT = 4  # windows: the host cuts so much out of longer clips, to spare the transfer


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run: its data, cut into parts, and its spec."""

    store: Path
    parts: Split
    spec: Spec
    input_frames: int  # frames of a clip that go to the device, where the window is cut from them
    steps_per_epoch: int
    total_steps: int


def make_plan(config: Config, prepared: Prepared) -> Plan:
    """Returns the plan of a training run; raises UserError where the data cannot carry it."""
    multi_label = prepared.dataset.multi_label
    names = choose_classes(config, prepared.rows, multi_label)
    parts = split_rows(config, prepared.rows, names, multi_label)
    for part in ("train", "valid"):
        if part not in parts:
            raise UserError(
                f"config.split: {config.split!r} gives no part {part!r} on this data, only "
                f"{', '.join(parts)}; choose another split"
            )
    mean, deviation = store.mean_and_deviation(parts["train"])
    frontend = _front_end(config, prepared)
    window_frames, hop_frames = _window(config, frontend, parts["train"])
    spec = Spec(
        model=config.model,
        network={k: v for k, v in config.network.to_dict().items() if v is not None},
        classes=names,
        multi_label=multi_label,
        frontend=frontend,
        mean=mean,
        deviation=deviation,
        window_frames=window_frames,
        hop_frames=hop_frames,
        clip_seconds=_typical_frames(parts["train"]) / frontend.frames_per_second,
        config=config.to_dict(),
    )
    steps_per_epoch = -(-len(parts["train"]) // config.batch_size)
    typical = _typical_frames(parts["train"])
    return Plan(
        store=prepared.folder,
        parts=parts,
        spec=spec,
        input_frames=min(max(typical, window_frames), LONGEST_INPUT * window_frames),
        steps_per_epoch=steps_per_epoch,
        total_steps=config.num_epochs * steps_per_epoch,
    )


def choose_classes(config: Config, rows: Sequence[Row], multi_label: bool) -> tuple[str, ...]:
    """Returns the classes: every genre by name, or the most frequent tags."""
    if multi_label and config.top_tags:
        return class_names.most_frequent(rows, config.top_tags)
    names = class_names.all_labels(rows)
    if len(names) < 2:
        raise UserError(f"the data has one class only ({', '.join(names)}); two or more are needed")
    return names


def split_rows(
    config: Config, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    """Returns the rows of each part of the config's split."""
    split = choose(dataset_kind(config.dataset).splits, config.split, "config.split")
    kept = _tagged(rows, names) if multi_label and not config.keep_untagged else rows
    return _rows_of(split(kept, config.seed), kept)


def part_rows(spec: Spec, config: Config, rows: Sequence[Row], part: str) -> list[Row]:
    """Returns the rows of one part, for evaluation: of the run's split, or as the data names it.

    '': 'test' where the split has it, else 'valid'. 'all': every clip.
    """
    for row in rows:
        if not spec.multi_label and not set(row.labels) <= set(spec.classes):
            raise UserError(
                f"{row.key}: label {row.labels[0]!r} is none that these weights know: "
                f"{', '.join(spec.classes)}"
            )
    if part == "all":
        return list(rows)
    parts = split_rows(config, rows, spec.classes, spec.multi_label)
    if part not in parts and any(row.split for row in rows):
        parts = {**_rows_of(as_given(rows, config.seed), rows), **parts}
    return choose(parts, part or ("test" if "test" in parts else "valid"), "--eval_split")


def _rows_of(parts: Parts, rows: Sequence[Row]) -> Split:
    by_key = {row.key: row for row in rows}
    return {part: [by_key[key] for key in keys] for part, keys in parts.items()}


def _tagged(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    known = set(names)
    return [row for row in rows if known.intersection(row.labels)]


def _front_end(config: Config, prepared: Prepared) -> FrontEnd:
    """Returns the front end that makes from audio what the store holds.

    Precomputed spectrograms do not say their hop: where every clip of the dataset lasts the same,
    it follows from their number of frames.
    """
    frontend = FrontEnd(**config.frontend)
    seconds = dataset_kind(config.dataset).clip_seconds
    if not prepared.dataset.precomputed or not seconds:
        return frontend
    samples = seconds * frontend.sample_rate_hz
    hop_length = round(samples / (_typical_frames(prepared.rows) - 0.5))
    return dataclasses.replace(
        frontend, hop_length=hop_length, n_mels=prepared.rows[0].measured.bands
    )


def _window(config: Config, frontend: FrontEnd, rows: Sequence[Row]) -> tuple[int, int]:
    """Returns frames of one input and frames from one to the next."""
    shortest = models.network(config.model).min_frames
    wanted = round(config.window_seconds * frontend.frames_per_second) or _typical_frames(rows)
    window_frames = max(wanted, shortest)
    hop_frames = round(config.window_hop_seconds * frontend.frames_per_second)
    return window_frames, max(1, hop_frames or window_frames)


def _typical_frames(rows: Sequence[Row]) -> int:
    return statistics.median_low(row.measured.frames for row in rows)

"""The plan of a run: its training and validation clips, its spec and its number of steps."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config
from deepgenre.data import store
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.parts import Split, choose_classes, split_rows
from deepgenre.data.prepare import Prepared
from deepgenre.data.store import Row
from deepgenre.errors import UserError
from deepgenre.weights.spec import Spec

MAX_INPUT_WINDOWS = 4  # the host crops longer clips to this many windows: less to transfer


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run: its data, split into parts, and its spec."""

    store: Path
    parts: Split
    spec: Spec
    input_frames: int  # frames of a clip that are sent to the device, which crops the window
    steps_per_epoch: int
    total_steps: int


def make_plan(config: Config, prepared: Prepared) -> Plan:
    """Returns the plan of a training run; raises UserError if the data is unsuitable."""
    multi_label = prepared.dataset.multi_label
    names = choose_classes(config, prepared.rows, multi_label)
    parts = split_rows(config, prepared.rows, names, multi_label)
    solved = models.network(config.model).solved
    for part in ("train",) if solved else ("train", "valid"):
        if part not in parts:
            raise UserError(
                f"config.split: {config.split!r} has no part {part!r} on this data, only "
                f"{', '.join(parts)}; choose another split"
            )
    mean, deviation = store.mean_and_deviation(parts["train"])
    frontend = _front_end(config, prepared)
    window_frames, hop_frames = _window(config, frontend, parts["train"])
    options = {k: v for k, v in config.network.to_dict().items() if v is not None}
    if solved:
        options[models.NUM_CLIPS] = len(parts["train"])
    spec = Spec(
        model=config.model,
        network=options,
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
    steps_per_epoch = 1 if solved else -(-len(parts["train"]) // config.batch_size)
    typical = _typical_frames(parts["train"])
    return Plan(
        store=prepared.folder,
        parts=parts,
        spec=spec,
        input_frames=min(max(typical, window_frames), MAX_INPUT_WINDOWS * window_frames),
        steps_per_epoch=steps_per_epoch,
        total_steps=1 if solved else config.num_epochs * steps_per_epoch,
    )


def _front_end(config: Config, prepared: Prepared) -> FrontEnd:
    """Returns the front end that computes the stored levels from audio.

    Precomputed spectrograms do not state their hop length: for datasets with clips of equal length
    it is derived from the number of frames.
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
    """Returns the window's length and its hop, in frames."""
    requested = round(config.window_seconds * frontend.frames_per_second) or _typical_frames(rows)
    window_frames = max(requested, models.network(config.model).min_frames)
    hop_frames = round(config.window_hop_seconds * frontend.frames_per_second)
    return window_frames, max(1, hop_frames or window_frames)


def _typical_frames(rows: Sequence[Row]) -> int:
    return statistics.median_low(row.measured.frames for row in rows)

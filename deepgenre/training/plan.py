"""The plan of a run: its training and validation clips, its spec and its number of steps."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log, models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config
from deepgenre.data import store
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.datasets.spectrograms import SIDECAR
from deepgenre.data.parts import Split, choose_classes, division, split_in_use, split_rows
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
    split = split_in_use(config, prepared.rows)
    solved = models.network(config.model).solved
    for part in ("train",) if solved else ("train", "valid"):
        if part not in parts:
            own = f" or name clips {part!r} in the data" if split == "as_given" else ""
            raise UserError(
                f"config.split: {split!r} has no part {part!r} on this data, only "
                f"{', '.join(parts)}; choose another split{own}"
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
        config={**config.to_dict(), "split": split},
        division=division(config, prepared.rows, names, multi_label),
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

    The hop length of precomputed spectrograms is that which their file states, else it is derived
    from the number of frames and the length of a clip, else it is that of the config, unless this
    is the default: then nobody has stated it, and UserError asks for it.
    """
    frontend, dataset = prepared.frontend, prepared.dataset
    if not dataset.precomputed:
        if config.clip_seconds:
            raise UserError(
                "config.clip_seconds: is for precomputed spectrograms, and the clips are audio, "
                "whose length is known; leave it at 0"
            )
        return frontend
    frontend = dataclasses.replace(frontend, n_mels=prepared.rows[0].measured.bands)
    seconds = config.clip_seconds or dataset_kind(config.dataset).clip_seconds
    if "hop_length" in dataset.frontend:
        return frontend
    if seconds:
        samples = seconds * frontend.sample_rate_hz
        hop_length = round(samples / (_frames_of_each(prepared.rows, config) - 0.5))
        return dataclasses.replace(frontend, hop_length=hop_length)
    if frontend.hop_length == FrontEnd().hop_length:
        raise UserError(
            f"{dataset.clips[0].path}: is a spectrogram, whose hop is not known; give "
            "--config.clip_seconds (the length of each clip), or --config.frontend.hop_length, or "
            f'put a file {SIDECAR} beside the data: {{"sample_rate_hz": 22050, "hop_length": 512}}'
        )
    return frontend


def _frames_of_each(rows: Sequence[Row], config: Config) -> int:
    """Returns the frames of a clip; raises UserError where the config says one length for all."""
    frames = [row.measured.frames for row in rows]
    if config.clip_seconds and max(frames) > 1.1 * min(frames):
        raise UserError(
            f"config.clip_seconds: the clips have {min(frames)} to {max(frames)} frames, so that "
            "no length is that of each; give --config.frontend.hop_length instead"
        )
    return _typical_frames(rows)


def _window(config: Config, frontend: FrontEnd, rows: Sequence[Row]) -> tuple[int, int]:
    """Returns the window's length and its hop, in frames."""
    rate, least = frontend.frames_per_second, models.network(config.model).min_frames
    requested = round(config.window_seconds * rate) or _typical_frames(rows)
    window_frames = max(requested, least)
    if config.window_seconds and requested < least:
        log.warning(
            "config.window_seconds: %g s is less than %s accepts; windows are %.3g s long",
            config.window_seconds,
            config.model,
            least / rate,
        )
    hop_frames = round(config.window_hop_seconds * rate)
    return window_frames, max(1, hop_frames or window_frames)


def _typical_frames(rows: Sequence[Row]) -> int:
    return statistics.median_low(row.measured.frames for row in rows)

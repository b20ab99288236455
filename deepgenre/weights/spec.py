"""The spec of a network, stored with all weights, and weights as inference uses them."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from deepgenre import models
from deepgenre.audio.features import features
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config, complete
from deepgenre.errors import UserError

MAX_FRAMES = 1 << 31
LOCATIONS = ("store_dir", "init_from")  # fields of a config that name places on one machine


@dataclasses.dataclass(frozen=True)
class Spec:
    """A network's name and options, its classes, and the format of its input."""

    model: str
    network: Mapping[str, Any]  # the module's options
    classes: tuple[str, ...]  # none of weights that only embed
    multi_label: bool  # True: a sigmoid per class; False: a softmax over the classes
    frontend: FrontEnd
    mean: float  # of the training split, in levels
    deviation: float  # likewise
    window_frames: int  # length of the network's input
    hop_frames: int  # from one window to the next in evaluation
    clip_seconds: float  # of a training clip; longer audio is cut into parts of about this length
    config: Mapping[str, Any]  # the complete config of the run that trained the weights
    temperature: float = 1.0  # of a song's scores, see `evaluation.calibration`; 1: none
    division: str = ""  # `data.parts.division` of the run's clips; '' of an earlier version


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a network, with the spec needed to use them."""

    spec: Spec
    variables: dict[str, Any]  # 'params' and 'batch_stats', as for `linen.Module.apply`
    step: int
    metrics: Mapping[str, float]  # of validation at this step
    licence: str = ""  # licence text of imported weights
    engine: str = "jax"  # that computes the network in prediction: a name in `runtimes.engines`


def build(spec: Spec, *, axis_name: str | None = None) -> nn.Module:
    """Returns the linen module that the spec describes."""
    return models.build(
        spec.model,
        len(spec.classes),
        spec.network,
        sample_rate_hz=spec.frontend.sample_rate_hz,
        dtype=spec.config["dtype"],
        axis_name=axis_name,
    )


def has_moods(spec: Spec) -> bool:
    """Returns whether the classes are moods, not genres or tags."""
    row = models.MODELS.get(spec.model)
    return row is not None and row.moods


def features_of(levels: jax.Array, spec: Spec) -> jax.Array:
    """Returns the features of stored levels, by the front end and standardisation of the spec."""
    return features(levels, spec.frontend, spec.mean, spec.deviation)


def config_of(spec: Spec) -> Config:
    """Returns the config of the run that trained the weights, with all fields as attributes."""
    return complete(spec.config)


def merit_name(spec: Spec) -> str:
    """Returns the name of the validation metric that selects the best checkpoint."""
    return spec.config["select_by"] or ("roc_auc" if spec.multi_label else "accuracy")


def without_paths(spec: Spec) -> Spec:
    """Returns the spec without the locations of the run's data, which mean nothing elsewhere."""
    config = {name: value for name, value in spec.config.items() if name not in LOCATIONS}
    return dataclasses.replace(spec, config={**config, **dict.fromkeys(LOCATIONS, "")})


def to_json(spec: Spec) -> dict[str, Any]:
    """Returns the spec as a dict that JSON can encode."""
    return dataclasses.asdict(spec)


def from_json(fields: Mapping[str, Any]) -> Spec:
    """Returns the spec; raises UserError if fields are missing or unknown."""
    try:
        spec = Spec(**{**fields, "frontend": FrontEnd(**fields["frontend"])})
        spec = dataclasses.replace(spec, classes=tuple(fields["classes"]))
        _check_types(spec)
        return spec
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the spec of these weights does not match this version ({error}); use the version "
            "that wrote it"
        ) from error


def _check_types(spec: Spec) -> None:
    """Raises ValueError naming a field whose value a run could not have written."""
    numbers = (spec.mean, spec.deviation, spec.clip_seconds, spec.temperature)
    frames = (spec.window_frames, spec.hop_frames)
    fits = {
        "model": isinstance(spec.model, str),
        "network": isinstance(spec.network, Mapping),
        "classes": all(isinstance(name, str) for name in spec.classes),
        "multi_label": isinstance(spec.multi_label, bool),
        "division": isinstance(spec.division, str),
        "mean, deviation, clip_seconds, temperature": all(
            type(number) in (int, float) and math.isfinite(number) for number in numbers
        ),
        "window_frames, hop_frames": all(
            type(count) is int and 0 < count < MAX_FRAMES for count in frames
        ),
        "config": isinstance(spec.config, Mapping) and isinstance(spec.config["dtype"], str),
    }
    for name, is_possible in fits.items():
        if not is_possible:
            raise ValueError(f"{name}: a value of another type or range")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns 'field: old -> new' for every leaf that differs between two configs."""
    changes = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += differences(before, after, f"{prefix}{name}.")
        elif json.dumps(before) != json.dumps(after):
            changes.append(f"{prefix}{name}: {before!r} -> {after!r}")
    return changes

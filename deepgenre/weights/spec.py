"""All that is needed beside the weights to hear music: it travels with every checkpoint."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from deepgenre import models
from deepgenre.audio.features import features
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config
from deepgenre.errors import UserError


@dataclasses.dataclass(frozen=True)
class Spec:
    """A network's name and options, its classes, and how its input is made."""

    model: str
    network: Mapping[str, Any]  # the module's options
    classes: tuple[str, ...]
    multi_label: bool  # True: a sigmoid a class; False: a softmax over the classes
    frontend: FrontEnd
    mean: float  # of the training split, in levels
    deviation: float  # likewise
    window_frames: int  # frames of one input
    hop_frames: int  # from one window to the next, in evaluation
    clip_seconds: float  # length of a training clip: longer audio is cut into pieces of about it
    config: Mapping[str, Any]  # the whole config of the run that made the weights
    temperature: float = 1.0  # of a song's scores, see `calibration`; 1: not calibrated


def to_json(spec: Spec) -> dict[str, Any]:
    """Returns the spec as what JSON can hold."""
    return dataclasses.asdict(spec)


def from_json(fields: Mapping[str, Any]) -> Spec:
    """Returns the spec; raises UserError when fields are missing or unknown."""
    try:
        spec = Spec(**{**fields, "frontend": FrontEnd(**fields["frontend"])})
        return dataclasses.replace(spec, classes=tuple(fields["classes"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"the weights' description does not fit this version: {error}") from error


def config_of(spec: Spec) -> Config:
    """Returns the config of the run that made the weights, with fields as attributes."""
    return ConfigDict(dict(spec.config))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns 'field: old -> new' for every leaf that differs between two configs."""
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif json.dumps(before) != json.dumps(after):
            found.append(f"{prefix}{name}: {before!r} -> {after!r}")
    return found


def build(spec: Spec, *, axis_name: str | None = None) -> nn.Module:
    """Returns the linen module that the spec names."""
    return models.build(
        spec.model,
        len(spec.classes),
        spec.network,
        sample_rate_hz=spec.frontend.sample_rate_hz,
        dtype=spec.config["dtype"],
        axis_name=axis_name,
    )


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights and all that is needed to use them."""

    spec: Spec
    variables: dict[str, Any]  # 'params' and 'batch_stats', as linen takes them
    step: int
    metrics: Mapping[str, float]  # of validation, when they were saved
    licence: str = ""  # text under which they may be used, where it is not their maker's alone


def features_of(levels: jax.Array, spec: Spec) -> jax.Array:
    """Returns `features` of stored levels, with the front end and standardisation of a spec."""
    return features(levels, spec.frontend, spec.mean, spec.deviation)

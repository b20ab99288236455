"""Weights to use: a run's checkpoints, a `.safetensors` file, or the name of one that is at hand.

A weights file is safetensors (tensors and a JSON header: loading never runs code). Its header
holds the spec, how the weights came about, and a digest of everything, so that a file that was
changed or cut is refused.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from deepgenre import models
from deepgenre.errors import UserError, unknown_name
from deepgenre.weights import musicnn, weight_file
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights

SHIPPED = Path(__file__).parent / "pretrained"
# What --mode=import makes, and from which --source.
IMPORTABLE = dict.fromkeys(musicnn.NETWORKS, "musicnn")
# What networks must share to be heard as one.
SHARED = (
    "classes",
    "multi_label",
    "frontend",
    "mean",
    "deviation",
    "clip_seconds",
)


def imported_folder() -> Path:
    """Returns where weights that the user imported are kept."""
    return Path(os.environ.get("DEEPGENRE_WEIGHTS", Path.home() / ".cache/deepgenre/weights"))


def named() -> dict[str, Path]:
    """Returns the weights that can be asked for by name: those shipped and those imported."""
    files = [*SHIPPED.glob("*.safetensors"), *imported_folder().glob("*.safetensors")]
    return {path.stem: path for path in files}


def load(source: str, *more: str) -> Weights:
    """Returns the weights of a workdir, a checkpoint folder, a .safetensors file, or of a name.

    Of several sources: their ensemble. Raises UserError where there are none, or they are damaged,
    do not fit their network, or one another.
    """
    if not more:
        return _load_one(source)
    return ensemble({name: _load_one(name) for name in (source, *more)})


def ensemble(members: Mapping[str, Weights]) -> Weights:
    """Returns networks by source as one network, which says what they say on average.

    It hears windows as long as the longest of theirs. Its metrics are empty: none were measured.
    Raises UserError naming what two do not share.
    """
    (first_source, first), *others = members.items()
    for source, other in others:
        for field in SHARED:
            if getattr(first.spec, field) != getattr(other.spec, field):
                raise UserError(
                    f"--weights: {first_source} and {source} differ in {field}; an ensemble is of "
                    "networks that were trained on the same clips, heard the same way"
                )
    all_of = list(members.values())
    network = {"members": [_member(one.spec) for one in all_of]}
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for index, one in enumerate(all_of):
        for collection, tree in one.variables.items():
            variables[collection][f"members_{index}"] = tree
    longest = max((one.spec for one in all_of), key=lambda spec: spec.window_frames)
    return Weights(
        spec=dataclasses.replace(longest, model=models.ENSEMBLE, network=network, temperature=1.0),
        variables=variables,
        step=first.step,
        metrics={},
        licence="\n\n".join(dict.fromkeys(one.licence for one in all_of if one.licence)),
    )


def _member(spec: Spec) -> dict[str, Any]:
    return {
        "model": spec.model,
        "network": dict(spec.network),
        "window_frames": spec.window_frames,
        "hop_frames": spec.hop_frames,
    }


def _load_one(source: str) -> Weights:
    path = Path(source)
    if path.is_dir():
        from deepgenre.weights import checkpoint  # Orbax takes long to import: not to read one file

        weights = checkpoint.restore(path)
    elif path.is_file():
        weights = weight_file.read(path)
    elif source in named():
        weights = weight_file.read(named()[source])
    elif path.suffix or path.parent != Path():
        raise UserError(f"{source}: no such weights; give a workdir, a .safetensors file or a name")
    elif source in IMPORTABLE:
        raise UserError(
            f"--weights: {source!r} has to be imported first, with "
            f"--mode=import --source={IMPORTABLE[source]}"
        )
    else:
        raise unknown_name("--weights", source, {*named(), *IMPORTABLE})
    _check_fit(source, weights)
    return weights


def _check_fit(source: str, weights: Weights) -> None:
    """Raises UserError unless the tensors are those that the spec's network has."""
    wanted = _shapes(_abstract_variables(weights.spec))
    found = _shapes(weights.variables)
    if wanted != found:
        odd = sorted(wanted.keys() ^ found.keys()) or [n for n in wanted if wanted[n] != found[n]]
        raise UserError(
            f"{source}: its tensors do not fit the network {weights.spec.model!r} of this "
            f"version ({odd[0]}); use the version that made them"
        )


def _abstract_variables(spec: Spec) -> Any:
    module = specs.build(spec)
    shape = jax.ShapeDtypeStruct((1, spec.window_frames, spec.frontend.num_bands), np.float32)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), shape)


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    kept = {name: variables[name] for name in ("params", "batch_stats") if variables.get(name)}
    flat: dict[str, Any] = traverse_util.flatten_dict(kept, sep="/")
    return {name: np.shape(leaf) for name, leaf in flat.items()}

"""Loads weights: a run's checkpoint, a `.safetensors` file, or weights that have a name."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from deepgenre import models
from deepgenre.errors import UserError, one_line, unknown_name
from deepgenre.files import expand_home
from deepgenre.weights import (
    choi,
    essentia_moods,
    heads,
    musicnn,
    run_record,
    weight_file,
    yamnet,
)
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights

SHIPPED = Path(__file__).parent / "pretrained"
# Names of the weights that mode `import` writes -> their --source.
IMPORTABLE = {
    **dict.fromkeys(musicnn.NETWORKS, "musicnn"),
    essentia_moods.NAME: essentia_moods.SOURCE,
    **dict.fromkeys(choi.FILES, choi.SOURCE),
    yamnet.SOURCE: yamnet.SOURCE,
}
# Fields that the members of an ensemble must have in common.
SHARED_FIELDS = (
    "classes",
    "multi_label",
    "frontend",
    "mean",
    "deviation",
    "clip_seconds",
)


def imported_folder() -> Path:
    """Returns the folder of imported weights."""
    return Path(os.environ.get("DEEPGENRE_WEIGHTS", Path.home() / ".cache/deepgenre/weights"))


def named_files() -> dict[str, Path]:
    """Returns the weight files that can be loaded by name: those shipped and those imported."""
    files = [*SHIPPED.glob("*.safetensors"), *imported_folder().glob("*.safetensors")]
    return {path.stem: path for path in files}


def load(source: str, *more: str) -> Weights:
    """Returns the weights of a workdir, a checkpoint folder, a .safetensors file or a name.

    Several sources: their ensemble. Raises UserError where weights are missing or damaged, do not
    match their network, or cannot form an ensemble.
    """
    if not more:
        return _load_one(source)
    return ensemble({name: _load_one(name) for name in (source, *more)})


def load_tagger(source: str, *more: str) -> Weights:
    """Returns `load` of weights that have classes; raises UserError where they have none."""
    weights = load(source, *more)
    if not weights.spec.classes:
        raise UserError(
            f"--weights: {source} has no classes, only an embedding; use it with deepgenre embed "
            "or deepgenre similar"
        )
    return weights


def ensemble(members: Mapping[str, Weights]) -> Weights:
    """Returns the members, by source, as one network that predicts the mean of their logits.

    Its input is as long as the longest of theirs. Its metrics are empty. Raises UserError naming a
    field in which two members differ.
    """
    (first_source, first), *others = members.items()
    for source, other in others:
        for field in SHARED_FIELDS:
            if getattr(first.spec, field) != getattr(other.spec, field):
                raise UserError(
                    f"--weights: {first_source} and {source} differ in {field}; give networks "
                    "that were trained on the same clips with the same front end"
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
    path = expand_home(source)
    if path.is_dir():
        from deepgenre.weights import checkpoint  # Orbax is slow to import

        weights = _with_store(checkpoint.restore(path), path)
    elif path.is_file() and path.suffix:
        weights = _read(path)
    elif source in named_files():
        weights = _read(named_files()[source])
    elif path.suffix or path.parent != Path():
        raise UserError(f"{source}: no such weights; give a workdir, a .safetensors file or a name")
    elif source in IMPORTABLE:
        raise UserError(
            f"--weights: {source!r} must be imported first, with "
            f"deepgenre import --source={IMPORTABLE[source]}"
        )
    else:
        raise unknown_name("--weights", source, {*named_files(), *IMPORTABLE})
    _check_fit(source, weights)
    return weights


def _read(path: Path) -> Weights:
    """Returns the weights of a file; those of a head with its body, see `heads`."""
    weights = weight_file.read(path)
    if not heads.is_detached(weights):
        return weights
    return heads.completed(weights, path, named_files(), _how_to_get)


def _how_to_get(name: str) -> str:
    """Returns how to get weights by name."""
    if name in IMPORTABLE:
        return f"import them with deepgenre import --source={IMPORTABLE[name]}"
    return f"put {name}.safetensors beside it, or into {imported_folder()}"


def _with_store(weights: Weights, path: Path) -> Weights:
    """Returns the weights of a run with the location of its store, which only the run records."""
    workdir = path if (path / run_record.NAME).is_file() else path.parent.parent
    store_dir = run_record.locations(workdir).get("store_dir", "")
    config = {**weights.spec.config, "store_dir": store_dir}
    return dataclasses.replace(weights, spec=dataclasses.replace(weights.spec, config=config))


def _check_fit(source: str, weights: Weights) -> None:
    """Raises UserError unless names and shapes of the tensors are those of the spec's network."""
    try:
        expected = _shapes(_abstract_variables(weights.spec))
        shapes = _shapes(weights.variables)
    except UserError:
        raise
    except Exception as error:  # a network that cannot be built raises many types
        reason = one_line(error)[:200]
        raise UserError(
            f"{source}: its spec describes no network of this version "
            f"({type(error).__name__}: {reason}); use the version that wrote it"
        ) from error
    if shapes != expected:
        mismatched = sorted(expected.keys() ^ shapes.keys()) or [
            name for name in expected if expected[name] != shapes[name]
        ]
        raise UserError(
            f"{source}: the tensors do not match the network {weights.spec.model!r} of this "
            f"version ({mismatched[0]}); use the version that wrote them"
        )


def _abstract_variables(spec: Spec) -> Any:
    module = specs.build(spec)
    shape = jax.ShapeDtypeStruct((1, spec.window_frames, spec.frontend.num_bands), np.float32)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), shape)


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    kept = {name: variables[name] for name in ("params", "batch_stats") if variables.get(name)}
    flat: dict[str, Any] = traverse_util.flatten_dict(kept, sep="/")
    return {name: np.shape(leaf) for name, leaf in flat.items()}

"""Weights to use: a run's checkpoints, a `.safetensors` file, or the name of one that is at hand.

A weights file is safetensors (tensors and a JSON header: loading never runs code). Its header
holds the spec, how the weights came about, and a digest of everything, so that a file that was
changed or cut is refused.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deepgenre import import_musicnn, models
from deepgenre import spec as specs
from deepgenre.errors import UserError
from deepgenre.nearest import unknown
from deepgenre.restored import Restored
from deepgenre.spec import Spec
from deepgenre.store import replacing

SHIPPED = Path(__file__).parent / "pretrained"
# What --mode=import makes, and from which --source.
IMPORTABLE = dict.fromkeys(import_musicnn.NETWORKS, "musicnn")
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


def load(source: str, *more: str) -> Restored:
    """Returns the weights of a workdir, a checkpoint folder, a .safetensors file, or of a name.

    Of several sources: their ensemble. Raises UserError where there are none, or they are damaged,
    do not fit their network, or one another.
    """
    if not more:
        return _load_one(source)
    return ensemble({name: _load_one(name) for name in (source, *more)})


def ensemble(members: Mapping[str, Restored]) -> Restored:
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
    return Restored(
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


def _load_one(source: str) -> Restored:
    path = Path(source)
    if path.is_dir():
        from deepgenre import checkpoint  # Orbax takes long to import: not to read one file

        restored = checkpoint.restore(path)
    elif path.is_file():
        restored = read(path)
    elif source in named():
        restored = read(named()[source])
    elif path.suffix or path.parent != Path():
        raise UserError(f"{source}: no such weights; give a workdir, a .safetensors file or a name")
    elif source in IMPORTABLE:
        raise UserError(
            f"--weights: {source!r} has to be imported first, with "
            f"--mode=import --source={IMPORTABLE[source]}"
        )
    else:
        raise unknown("--weights", source, {*named(), *IMPORTABLE})
    _check_fit(source, restored)
    return restored


def read(path: Path) -> Restored:
    """Returns what a weights file holds; raises UserError where it is damaged or foreign."""
    try:
        with safe_open(path, framework="numpy") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no whole .safetensors file ({error}); get it again") from error
    if "deepgenre" not in header:
        raise UserError(f"{path}: was not written by deepgenre; make one with --mode=export")
    if header.get("digest") != _digest(header["deepgenre"], tensors):
        raise UserError(f"{path}: was changed after it was written; get it again")
    about = json.loads(header["deepgenre"])
    variables = traverse_util.unflatten_dict(tensors, sep="/")
    return Restored(
        spec=specs.from_json(about["spec"]),
        variables={"params": variables["params"], "batch_stats": variables.get("batch_stats", {})},
        step=about["step"],
        metrics=about["metrics"],
        licence=about["licence"],
    )


def write(path: Path, restored: Restored, *, dtype: str) -> int:
    """Writes weights as one file; returns its size in bytes.

    dtype: 'float32' or 'float16' of the stored numbers; networks compute in float32 either way.
    """
    variables = {name: tree for name, tree in restored.variables.items() if tree}
    tensors = {
        name: np.ascontiguousarray(np.asarray(leaf), dtype=dtype)
        for name, leaf in traverse_util.flatten_dict(variables, sep="/").items()
    }
    about = json.dumps(
        {
            "spec": specs.to_json(restored.spec),
            "step": restored.step,
            "metrics": dict(restored.metrics),
            "licence": restored.licence,
        }
    )
    header = {"deepgenre": about, "digest": _digest(about, tensors)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(0o644)  # safetensors makes it readable by its owner alone
    return path.stat().st_size


def _digest(about: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _check_fit(source: str, restored: Restored) -> None:
    """Raises UserError unless the tensors are those that the spec's network has."""
    wanted = _shapes(_abstract_variables(restored.spec))
    found = _shapes(restored.variables)
    if wanted != found:
        odd = sorted(wanted.keys() ^ found.keys()) or [n for n in wanted if wanted[n] != found[n]]
        raise UserError(
            f"{source}: its tensors do not fit the network {restored.spec.model!r} of this "
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

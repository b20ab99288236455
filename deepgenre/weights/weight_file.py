"""Weight files: one `.safetensors` file with tensors and a JSON header.

Loading never executes code. The header contains the spec, the step, the metrics, the licence and a
digest of everything, so that a modified or truncated file is rejected.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights, without_paths


def read(path: Path) -> Weights:
    """Returns the weights in a file; raises UserError if it is damaged or not from deepgenre."""
    try:
        with safe_open(path, framework="numpy") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: is not a complete .safetensors file ({error}); copy it again"
        ) from error
    if "deepgenre" not in header:
        raise UserError(f"{path}: was not written by deepgenre; create one with deepgenre export")
    if header.get("digest") != _digest(header["deepgenre"], tensors):
        raise UserError(f"{path}: was modified after it was written; copy it again")
    try:
        about = parse_json(header["deepgenre"])
        variables = traverse_util.unflatten_dict(tensors, sep="/")
        return Weights(
            spec=specs.from_json(about["spec"]),
            variables={
                "params": variables["params"],
                "batch_stats": variables.get("batch_stats", {}),
            },
            step=int(about["step"]),
            metrics=dict(about["metrics"]),
            licence=str(about["licence"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}: its header is damaged ({type(error).__name__}: {error}); copy it again"
        ) from error


def write(path: Path, weights: Weights, *, dtype: str) -> int:
    """Writes weights as one file; returns its size in bytes.

    dtype: stored type, 'float32' or 'float16'; networks compute in float32 either way.
    """
    variables = {name: tree for name, tree in weights.variables.items() if tree}
    tensors = {
        name: np.asarray(leaf, dtype=dtype, order="C")  # scalars stay scalars
        for name, leaf in traverse_util.flatten_dict(variables, sep="/").items()
    }
    about = json.dumps(
        {
            "spec": specs.to_json(without_paths(weights.spec)),
            "step": weights.step,
            "metrics": dict(weights.metrics),
            "licence": weights.licence,
        }
    )
    header = {"deepgenre": about, "digest": _digest(about, tensors)}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:  # of a full disk or a folder that cannot be written
            raise UserError(
                f"{path}: cannot be written ({error}); choose another --output"
            ) from error
        temporary.chmod(0o644)  # safetensors creates files that only their owner can read
    return path.stat().st_size


def _digest(about: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()

"""Digests of weights: whether embeddings, or scores, were computed by the same network."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

# Fields of a spec that do not affect embeddings.
IGNORED_FIELDS = ("classes", "multi_label", "config", "temperature", "division")


def model_digest(weights: Weights) -> str:
    """Returns a digest of everything except the audio that determines an embedding."""
    fields = {k: v for k, v in specs.to_json(weights.spec).items() if k not in IGNORED_FIELDS}
    fields["dtype"] = weights.spec.config["dtype"]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    tensors = traverse_util.flatten_dict(weights.variables, sep="/")
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name])
        digest.update(f"{name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def scores_digest(weights: Weights) -> str:
    """Returns a digest of everything except the audio that determines the scores of windows."""
    spec = weights.spec
    fields = [model_digest(weights), spec.temperature, spec.multi_label, spec.classes]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def checkpoint_digest(state: Any, spec: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Returns a digest of a checkpoint: the arrays of its state by path, its spec and metrics.

    The same for a state as training holds it and as it is read back, in which named tuples and
    dataclasses are dictionaries, and tuples are lists.
    """
    parts = [json.dumps(dict(part), sort_keys=True, default=float) for part in (spec, metrics)]
    digest = hashlib.sha256("\n".join(parts).encode())
    leaves = {_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(state)}
    for path in sorted(leaves):
        array = np.asarray(leaves[path])
        digest.update(f"{path}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _path(keys: tuple[Any, ...]) -> str:
    """Returns 'opt_state/0/count' for the keys of a leaf, whatever containers hold it."""
    names = ("key", "name", "idx")
    return "/".join(
        str(next(getattr(key, name) for name in names if hasattr(key, name))) for key in keys
    )

"""Digests of weights: whether embeddings, or scores, were computed by the same network."""

import hashlib
import json

import numpy as np
from flax import traverse_util

from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

# Fields of a spec that do not affect embeddings.
IGNORED_FIELDS = ("classes", "multi_label", "config", "temperature")


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

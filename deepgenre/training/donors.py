"""The network of a weight file that a run can begin from.

Of an ensemble, one of its members; of a few-shot head, the network below it with the head as its
last layer.
"""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from deepgenre import log, models
from deepgenre.errors import UserError
from deepgenre.models.linear_head import BODY
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights

# Options that no parameter depends on.
WITHOUT_PARAMETERS = ("dropout",)


def donor(weights: Weights, spec: Spec) -> Weights:
    """Returns the weights, or, of an ensemble, its first member with the network of the spec.

    Of a head, `below_head`. Raises UserError that says which networks the ensemble has, where none
    is that of the spec.
    """
    if weights.spec.model == models.LINEAR_HEAD:
        return below_head(weights)
    if weights.spec.model != models.ENSEMBLE:
        return weights
    members = list(_members(weights))
    for index, member in enumerate(members):
        same_options = not specs.differences(_shaping(member.spec), _shaping(spec))
        if member.spec.model == spec.model and same_options:
            log.info("config.init_from: member %d of the ensemble of %d", index + 1, len(members))
            return member
    offered = dict.fromkeys(_flags(member.spec) for member in members)
    raise UserError(
        f"config.init_from: is an ensemble, and none of its networks is {spec.model} with these "
        f"options; train one of them: {'; or '.join(offered)}"
    )


def below_head(weights: Weights) -> Weights:
    """Returns the network below a head, with the head as its last layer: the same function.

    Raises UserError where the network has no last layer of this kind, as an ensemble.
    """
    params, statistics = weights.variables["params"], weights.variables["batch_stats"]
    body, kernel = weights.spec.network["body"], params["logits"]["kernel"]
    below = params[BODY]
    if np.shape(below.get("logits", {}).get("kernel", ()))[:1] != np.shape(kernel)[:1]:
        raise UserError(
            f"config.init_from: is a head on the embedding of {body['model']!r}, which has no last "
            "layer that could be replaced; make a head on a single network, such as mtt_musicnn"
        )
    shift = (statistics["mean"] * statistics["scale"]) @ kernel
    last = {
        "kernel": statistics["scale"][:, None] * kernel,
        "bias": params["logits"]["bias"] - shift,
    }
    spec = dataclasses.replace(weights.spec, model=body["model"], network=body["network"])
    variables = {"params": {**below, "logits": last}, "batch_stats": statistics.get(BODY, {})}
    return dataclasses.replace(weights, spec=spec, variables=variables)


def _members(weights: Weights) -> Iterator[Weights]:
    """Yields the networks of an ensemble, and those of ensembles that it consists of."""
    for index, member in enumerate(weights.spec.network["members"]):
        one = dataclasses.replace(
            weights,
            spec=dataclasses.replace(weights.spec, **member),
            variables={
                name: tree.get(f"members_{index}", {}) for name, tree in weights.variables.items()
            },
        )
        if one.spec.model == models.ENSEMBLE:
            yield from _members(one)
        else:
            yield one


def _chosen(spec: Spec) -> Mapping[str, Any]:
    return {name: value for name, value in spec.network.items() if value is not None}


def _shaping(spec: Spec) -> Mapping[str, Any]:
    chosen = _chosen(spec)
    return {name: value for name, value in chosen.items() if name not in WITHOUT_PARAMETERS}


def _flags(spec: Spec) -> str:
    """Returns the flags with which a config has the network of a spec."""
    options = [f"--config.network.{k}={shlex.quote(str(v))}" for k, v in _chosen(spec).items()]
    return " ".join([f"--config.model={spec.model}", *options])

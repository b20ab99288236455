"""The logit of one class as a function of a window's plane: what every method explains."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.evaluation.steps import scores
from deepgenre.explain.plane import features_of
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

BATCH = 16  # planes that go through the network at a time


class Attribution(NamedTuple):
    """What a method returns."""

    map: jax.Array  # float32 (frames, bands): share of each cell in the logit; negative: against it
    # Difference of the map's sum from the value it must have, relative to that value; NaN where
    # the method has no such value.
    completeness_error: jax.Array


@dataclasses.dataclass(frozen=True)
class Target:
    """The logit of a class for one window. Made within a compiled function."""

    spec: Spec
    module: nn.Module
    variables: Any
    values: jax.Array  # (frames, bands) of the plane
    carrier: jax.Array  # of the plane
    index: jax.Array  # int32 scalar: the class
    key: jax.Array  # for methods that draw random numbers

    def features(self, planes: jax.Array) -> jax.Array:
        """Returns the network's input for planes (batch, frames, bands)."""
        return features_of(planes, self.carrier, self.spec)

    def all_logits(self, planes: jax.Array) -> jax.Array:
        """Returns float32 (batch, classes) of planes (batch, frames, bands)."""
        logits = self.module.apply(self.variables, self.features(planes), train=False)
        assert isinstance(logits, jax.Array)
        return logits

    def logits(self, planes: jax.Array) -> jax.Array:
        """Returns the target's logit, float32 (batch,), of planes (batch, frames, bands)."""
        return self.all_logits(planes)[:, self.index]

    def scores(self, planes: jax.Array) -> jax.Array:
        """Returns the target's score, float32 (batch,), of planes (batch, frames, bands)."""
        logits = self.all_logits(planes)
        return scores(logits, multi_label=self.spec.multi_label)[:, self.index]

    def gradients(self, planes: jax.Array) -> jax.Array:
        """Returns the gradient of the logit with respect to each of the planes."""
        return jax.grad(lambda planes: self.logits(planes).sum())(planes)

    def difference(self) -> jax.Array:
        """Returns the logit of the window minus that of the empty plane."""
        window, empty = self.logits(jnp.stack([self.values, jnp.zeros_like(self.values)]))
        return window - empty


def by_batches(function: Callable[[Any], jax.Array], items: Any) -> jax.Array:
    """Returns function(items), (count, ...), computed for BATCH items at a time.

    items: a tree of arrays (count, ...). Only a batch of planes is in memory at once.
    """
    count = jax.tree.leaves(items)[0].shape[0]
    missing = -count % BATCH

    def split(x: jax.Array) -> jax.Array:
        padded = jnp.concatenate([x, jnp.broadcast_to(x[:1], (missing, *x.shape[1:]))])
        return padded.reshape(-1, BATCH, *x.shape[1:])

    results = jax.lax.map(function, jax.tree.map(split, items))
    return results.reshape(-1, *results.shape[2:])[:count]


def relative_error(total: jax.Array, expected: jax.Array) -> jax.Array:
    """Returns |total - expected| / |expected|."""
    return jnp.abs(total - expected) / jnp.maximum(jnp.abs(expected), 1e-6)


def build(spec: Spec) -> nn.Module:
    """Returns the network, in float32: differences of logits are small."""
    config = {**spec.config, "dtype": "float32"}
    return specs.build(dataclasses.replace(spec, config=config))

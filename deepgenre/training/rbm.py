"""Restricted Boltzmann machines (RBMs): layers learnt without labels to initialise a dense network.

Stacked as in T. Feng, "Deep learning for music genre classification", University of Illinois,
2014. Training follows G. Hinton, "A practical guide to training restricted Boltzmann machines",
2010: contrastive divergence with one step (CD-1); hidden units are sampled when driven by data,
probabilities are used elsewhere; momentum and weight decay.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Rbm(NamedTuple):
    """Parameters of an RBM: P(hidden = 1) = sigmoid(visible @ weights + hidden_bias)."""

    weights: jax.Array  # float32 (visible, hidden)
    hidden_bias: jax.Array  # (hidden,)
    visible_bias: jax.Array  # (visible,)


@dataclasses.dataclass(frozen=True)
class CdOptions:
    """Options of contrastive divergence."""

    num_epochs: int = 50
    batch_size: int = 32  # at most the number of rows
    learning_rate: float = 0.05  # for Bernoulli (0..1) visible units
    gaussian_learning_rate: float = 0.005  # for Gaussian visible units: ten times this diverges
    momentum: float = 0.9
    weight_decay: float = 1e-4


def pretrain(
    data: jax.Array,
    layer_sizes: Sequence[int],
    key: jax.Array,
    options: CdOptions = CdOptions(),
) -> list[tuple[jax.Array, jax.Array]]:
    """Returns (weights (inputs, units), bias (units,)) per layer, for data, float32 (n, d).

    The first RBM is Gaussian-Bernoulli and is trained on standardised columns; the standardisation
    is then folded into its weights, so that they apply to the data itself. The others are
    Bernoulli-Bernoulli and are trained on the hidden probabilities of the RBM below.
    """
    deviation = jnp.maximum(data.std(axis=0), 1e-6)
    mean = data.mean(axis=0)
    visible = (data - mean[None]) / deviation[None]
    layers = []
    for index, size in enumerate(layer_sizes):
        rbm, _ = train_rbm(
            visible, size, jax.random.fold_in(key, index), options, gaussian=index == 0
        )
        visible = hidden_probabilities(rbm, visible)
        layers.append((rbm.weights, rbm.hidden_bias))
    weights, bias = layers[0]
    folded = weights / deviation[:, None]
    return [(folded, bias - mean @ folded), *layers[1:]]


@functools.partial(jax.jit, static_argnames=("num_hidden", "options", "gaussian"))
def train_rbm(
    data: jax.Array, num_hidden: int, key: jax.Array, options: CdOptions, *, gaussian: bool
) -> tuple[Rbm, jax.Array]:
    """Returns an RBM trained on data (n, visible), and its reconstruction errors (num_epochs,).

    gaussian: visible units are real, with mean 0 and deviation 1; else they are in 0..1. The errors
    are mean squared ones, averaged over the epoch's batches. Each epoch has a new order; the rows
    left over after the last full batch are skipped.
    """
    num_rows, num_visible = data.shape
    batch_size = min(options.batch_size, num_rows)
    num_batches = num_rows // batch_size
    key, init_key = jax.random.split(key)
    fresh = Rbm(
        weights=0.01 * jax.random.normal(init_key, (num_visible, num_hidden)),
        hidden_bias=jnp.zeros(num_hidden),
        visible_bias=jnp.zeros(num_visible),
    )

    def step(carry: tuple[Rbm, Rbm], inputs: tuple[jax.Array, jax.Array]) -> tuple:
        rbm, velocity = carry
        rows, step_key = inputs
        gradient, error = contrastive_divergence(rbm, data[rows], step_key, gaussian=gaussian)
        gradient = gradient._replace(weights=gradient.weights - options.weight_decay * rbm.weights)
        rate = options.gaussian_learning_rate if gaussian else options.learning_rate
        velocity = jax.tree.map(lambda v, g: options.momentum * v + rate * g, velocity, gradient)
        return (jax.tree.map(jnp.add, rbm, velocity), velocity), error

    def epoch(carry: tuple[Rbm, Rbm], epoch_key: jax.Array) -> tuple:
        order_key, sample_key = jax.random.split(epoch_key)
        order = jax.random.permutation(order_key, num_rows)[: num_batches * batch_size]
        batches = (
            order.reshape(num_batches, batch_size),
            jax.random.split(sample_key, num_batches),
        )
        carry, errors = jax.lax.scan(step, carry, batches)
        return carry, errors.mean()

    start = (fresh, jax.tree.map(jnp.zeros_like, fresh))
    (rbm, _), errors = jax.lax.scan(epoch, start, jax.random.split(key, options.num_epochs))
    return rbm, errors


def contrastive_divergence(
    rbm: Rbm, visible: jax.Array, key: jax.Array, *, gaussian: bool
) -> tuple[Rbm, jax.Array]:
    """Returns the CD-1 gradient, averaged over the rows of visible (rows, visible), and the error.

    It estimates the gradient of the log-likelihood: step along it. The error is the mean squared
    difference between visible and its reconstruction.
    """
    hidden = hidden_probabilities(rbm, visible)
    sampled = jax.random.bernoulli(key, hidden).astype(visible.dtype)
    reconstruction = visible_means(rbm, sampled, gaussian=gaussian)
    hidden_reconstruction = hidden_probabilities(rbm, reconstruction)
    rows = visible.shape[0]
    gradient = Rbm(
        weights=(visible.T @ hidden - reconstruction.T @ hidden_reconstruction) / rows,
        hidden_bias=(hidden - hidden_reconstruction).mean(axis=0),
        visible_bias=(visible - reconstruction).mean(axis=0),
    )
    return gradient, jnp.square(visible - reconstruction).mean()


def hidden_probabilities(rbm: Rbm, visible: jax.Array) -> jax.Array:
    """Returns the probabilities (rows, hidden) that hidden units are 1."""
    return jax.nn.sigmoid(visible @ rbm.weights + rbm.hidden_bias[None])


def visible_means(rbm: Rbm, hidden: jax.Array, *, gaussian: bool) -> jax.Array:
    """Returns the expected values (rows, visible) of visible units: real, or in 0..1."""
    drive = hidden @ rbm.weights.T + rbm.visible_bias[None]
    return drive if gaussian else jax.nn.sigmoid(drive)

"""Losses a clip, and the scores that a user sees."""

import jax
import jax.numpy as jnp
import optax


def targets(
    labels: jax.Array, num_classes: int, *, multi_label: bool, smoothing: float
) -> jax.Array:
    """Returns what the scores should be, float32 (batch, classes).

    labels: 0 or 1 (batch, classes) for tags, else a class index (batch,). `smoothing` moves this
    share of each target to what knowing nothing would say (Szegedy et al., 2016).
    """
    if multi_label:
        return (1 - smoothing) * labels.astype(jnp.float32) + smoothing / 2
    return (1 - smoothing) * jax.nn.one_hot(labels, num_classes) + smoothing / num_classes


def loss_per_clip(logits: jax.Array, targets: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns cross-entropy, float32 (batch,), of logits and targets (batch, classes).

    Of the softmax, or, for tags, the mean over the classes of the sigmoid's.
    """
    if multi_label:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)
    return optax.softmax_cross_entropy(logits, targets)

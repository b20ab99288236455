"""Losses a clip, and the scores that a user sees."""

import jax
import jax.numpy as jnp
import optax


def loss_per_clip(logits: jax.Array, labels: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns cross-entropy, float32 (batch,), of logits (batch, classes).

    labels: multi-label, 0 or 1 (batch, classes), and the loss is the mean over the classes of the
    sigmoid's; else a class index (batch,), and the softmax's.
    """
    if multi_label:
        entropies = optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype))
        return jnp.mean(entropies, axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def scores(logits: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns probabilities of the shape of the logits (batch, classes)."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)

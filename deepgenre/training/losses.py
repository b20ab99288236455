"""Targets and losses per clip."""

import jax
import jax.numpy as jnp
import optax


def targets(
    labels: jax.Array, num_classes: int, *, multi_label: bool, smoothing: float
) -> jax.Array:
    """Returns the targets of the scores, float32 (batch, classes).

    labels: for tags, 0 and 1 (batch, classes), else class indices (batch,). smoothing: the share of
    each target that is replaced by the uniform prediction (Szegedy et al., 2016).
    """
    if multi_label:
        return (1 - smoothing) * labels.astype(jnp.float32) + smoothing / 2
    return (1 - smoothing) * jax.nn.one_hot(labels, num_classes) + smoothing / num_classes


def loss_per_clip(logits: jax.Array, targets: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns the cross-entropy, float32 (batch,), of logits and targets (batch, classes).

    Genres: of the softmax. Tags: of the sigmoid, averaged over the classes.
    """
    if multi_label:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)
    return optax.softmax_cross_entropy(logits, targets)


def hits(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the number of clips whose highest logit is their class, and of clips with a class.

    A clip's class is that of its highest target, the first of several. For tags, a clip without any
    has equal targets, and is not counted.
    """
    judged = targets.max(axis=-1) > targets.min(axis=-1)
    correct = judged & (logits.argmax(axis=-1) == targets.argmax(axis=-1))
    return correct.sum(), judged.sum()

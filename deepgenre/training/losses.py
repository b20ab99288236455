"""Targets, losses per clip, and weights of classes.

cross_entropy  of the softmax, or of a sigmoid per tag, averaged over the tags
focal          Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV
               2017: a term with probability p of the truth counts (1 - p)^gamma times
asymmetric     Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021: gammas
               of tags that a clip has and of those it lacks, whose scores are first lowered by a
               margin, so that easy ones count nothing. For tags only
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.config import Config


@dataclasses.dataclass(frozen=True)
class Focus:
    """How much less a loss counts what is predicted well; zeros: plain cross-entropy."""

    gamma_positive: float = 0.0  # of the genre, and of tags that a clip has
    gamma_negative: float = 0.0  # of tags that it lacks
    margin: float = 0.0  # by which scores of tags that it lacks are lowered


# By name: the focus of a config's loss.
LOSSES: Mapping[str, Callable[[Config], Focus]] = {
    "cross_entropy": lambda config: Focus(),
    "focal": lambda config: Focus(config.focal_gamma, config.focal_gamma),
    "asymmetric": lambda config: Focus(
        config.asymmetric_gamma_present, config.asymmetric_gamma_absent, config.asymmetric_margin
    ),
}
TAGS_ONLY = ("asymmetric",)
CLASS_WEIGHTS = ("none", "balanced")
ClassWeights = tuple[tuple[float, ...], tuple[float, ...]]  # of clips in and not in each class


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


def loss_per_clip(
    logits: jax.Array,
    targets: jax.Array,
    *,
    multi_label: bool,
    focus: Focus = Focus(),
    weights: ClassWeights | None = None,
) -> jax.Array:
    """Returns the loss, float32 (batch,), of logits and targets (batch, classes).

    Genres: the sum over the classes, of the softmax. Tags: the mean over the classes, of the
    sigmoid. weights: factors on the terms of each class.
    """
    of_present, of_absent = jnp.asarray(weights or ((1.0,), (1.0,)), jnp.float32)[:, None]
    if not multi_label:
        log_p = jax.nn.log_softmax(logits)
        return -jnp.sum(of_present * targets * _focused(log_p, focus.gamma_positive), axis=-1)
    log_p, log_q = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    if focus.margin:
        log_q = jnp.log(jnp.minimum(1.0, jnp.exp(log_q) + focus.margin))
    present = of_present * targets * _focused(log_p, focus.gamma_positive)
    absent = of_absent * (1 - targets) * _focused(log_q, focus.gamma_negative)
    return -jnp.mean(present + absent, axis=-1)


def _focused(log_probability: jax.Array, gamma: float) -> jax.Array:
    """Returns (1 - p)^gamma log p."""
    if not gamma:
        return log_probability
    # The floor keeps the gradient finite at p = 1 for gammas below 1.
    missing = jnp.maximum(-jnp.expm1(log_probability), jnp.finfo(jnp.float32).tiny)
    return missing**gamma * log_probability


def hits(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the number of clips whose highest logit is their class, and of clips with a class.

    A clip's class is that of its highest target, the first of several. For tags, a clip without any
    has equal targets, and is not counted.
    """
    evaluated = targets.max(axis=-1) > targets.min(axis=-1)
    correct = evaluated & (logits.argmax(axis=-1) == targets.argmax(axis=-1))
    return correct.sum(), evaluated.sum()


def balanced_weights(labels: np.ndarray, num_classes: int, *, multi_label: bool) -> ClassWeights:
    """Returns weights with which all classes have the same total weight over the clips.

    labels: class indices (clips,), or 0 and 1 (clips, classes): then, for each tag, the clips with
    it and those without it have the same total weight. Those of scikit-learn's 'balanced'. A class
    without clips has weight 1.
    """
    count = len(labels)
    if not multi_label:
        counts = np.bincount(labels, minlength=num_classes)
        weights = count / (num_classes * np.maximum(counts, 1))
        return tuple(np.where(counts, weights, 1.0).tolist()), (1.0,) * num_classes
    present = labels.sum(axis=0, dtype=np.int64)
    present_weights, absent_weights = (
        np.where(counts, count / (2 * np.maximum(counts, 1)), 1.0).tolist()
        for counts in (present, count - present)
    )
    return tuple(present_weights), tuple(absent_weights)

"""Metrics of scores against labels, computed on the host with numpy and scikit-learn."""

from collections.abc import Sequence

import numpy as np

Metrics = dict[str, float]
EPSILON = 1e-7  # scores are clipped to this distance from 0 and 1 before a logarithm


def evaluate(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> Metrics:
    """Returns the metrics, by name, of scores, float32 (clips, classes).

    labels: class indices, int32 (clips,), or, for tags, 0 and 1, uint8 (clips, classes).
    """
    return _tag_metrics(scores, labels) if multi_label else _genre_metrics(scores, labels)


def _genre_metrics(scores: np.ndarray, labels: np.ndarray) -> Metrics:
    """Returns accuracy, its chance level (the share of the most frequent class), and loss."""
    of_label = scores[np.arange(len(labels)), labels]
    hits = scores.argmax(axis=1) == labels
    low, high = wilson_interval(int(hits.sum()), len(labels))
    return {
        "accuracy": float(hits.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_chance": float(np.bincount(labels).max() / len(labels)),
        "loss": float(-np.log(np.maximum(of_label, EPSILON)).mean()),
        "clips": len(labels),
    }


def _tag_metrics(scores: np.ndarray, labels: np.ndarray) -> Metrics:
    """Returns macro averages over the tags that have both a positive and a negative clip.

    `argmax_accuracy`: the argmax of the scores equals the argmax of the 0/1 labels (the first
    positive tag in class order), probably the accuracy that the paper reports. `top1_hit`: the tag
    with the highest score is positive.
    """
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    entropy = -np.where(labels == 1, np.log(clipped), np.log(1 - clipped))
    evaluated = np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))
    per_tag = tag_metrics(scores[:, evaluated], labels[:, evaluated])
    top = scores.argmax(axis=1)
    return {
        "roc_auc": float(per_tag["roc_auc"].mean()) if evaluated.size else float("nan"),
        "roc_auc_chance": 0.5,
        "average_precision": float(per_tag["average_precision"].mean())
        if evaluated.size
        else float("nan"),
        "average_precision_chance": float(labels[:, evaluated].mean()) if evaluated.size else 0.0,
        "argmax_accuracy": float((top == labels.argmax(axis=1)).mean()),
        "top1_hit": float(labels[np.arange(len(labels)), top].mean()),
        "loss": float(entropy.mean()),
        "tags_evaluated": int(evaluated.size),
        "clips": len(labels),
    }


def tag_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns 'roc_auc' and 'average_precision', float64 (tags,), of arrays (clips, tags).

    Each tag must have a positive and a negative clip.
    """
    # Slow to import, and not needed for training steps and predictions.
    from sklearn.metrics import average_precision_score, roc_auc_score

    columns = list(zip(labels.T, scores.T, strict=True))
    return {
        "roc_auc": np.array([roc_auc_score(truth, score) for truth, score in columns]),
        "average_precision": np.array(
            [average_precision_score(truth, score) for truth, score in columns]
        ),
    }


def confusion_matrix(scores: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns counts of clips, int64 (true class, predicted class)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    return counts


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a proportion (Wilson, 1927)."""
    z = 1.959964
    share, scale = hits / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return float(centre - half), float(centre + half)


def summary(metrics: Metrics, names: Sequence[str]) -> str:
    """Returns 'name 0.123' for each of these names that is among the metrics."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in names if name in metrics)

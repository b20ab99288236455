"""Scores against labels: numpy and scikit-learn, on the host."""

from collections.abc import Sequence

import numpy as np

Metrics = dict[str, float]
SMALLEST = 1e-7  # scores are kept this far from 0 and 1 where a logarithm is taken


def evaluate(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> Metrics:
    """Returns the metrics of scores, float32 (clips, classes), by name.

    labels: int32 (clips,) class indices, or uint8 (clips, classes) for tags.
    """
    return _tag_metrics(scores, labels) if multi_label else _genre_metrics(scores, labels)


def _genre_metrics(scores: np.ndarray, labels: np.ndarray) -> Metrics:
    """Accuracy beside its chance level: the share of the most frequent class."""
    chosen = scores[np.arange(len(labels)), labels]
    hits = scores.argmax(axis=1) == labels
    low, high = wilson_interval(int(hits.sum()), len(labels))
    return {
        "accuracy": float(hits.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_chance": float(np.bincount(labels).max() / len(labels)),
        "loss": float(-np.log(np.maximum(chosen, SMALLEST)).mean()),
        "clips": len(labels),
    }


def _tag_metrics(scores: np.ndarray, labels: np.ndarray) -> Metrics:
    """Macro averages over the tags that have both a positive and a negative clip.

    `argmax_accuracy`: the argmax of the scores equals the argmax of the 0/1 labels (the first tag
    in class order), likely what the paper calls accuracy. `top1_hit`: the top tag is a true one.
    """
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
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
    """Returns 'roc_auc' and 'average_precision', float64 (tags,), of (clips, tags) columns.

    Each tag must have a positive and a negative clip.
    """
    # Slow to import, and not on the way to a training step or a prediction.
    from sklearn.metrics import average_precision_score, roc_auc_score

    columns = list(zip(labels.T, scores.T, strict=True))
    return {
        "roc_auc": np.array([roc_auc_score(truth, column) for truth, column in columns]),
        "average_precision": np.array(
            [average_precision_score(truth, column) for truth, column in columns]
        ),
    }


def confusion(scores: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns counts, int64 (true class, said class)."""
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
    """Returns 'name 0.123' for the metrics of these names that are there."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in names if name in metrics)

"""Metrics of single-label scores, for any number of resamples of the clips at once."""

import numpy as np

from deepgenre.evaluation.bootstrap import Metrics, once
from deepgenre.evaluation.calibration import calibration_gaps

EPSILON = 1e-7  # scores are at least this before a logarithm


def compute(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Metrics:
    """Returns each metric, float64 (resamples,).

    scores: (clips, classes). labels: int (clips,). counts: of clips in resamples, (clips,
    resamples). `macro_f1` is the mean over the classes that the labels of a resample contain.
    """
    weights = counts.T.astype(np.float64)
    total = weights.sum(axis=1)
    hits = scores.argmax(axis=1) == labels
    true_positives, support, predicted = _class_counts(scores, labels, weights)
    f1 = 2 * true_positives / np.maximum(support + predicted, 1)
    of_label = np.maximum(scores[np.arange(len(labels)), labels], EPSILON)
    gaps = calibration_gaps(scores, labels, multi_label=False)
    return {
        "accuracy": weights @ hits / total,
        "macro_f1": (f1 * (support > 0)).sum(axis=1) / (support > 0).sum(axis=1),
        "calibration_error": np.abs(weights @ gaps).sum(axis=1) / total,
        "loss": weights @ -np.log(of_label) / total,
    }


def chance(labels: np.ndarray) -> dict[str, float]:
    """Returns the accuracy of always predicting the most frequent class."""
    return {"accuracy": float(np.bincount(labels).max() / len(labels))}


def per_class(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns 'support', 'precision', 'recall' and 'f1' of each class, (classes,).

    support: clips of the class. A precision or recall without clips is NaN, its F1 too where the
    class has no clip.
    """
    weights = once(len(labels)).T.astype(np.float64)
    true_positives, support, predicted = (
        counted[0] for counted in _class_counts(scores, labels, weights)
    )
    with np.errstate(invalid="ignore"):
        return {
            "support": support.astype(np.int64),
            "precision": true_positives / predicted,
            "recall": true_positives / support,
            "f1": np.where(support > 0, 2 * true_positives / (support + predicted), np.nan),
        }


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns counts of clips, int64 (true class, predicted class)."""
    counts = np.zeros((scores.shape[1], scores.shape[1]), np.int64)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    return counts


def _class_counts(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns true positives, clips and predictions of each class, (resamples, classes)."""
    identity = np.eye(scores.shape[1])
    is_label, is_predicted = identity[labels], identity[scores.argmax(axis=1)]
    return weights @ (is_label * is_predicted), weights @ is_label, weights @ is_predicted

"""Temperature scaling of scores, and calibration errors.

C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On calibration of modern neural networks", ICML 2017,
arXiv:1706.04599. Calibrated scores are correct on average; their order does not change.
"""

from typing import NamedTuple

import numpy as np
import scipy.special

TEMPERATURE_RANGE = (0.05, 20.0)  # scores whose optimum is outside are not informative
BINS = 15  # of the calibration error, as in the paper
EPSILON = 1e-12  # scores are clipped to this distance from 0 and 1 before a logarithm


def calibrate(scores: np.ndarray, temperature: float, *, multi_label: bool) -> np.ndarray:
    """Returns scores (..., classes) at a temperature, of the same dtype; 1 changes nothing.

    Genres: softmax(log p / T). Tags: sigmoid(logit(p) / T) of each score.
    """
    if temperature == 1:
        return scores
    clipped = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    if multi_label:
        calibrated = scipy.special.expit(scipy.special.logit(clipped) / temperature)
    else:
        calibrated = scipy.special.softmax(np.log(clipped) / temperature, axis=-1)
    return np.asarray(calibrated, scores.dtype)


def fit_temperature(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the temperature in TEMPERATURE_RANGE that maximises the likelihood of the labels.

    scores: (songs, classes). labels: class indices (songs,), for tags 0 and 1 (songs, classes).
    """
    import scipy.optimize  # slow to import, needed only here

    def loss(log_temperature: float) -> float:
        calibrated = calibrate(scores, float(np.exp(log_temperature)), multi_label=multi_label)
        return negative_log_likelihood(calibrated, labels, multi_label=multi_label)

    # Convex in 1 / T, so one minimum in log T.
    bounds = np.log(TEMPERATURE_RANGE)
    result = scipy.optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-5}
    )
    return float(np.exp(min((result.x, *bounds), key=loss)))  # SciPy does not try the bounds


def negative_log_likelihood(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the mean over songs, in nats; for tags, over all pairs of song and tag."""
    clipped = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    if multi_label:
        return float(-np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean())
    return float(-np.log(clipped[np.arange(len(labels)), labels]).mean())


def calibration_error(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the expected calibration error, 0 to 1, over BINS bins of equal width.

    Genres: the difference between the highest score and the accuracy. Tags: the difference between
    a score and the share of positive pairs of song and tag.
    """
    gaps = calibration_gaps(scores, labels, multi_label=multi_label).sum(axis=0)
    return float(np.abs(gaps).sum() / (scores.size if multi_label else len(scores)))


def calibration_gaps(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Returns the sum over each song's scores in a bin of 1 (correct) or 0 minus the score.

    float64 (songs, BINS). For genres a song has one score, its highest.
    """
    confidence, correct, bins = _binned(scores, labels, multi_label=multi_label)
    cells = bins + BINS * np.arange(len(bins))[:, None]
    gaps = np.bincount(
        cells.ravel(), weights=(correct - confidence).ravel(), minlength=BINS * len(bins)
    )
    return gaps.reshape(len(bins), BINS)


class Reliability(NamedTuple):
    """Scores in BINS bins of equal width, from 0 to 1; NaN where a bin has none."""

    mean_score: np.ndarray  # float64 (BINS,)
    share_right: np.ndarray  # float64 (BINS,): of genres that are right, of tags that apply
    counts: np.ndarray  # int64 (BINS,): scores


def reliability(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> Reliability:
    """Returns how often scores of each size are right: the bins of `calibration_error`."""
    confidence, correct, bins = _binned(scores, labels, multi_label=multi_label)
    counts = np.bincount(bins.ravel(), minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean, share = (
            np.bincount(bins.ravel(), weights=values.ravel(), minlength=BINS) / counts
            for values in (confidence, correct)
        )
    return Reliability(mean, share, counts)


def _binned(
    scores: np.ndarray, labels: np.ndarray, *, multi_label: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns scores, whether each is right, and its bin; of genres the highest, (songs, 1)."""
    if multi_label:
        confidence, correct = scores.astype(np.float64), np.asarray(labels) == 1
    else:
        confidence = scores.max(axis=1, keepdims=True).astype(np.float64)
        correct = (scores.argmax(axis=1) == labels)[:, None]
    return confidence, correct, np.minimum((confidence * BINS).astype(int), BINS - 1)

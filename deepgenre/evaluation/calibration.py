"""How sure a network may be: one temperature for its scores, and how far they are off.

C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On calibration of modern neural networks", ICML 2017,
arXiv:1706.04599: scores become right on average, and their order stays. Numpy and SciPy only.
"""

import numpy as np
import scipy.special

TEMPERATURES = (0.05, 20.0)  # a fit outside says that the scores mean nothing
BINS = 15  # of the calibration error, as in the paper
SMALLEST = 1e-12  # scores are kept this far from 0 and 1 where a logarithm is taken


def calibrate(scores: np.ndarray, temperature: float, *, multi_label: bool) -> np.ndarray:
    """Returns scores (..., classes), of the same dtype, at a temperature; 1 changes nothing.

    Genres: softmax(log p / T). Tags: sigmoid(logit(p) / T), each for itself.
    """
    if temperature == 1:
        return scores
    clipped = np.clip(scores.astype(np.float64), SMALLEST, 1 - SMALLEST)
    if multi_label:
        calibrated = scipy.special.expit(scipy.special.logit(clipped) / temperature)
    else:
        calibrated = scipy.special.softmax(np.log(clipped) / temperature, axis=-1)
    return np.asarray(calibrated, scores.dtype)


def fit_temperature(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the temperature within TEMPERATURES that makes the labels likeliest.

    scores: (songs, classes). labels: class indices (songs,), or 0 and 1 (songs, classes) of tags.
    """
    import scipy.optimize  # slow to import, and needed only where a temperature is fitted

    def loss(log_temperature: float) -> float:
        calibrated = calibrate(scores, float(np.exp(log_temperature)), multi_label=multi_label)
        return negative_log_likelihood(calibrated, labels, multi_label=multi_label)

    # Convex in 1 / T, so one minimum in log T.
    ends = np.log(TEMPERATURES)
    found = scipy.optimize.minimize_scalar(
        loss, bounds=ends, method="bounded", options={"xatol": 1e-5}
    )
    return float(np.exp(min((found.x, *ends), key=loss)))  # SciPy never tries the ends


def negative_log_likelihood(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the mean over songs, in nats; of tags, over all pairs of a song and a tag."""
    clipped = np.clip(scores.astype(np.float64), SMALLEST, 1 - SMALLEST)
    if multi_label:
        return float(-np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean())
    return float(-np.log(clipped[np.arange(len(labels)), labels]).mean())


def calibration_error(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the expected calibration error, 0 to 1, over BINS bins of equal width.

    Of genres: how far the best score is from the share of songs for which it is right. Of tags:
    how far a score is from the share of its pairs of a song and a tag that are true.
    """
    if multi_label:
        sure, right = scores.ravel(), np.asarray(labels).ravel() == 1
    else:
        sure, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    sure = sure.astype(np.float64)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - sure, minlength=BINS)
    return float(np.abs(gaps).sum() / sure.size)

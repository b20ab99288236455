"""Change points of a series of scores: where its mean changes.

The segmentation that minimises the sum of squared distances from each segment's mean, plus a
penalty per change, found exactly by PELT (R. Killick, P. Fearnhead and I. Eckley, "Optimal
detection of changepoints with a linear computational cost", JASA 2012).
"""

import numpy as np

PENALTY = 4.0  # times the noise's variance and the log of the length; 2 to 4 are usual
SMALLEST_DEVIATION = 0.05  # of scores, summed over classes: smaller changes are not marked


def change_points(values: np.ndarray, min_length: int) -> list[int]:
    """Returns the first index of each segment but the first, of values float (length, classes).

    Segments have `min_length` values or more. The noise's variance is half the mean squared
    difference of neighbours, and at least SMALLEST_DEVIATION squared.
    """
    differences = np.square(np.diff(values, axis=0)).sum(axis=1)
    if len(values) < 2 * min_length:
        return []
    variance = max(differences.mean() / 2, SMALLEST_DEVIATION**2)
    return segment(values, min_length, PENALTY * variance * np.log(len(values)))


def segment(values: np.ndarray, min_length: int, penalty: float) -> list[int]:
    """Returns the change points of the segmentation of least cost, for a penalty per change."""
    length = len(values)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=float)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(values, dtype=float).sum(axis=1))])
    best = np.full(length + 1, np.inf)  # cost of the values before an index
    best[0] = -penalty
    previous = np.zeros(length + 1, int)
    starts = np.zeros(0, int)  # of a last segment that may still be optimal
    for end in range(min_length, length + 1):
        if np.isfinite(best[end - min_length]):
            starts = np.append(starts, end - min_length)
        sum_ = sums[end] - sums[starts]
        within = squares[end] - squares[starts] - (sum_**2).sum(axis=1) / (end - starts)
        costs = best[starts] + within
        index = int(costs.argmin())
        best[end], previous[end] = costs[index] + penalty, starts[index]
        starts = starts[costs <= best[end]]
    found, end = [], length
    while previous[end] > 0:
        end = int(previous[end])
        found.append(end)
    return found[::-1]

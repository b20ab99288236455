"""Features that depend on the position of a clip in its file or batch.

An extractor that normalises by the statistics of each batch (batch norm left in training mode)
gives all clips of a batch something in common. Where the batches followed the order of the
classes, a probe recognises the batch, and with it the class: published features of GTZAN are of
this kind, and a linear probe scores 0.86 on them.

Such features change more from one half of a batch to the next batch than to its other half, at
every multiple of the batch size, which no artist or album does. Or, where the output itself is
normalised, all batches have the same means.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.stats

MIN_ROWS = 40
MAX_BATCH = 512
MIN_BOUNDARIES = 6
MAX_P = 1e-4  # after multiplication by the number of batch sizes tried
MAX_MEAN_RATIO = 0.5  # of the variance of batch means to that of independent rows
COMPONENTS = 128  # the effect may be small in each, and small beside what the clips contain
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class BatchEffect:
    """A batch size at which features depend on the batch."""

    batch_size: int
    p: float  # corrected for the number of batch sizes
    from_each_class: bool  # batches are counted from the first row of each class
    is_normalised: bool  # all batches have the same mean, rather than different ones


def label_runs(labels: Sequence[object]) -> np.ndarray:
    """Returns the index of the first row of the run of equal labels of each row, int64 (rows,)."""
    starts = [0] * len(labels)
    for row in range(1, len(labels)):
        starts[row] = starts[row - 1] if labels[row] == labels[row - 1] else row
    return np.array(starts)


def neighbour_accuracy(labels: Sequence[object]) -> float:
    """Returns the share of rows, but the first, that have the label of the row before."""
    return float(np.mean([one == other for one, other in itertools.pairwise(labels)]))


def batch_effect(features: np.ndarray, labels: Sequence[object]) -> BatchEffect | None:
    """Returns the batch size with the clearest effect; None where there is none.

    features: (rows, features). labels: of each row, may be all equal where unknown.
    """
    if len(features) < MIN_ROWS:
        return None
    codes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    reduced = _components(_without_class_means(features, codes))
    runs, rows = label_runs(labels), np.arange(len(reduced))
    sizes = range(2, min(MAX_BATCH, len(reduced) // MIN_BOUNDARIES) + 1)
    found: list[tuple[float, int, BatchEffect]] = []  # with the logarithm of p, and size
    for from_each_class in (False, True):
        places = rows - runs if from_each_class else rows
        for size in sizes:
            batches = runs * from_each_class * len(rows) + places // size
            for is_normalised, log_p in (
                (False, _boundary_log_p(reduced, runs, np.flatnonzero(places % size == 0), size)),
                (True, _equal_means_log_p(reduced, codes, batches)),
            ):
                corrected = log_p + np.log(4 * len(sizes))
                if corrected < np.log(MAX_P):
                    effect = BatchEffect(size, np.exp(corrected), from_each_class, is_normalised)
                    found.append((corrected, size, effect))
    return min(found, key=lambda one: one[:2])[2] if found else None


def probe(
    features: np.ndarray, labels: Sequence[object], batches: np.ndarray | None = None
) -> float:
    """Returns the accuracy of a linear probe in cross-validation.

    batches: whole batches are held out; without, rows at random.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = StratifiedKFold if batches is None else StratifiedGroupKFold
    truth = np.unique([str(label) for label in labels], return_inverse=True)[1]
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10.0))
    folds = kind(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features, truth, cv=folds, groups=batches)
    return float(np.mean(predicted == truth))


def batches_of(effect: BatchEffect, labels: Sequence[object]) -> np.ndarray:
    """Returns the number of the batch of each row."""
    rows, runs = np.arange(len(labels)), label_runs(labels)
    if not effect.from_each_class:
        return rows // effect.batch_size
    return runs * len(rows) + (rows - runs) // effect.batch_size


def _without_class_means(features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    scale = features.std(axis=0)
    kept = features[:, scale > 0] / scale[scale > 0]
    sums = np.zeros((codes.max() + 1, kept.shape[1]))
    np.add.at(sums, codes, kept)
    return kept - (sums / np.bincount(codes)[:, None])[codes]


def _components(rows: np.ndarray) -> np.ndarray:
    """Returns the rows by their principal components, each of variance 1."""
    if not rows.shape[1]:
        return np.zeros((len(rows), 1))
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    count = min(COMPONENTS, len(rows) // 4, int((singular > 1e-6 * singular[0]).sum()))
    return left[:, : max(count, 1)] * np.sqrt(len(rows))


def _boundary_log_p(rows: np.ndarray, runs: np.ndarray, starts: np.ndarray, size: int) -> float:
    """Returns the log p-value that rows change more between batches than within them.

    Compared are the means of the halves of batches: distances between the two halves of a batch,
    and from the second half to the first half of the next batch (Mann-Whitney). Halves that span
    two classes are left out. starts: the first rows of batches.
    """
    half = size // 2
    sums = np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(axis=0)])

    def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        fits = second + half <= len(rows)
        first, second = first[fits], second[fits]
        same = runs[first] == runs[second + half - 1]
        first, second = first[same], second[same]
        difference = sums[first + half] - sums[first] - sums[second + half] + sums[second]
        return (difference**2).sum(axis=1)

    within = distances(starts, starts + size - half)
    between = distances(starts + size - half, starts + size)
    if min(len(within), len(between)) < MIN_BOUNDARIES:
        return 0.0
    p = scipy.stats.mannwhitneyu(between, within, alternative="greater")[1]
    return float(np.log(max(p, 1e-300)))


def _equal_means_log_p(rows: np.ndarray, codes: np.ndarray, batches: np.ndarray) -> float:
    """Returns the log p-value that means of batches are more alike than those of independent rows.

    rows: of variance 1, without the means of their classes, `codes`; a batch that is most of a
    class therefore has a mean near 0 in any case.
    """
    of_batch = np.unique(batches, return_inverse=True)[1]
    counts = np.zeros((of_batch.max() + 1, codes.max() + 1))
    np.add.at(counts, (of_batch, codes), 1)
    sizes = counts.sum(axis=1)
    expected = 1 - (counts**2 / counts.sum(axis=0)).sum(axis=1) / sizes
    if len(sizes) < MIN_BOUNDARIES or expected.mean() < MAX_MEAN_RATIO:
        return 0.0
    sums = np.add.reduceat(rows, np.flatnonzero(np.diff(batches, prepend=-1)), axis=0)
    ratio = float((sums**2 / sizes[:, None]).sum() / rows.shape[1] / expected.sum())
    if ratio > MAX_MEAN_RATIO:
        return 0.0
    deviation = np.sqrt(2 / (len(sizes) * rows.shape[1]))  # of a mean of squares of normal numbers
    return float(scipy.stats.norm.logcdf((ratio - 1) / deviation))

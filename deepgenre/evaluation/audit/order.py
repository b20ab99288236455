"""Features that depend on the position of a clip in its file or batch.

An extractor that normalises by the statistics of each batch (batch norm left in training mode)
gives all clips of a batch something in common. Where the batches followed the order of the
classes, a probe recognises the batch, and with it the class: published features of GTZAN are of
this kind, and a linear probe scores 0.86 on them.

Such features change more from one row to the next at the boundaries of batches than within them,
at every multiple of the batch size, which no artist or album does. Or, where the output itself is
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
MAX_MEAN_RATIO = 0.05  # of the variance of batch means to that of independent rows
COMPONENTS = 32
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
    reduced = _components(_without_class_means(features, labels))
    runs = label_runs(labels)
    rows = np.arange(len(reduced))
    changes = ((reduced[1:] - reduced[:-1]) ** 2).sum(axis=1)
    same_label = runs[1:] == runs[:-1]
    ranks = scipy.stats.rankdata(changes[same_label])
    sizes = range(2, min(MAX_BATCH, len(reduced) // MIN_BOUNDARIES) + 1)
    found: list[BatchEffect] = []
    for from_each_class in (False, True):
        places = rows - runs if from_each_class else rows
        for size in sizes:
            p = _boundary_p(ranks, places[1:][same_label] % size == 0) * 2 * len(sizes)
            ratio = _mean_ratio(reduced, runs * from_each_class * len(rows) + places // size)
            if p < MAX_P or ratio < MAX_MEAN_RATIO:
                found.append(BatchEffect(size, min(p, 1.0), from_each_class, p >= MAX_P))
    return min(found, key=lambda effect: (effect.is_normalised, effect.p, effect.batch_size),
               default=None)  # fmt: skip


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
    return float((predicted == truth).mean())


def batches_of(effect: BatchEffect, labels: Sequence[object]) -> np.ndarray:
    """Returns the number of the batch of each row."""
    rows, runs = np.arange(len(labels)), label_runs(labels)
    if not effect.from_each_class:
        return rows // effect.batch_size
    return runs * len(rows) + (rows - runs) // effect.batch_size


def _without_class_means(features: np.ndarray, labels: Sequence[object]) -> np.ndarray:
    scale = features.std(axis=0)
    kept = features[:, scale > 0] / scale[scale > 0]
    codes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    sums = np.zeros((codes.max() + 1, kept.shape[1]))
    np.add.at(sums, codes, kept)
    return kept - (sums / np.bincount(codes)[:, None])[codes]


def _components(rows: np.ndarray) -> np.ndarray:
    """Returns the rows by their principal components, each of variance 1."""
    if not rows.shape[1]:
        return np.zeros((len(rows), 1))
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    count = min(COMPONENTS, int((singular > 1e-6 * singular[0]).sum()))
    return left[:, : max(count, 1)] * np.sqrt(len(rows))


def _boundary_p(ranks: np.ndarray, at_boundary: np.ndarray) -> float:
    """Returns the p-value that changes at boundaries are larger (Mann-Whitney, normal)."""
    count, rest = int(at_boundary.sum()), int((~at_boundary).sum())
    if count < MIN_BOUNDARIES or rest < MIN_BOUNDARIES:
        return 1.0
    excess = ranks[at_boundary].sum() - count * (len(ranks) + 1) / 2
    deviation = np.sqrt(count * rest * (len(ranks) + 1) / 12)
    return float(scipy.stats.norm.sf(excess / deviation))


def _mean_ratio(rows: np.ndarray, batches: np.ndarray) -> float:
    """Returns the variance of the means of batches over that expected of independent rows."""
    codes = np.unique(batches, return_inverse=True)[1]
    counts = np.bincount(codes)
    if len(counts) < MIN_BOUNDARIES or counts.max() < 4:
        return 1.0
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, codes, rows)
    between = ((sums**2) / counts[:, None]).sum() / len(counts) / rows.shape[1]
    return float(between)  # the rows have variance 1

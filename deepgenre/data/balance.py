"""Balanced sampling: how often each clip is drawn, so that rare classes are seen as often."""

import dataclasses

import numpy as np

SAMPLINGS = ("uniform", "balanced")


@dataclasses.dataclass(frozen=True, eq=False)
class Balance:
    """Shares of the draws of an epoch."""

    shares: np.ndarray  # float64 (clips,), of sum 1
    strata: np.ndarray  # int64 (clips,): clips of a stratum are drawn in its exact share, to one


def balanced(labels: np.ndarray) -> Balance:
    """Returns the balance of labels: class indices (clips,), or 0 and 1 (clips, classes).

    Genres: each that has clips gets the same share of the draws. Tags: a clip's share is
    proportional to the mean of 1 / (clips with the tag) over its tags; a clip without tags gets the
    smallest share of the others.
    """
    if labels.ndim == 1:
        _, strata, counts = np.unique(labels, return_inverse=True, return_counts=True)
        return Balance(1 / (len(counts) * counts[strata]), strata)
    rarity = 1 / np.maximum(labels.sum(axis=0), 1)
    tags = labels.sum(axis=1)
    means = labels @ rarity / np.maximum(tags, 1)
    means = np.where(tags > 0, means, means[tags > 0].min(initial=1.0))
    return Balance(means / means.sum(), np.zeros(len(labels), np.int64))


def draw(balance: Balance, generator: np.random.Generator) -> np.ndarray:
    """Returns clip indices, int64 (clips,): one epoch in random order.

    Systematic sampling: a clip of share p is drawn floor(p clips) or ceil(p clips) times, and so is
    a stratum.
    """
    count = len(balance.shares)
    shuffled = generator.permutation(count)
    by_stratum = shuffled[np.argsort(balance.strata[shuffled], kind="stable")]
    ends = np.cumsum(balance.shares[by_stratum])
    points = (np.arange(count) + generator.random()) / count
    drawn = np.searchsorted(ends / ends[-1], points, side="right")
    return generator.permutation(by_stratum[np.minimum(drawn, count - 1)])

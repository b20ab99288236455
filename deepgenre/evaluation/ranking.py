"""ROC-AUC and average precision of many resamples of the same clips at once.

A resample says how often it contains each clip. The clips are sorted by score once; all resamples
then are one product with a sparse matrix that sums their counts between ties of positive clips.
"""

import numpy as np
import scipy.sparse


def ranking_metrics(
    scores: np.ndarray, positive: np.ndarray, clips: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ROC-AUC and average precision of each resample, two float64 (resamples,).

    scores: (items,); equal scores are one threshold, as in scikit-learn. positive: bool (items,).
    clips: the index of each item's clip; an item is a clip, or a pair of clip and tag. counts: of
    each clip in each resample, integers (clips, resamples). A resample without a positive or
    without a negative item has NaN.
    """
    clips_of, positives_of = _sums(scores, positive, clips, counts)
    in_tie = clips_of[1::2]  # items in each tie that contains a positive one
    tie_positives = positives_of[1::2]
    end = np.cumsum(clips_of, axis=0)[1::2]  # items up to the end of the tie
    end_positives = np.cumsum(tie_positives, axis=0)
    total = np.bincount(clips, minlength=len(counts)) @ counts
    positives = tie_positives.sum(axis=0)
    negatives = total - positives
    lower = negatives - (end - end_positives)  # negative items with a lower score
    ordered = (tie_positives * (lower + (in_tie - tie_positives) / 2)).sum(axis=0)
    precision = end_positives / np.maximum(end, 1)
    averaged = (tie_positives * precision).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        roc_auc = ordered / (positives * negatives)
        average_precision = np.where(negatives > 0, averaged / positives, np.nan)
    return roc_auc, average_precision


def _sums(
    scores: np.ndarray, positive: np.ndarray, clips: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of items, and of positive ones, per segment and resample.

    Segments, int64 (2 x ties, resamples), follow the items by falling score: before each tie that
    contains a positive item, and the tie itself. Items after the last of them are left out.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, is_positive = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.concatenate([starts[1:], [len(order)]])
    before = np.concatenate([[0], np.cumsum(is_positive)])
    kept = before[ends] > before[starts]
    bounds = np.concatenate([[0], np.stack([starts[kept], ends[kept]], axis=1).ravel()])
    used = order[: bounds[-1]]
    positives = used[is_positive[: len(used)]]
    return (
        _segment_sums(clips[used], bounds, counts),
        _segment_sums(clips[positives], before[bounds], counts),
    )


def _segment_sums(clips: np.ndarray, bounds: np.ndarray, counts: np.ndarray) -> np.ndarray:
    ones = np.ones(len(clips), counts.dtype)
    shape = (len(bounds) - 1, len(counts))
    sums = scipy.sparse.csr_array((ones, clips, bounds), shape=shape) @ counts
    return sums.astype(np.int64)

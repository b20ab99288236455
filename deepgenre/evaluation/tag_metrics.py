"""Metrics of scores of tags, for any number of resamples of the clips at once.

Macro averages are over the tags that have both a positive and a negative clip, micro averages over
all pairs of clip and such a tag.
"""

import numpy as np

from deepgenre.evaluation.bootstrap import Metrics, once
from deepgenre.evaluation.calibration import calibration_gaps
from deepgenre.evaluation.ranking import ranking_metrics

EPSILON = 1e-7  # scores are clipped to this distance from 0 and 1 before a logarithm
THRESHOLD = 0.5  # of the F1 where none was tuned
PRECISION_AT = (3, 5, 10)  # number of tags with the highest scores; 1 is `top1_hit`


def compute(
    scores: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    thresholds: np.ndarray | float = THRESHOLD,
) -> Metrics:
    """Returns each metric, float64 (resamples,); NaN where it is undefined.

    scores: (clips, tags). labels: 0 and 1, (clips, tags). counts: of clips in resamples, (clips,
    resamples). thresholds: of the F1, one per tag or one of all.
    """
    return {
        **_ranking(scores, labels, counts),
        **_decisions(scores, labels, counts, thresholds),
        **_top(scores, labels, counts),
    }


def _ranking(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Metrics:
    tags, clips = evaluated(labels), np.arange(len(scores))
    if not tags.size:
        undefined = np.full(counts.shape[1], np.nan)
        names = ("roc_auc", "average_precision", "micro_roc_auc", "micro_average_precision")
        return dict.fromkeys(names, undefined)
    pairs = [ranking_metrics(scores[:, tag], labels[:, tag] == 1, clips, counts) for tag in tags]
    roc_auc, average_precision = (
        _mean_of_defined(np.stack(one)) for one in zip(*pairs, strict=True)
    )
    flat = scores[:, tags].ravel(), labels[:, tags].ravel() == 1
    micro = ranking_metrics(*flat, np.repeat(clips, tags.size), counts)
    return {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "micro_roc_auc": micro[0],
        "micro_average_precision": micro[1],
    }


def _decisions(
    scores: np.ndarray, labels: np.ndarray, counts: np.ndarray, thresholds: np.ndarray | float
) -> Metrics:
    """Returns F1 of the tags whose scores reach their thresholds."""
    tags, weights = evaluated(labels), counts.T.astype(np.float64)
    predicted = (scores >= thresholds)[:, tags]
    truth = labels[:, tags] == 1
    hits, sizes = weights @ (predicted & truth), weights @ (predicted.astype(int) + truth)
    with np.errstate(invalid="ignore"):
        macro = np.where(weights @ truth > 0, 2 * hits / sizes, np.nan)
        micro = 2 * hits.sum(axis=1) / sizes.sum(axis=1)
    return {"macro_f1": _mean_of_defined(macro.T), "micro_f1": micro}


def _top(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Metrics:
    """Returns metrics that are means over clips.

    `argmax_accuracy`: the tag with the highest score is the first positive one in class order,
    probably the accuracy that the paper reports; clips without any tag are left out, as they have
    no such tag. `top1_hit`: the tag with the highest score is positive.
    """
    weights = counts.T.astype(np.float64)
    total = weights.sum(axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(labels, order, axis=1)
    tagged = labels.any(axis=1)
    hits = tagged & (order[:, 0] == labels.argmax(axis=1))
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    entropy = -np.where(labels == 1, np.log(clipped), np.log(1 - clipped))
    gaps = calibration_gaps(scores, labels, multi_label=True)
    with np.errstate(invalid="ignore"):
        argmax_accuracy = weights @ hits / (weights @ tagged)
    return {
        "argmax_accuracy": argmax_accuracy,
        "top1_hit": weights @ ranked[:, 0] / total,
        **{
            f"precision_at_{k}": weights @ ranked[:, :k].mean(axis=1) / total
            for k in PRECISION_AT
            if k < labels.shape[1]
        },
        "calibration_error": np.abs(weights @ gaps).sum(axis=1) / (total * labels.shape[1]),
        "loss": weights @ entropy.mean(axis=1) / total,
    }


def chance(labels: np.ndarray) -> dict[str, float]:
    """Returns the values of scores that are random or, for F1, that call every tag positive."""
    tags = evaluated(labels)
    if not tags.size:
        return {}
    shares = labels[:, tags].mean(axis=0)
    share = float(shares.mean())
    at_k = [f"precision_at_{k}" for k in PRECISION_AT if k < labels.shape[1]]
    return {
        "roc_auc": 0.5,
        "average_precision": share,
        "micro_roc_auc": 0.5,
        "micro_average_precision": share,
        "macro_f1": float((2 * shares / (1 + shares)).mean()),
        "micro_f1": 2 * share / (1 + share),
        **dict.fromkeys(("top1_hit", *at_k), float(labels.mean())),
    }


def per_tag(
    scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray | float = THRESHOLD
) -> dict[str, np.ndarray]:
    """Returns metrics of each tag by name, arrays (tags,); NaN where they are undefined.

    'support': positive clips. 'chance': of the average precision, the share of positive clips.
    'precision', 'recall' and 'f1' are those at the 'threshold'.
    """
    counts, clips = once(len(scores)), np.arange(len(scores))
    ranked = np.array(
        [
            [values[0] for values in ranking_metrics(score, truth == 1, clips, counts)]
            for score, truth in zip(scores.T, labels.T, strict=True)
        ]
    ).reshape(-1, 2)
    predicted = scores >= thresholds
    hits = (predicted & (labels == 1)).sum(axis=0)
    support = (labels == 1).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return {
            "support": support,
            "roc_auc": ranked[:, 0],
            "average_precision": ranked[:, 1],
            "chance": support / len(labels),
            "threshold": np.broadcast_to(thresholds, support.shape).astype(np.float64),
            "precision": hits / predicted.sum(axis=0),
            "recall": hits / support,
            "f1": np.where(support > 0, 2 * hits / (support + predicted.sum(axis=0)), np.nan),
        }


def best_thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the threshold of each tag with the highest F1 on these clips, float64 (tags,).

    It lies between two scores that occur. A tag without a positive clip has THRESHOLD.
    """
    thresholds = np.full(scores.shape[1], THRESHOLD)
    for tag in np.flatnonzero((labels == 1).any(axis=0)):
        order = np.argsort(-scores[:, tag], kind="stable")
        ordered, truth = scores[order, tag].astype(np.float64), labels[order, tag] == 1
        f1 = 2 * np.cumsum(truth) / (np.arange(1, len(truth) + 1) + truth.sum())
        lower = np.append(ordered[1:], 0.0)  # the next score below, 0 after the last
        best = int(np.where(lower < ordered, f1, -1).argmax())  # not within a tie
        thresholds[tag] = (ordered[best] + lower[best]) / 2
    return thresholds


def evaluated(labels: np.ndarray) -> np.ndarray:
    """Returns the indices of the tags with both a positive and a negative clip."""
    return np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Returns the mean over tags of values (tags, resamples) that are not NaN, (resamples,)."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)

"""Metrics of scores against labels, by name."""

from collections.abc import Callable, Sequence

import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation import bootstrap, genre_metrics, tag_metrics

Metrics = dict[str, float]


def evaluate(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    multi_label: bool,
    thresholds: np.ndarray | float = tag_metrics.THRESHOLD,
) -> Metrics:
    """Returns the metrics, by name, of scores, float32 (clips, classes), with levels of chance.

    labels: class indices, int32 (clips,), or, for tags, 0 and 1, uint8 (clips, classes).
    thresholds: for the F1 of tags. Raises UserError where there is no clip, or scores are NaN.
    """
    check(scores)
    compute = resampled(scores, labels, multi_label=multi_label, thresholds=thresholds)
    values = {name: float(one[0]) for name, one in compute(bootstrap.once(len(scores))).items()}
    levels = {f"{name}_chance": level for name, level in chance(labels, multi_label).items()}
    return {**values, **levels, **_counts(scores, labels, multi_label)}


def _counts(scores: np.ndarray, labels: np.ndarray, multi_label: bool) -> Metrics:
    """Returns what the clips are, and the interval of the accuracy."""
    if multi_label:
        return {
            "tags_evaluated": int(tag_metrics.evaluated(labels).size),
            "untagged_clips": int((~labels.any(axis=1)).sum()),
            "clips": len(labels),
        }
    hits = int((scores.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    return {"accuracy_low": low, "accuracy_high": high, "clips": len(labels)}


def resampled(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    multi_label: bool,
    thresholds: np.ndarray | float = tag_metrics.THRESHOLD,
) -> Callable[[np.ndarray], bootstrap.Metrics]:
    """Returns the function from counts of clips in resamples to the metrics of each resample."""
    if multi_label:
        return lambda counts: tag_metrics.compute(scores, labels, counts, thresholds)
    return lambda counts: genre_metrics.compute(scores, labels, counts)


def chance(labels: np.ndarray, multi_label: bool) -> Metrics:
    """Returns the values that scores without information have, of the metrics that have one."""
    return tag_metrics.chance(labels) if multi_label else genre_metrics.chance(labels)


def check(scores: np.ndarray) -> None:
    """Raises UserError where there is no clip, or a score is not finite."""
    if not len(scores):
        raise UserError("no clip to evaluate; choose another part")
    bad = int((~np.isfinite(scores)).any(axis=1).sum())
    if bad:
        raise UserError(
            f"the scores of {bad} of {len(scores)} clips are not finite; the weights are damaged "
            "or their training diverged: use an earlier checkpoint"
        )


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a proportion (Wilson, 1927)."""
    z = 1.959964
    share, scale = hits / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return float(centre - half), float(centre + half)


def summary(metrics: Metrics, names: Sequence[str]) -> str:
    """Returns 'name 0.123' for each of these names that is among the metrics."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in names if name in metrics)

"""The structured summary of an evaluation: metrics with intervals, per class and per track."""

from typing import Any

import numpy as np

from deepgenre.evaluation import bootstrap, genre_metrics, metrics, tag_metrics
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.tracks import per_track

Thresholds = np.ndarray | float


def summarize(
    scored: Scored, thresholds: Thresholds, *, num_draws: int = bootstrap.DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Returns the fields of `evaluation.json` that follow from the scores.

    Intervals are 95 % percentiles of `num_draws` bootstrap resamples: of clips in `metrics`, of
    groups (artists) in `metrics_by_group_bootstrap`, which is {} where each clip is a group of its
    own, and of songs in `tracks`, which is {} where each clip is a song of its own.
    """
    tracks = per_track(scored)
    draws = {"num_draws": num_draws, "seed": seed}
    return {
        "metrics": _intervals(scored, np.arange(len(scored.key)), thresholds, **draws),
        "metrics_by_group_bootstrap": _by_group(scored, thresholds, **draws),
        "tracks": _intervals(tracks, np.arange(len(tracks.key)), thresholds, **draws)
        if tracks
        else {},
        "num_tracks": len(tracks.key) if tracks else len(scored.key),
        "num_groups": len(np.unique(scored.group)),
        "per_class": per_class(scored, thresholds),
        "confusion": None
        if scored.multi_label
        else genre_metrics.confusion_matrix(scored.scores, scored.labels).tolist(),
    }


def _by_group(scored: Scored, thresholds: Thresholds, **draws: int) -> dict[str, Any]:
    groups = bootstrap.group_indices(scored.group)
    num_groups = int(groups.max()) + 1
    if num_groups in (1, len(groups)):
        return {}
    return _intervals(scored, groups, thresholds, **draws)


def _intervals(
    scored: Scored, groups: np.ndarray, thresholds: Thresholds, *, num_draws: int, seed: int
) -> dict[str, dict[str, float]]:
    """Returns {metric: {'value', 'low', 'high' and, where it has one, 'chance'}}."""
    compute = metrics.resampled(
        scored.scores, scored.labels, multi_label=scored.multi_label, thresholds=thresholds
    )
    values = compute(bootstrap.once(len(scored.key)))
    resampled = bootstrap.distribution(compute, groups, num_draws=num_draws, seed=seed)
    levels = metrics.chance(scored.labels, scored.multi_label)
    results = {}
    for name, value in values.items():
        low, high = bootstrap.interval(resampled[name])
        results[name] = {"value": float(value[0]), "low": low, "high": high}
        if name in levels:
            results[name]["chance"] = levels[name]
    return results


def per_class(scored: Scored, thresholds: Thresholds) -> list[dict[str, Any]]:
    """Returns a dict per class: its name, support and metrics."""
    if scored.multi_label:
        columns = tag_metrics.per_tag(scored.scores, scored.labels, thresholds)
    else:
        columns = genre_metrics.per_class(scored.scores, scored.labels)
    return [
        {"class": name, **{field: column[index].item() for field, column in columns.items()}}
        for index, name in enumerate(scored.classes)
    ]

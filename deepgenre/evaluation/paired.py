"""Paired comparison of two models on the same clips.

The models share clips and resamples, so what is difficult about a clip cancels: differences are
resolved that the intervals of two separate scores would hide.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats

from deepgenre.errors import UserError
from deepgenre.evaluation import bootstrap, metrics, tag_metrics
from deepgenre.evaluation.summarize import Thresholds


def compare_paired(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    multi_label: bool,
    num_draws: int,
    seed: int,
    thresholds: tuple[Thresholds, Thresholds] = (tag_metrics.THRESHOLD, tag_metrics.THRESHOLD),
) -> dict[str, Any]:
    """Returns the differences of two models' metrics, with intervals and p-values.

    scores_a, scores_b: float32 (clips, classes). labels: int32 (clips,), or uint8 (clips, classes)
    for tags. groups: names (clips,) of artists, or anything that marks clips as dependent.
    thresholds: of each model's F1 of tags, as it was evaluated with; (classes,), or one of all.

    'metrics': {name: {'a', 'b', 'difference' (a minus b), 'low', 'high', 'p'}}, from resamples of
    clips; 'metrics_by_group_bootstrap': the same from resamples of groups, {} where each clip is a
    group of its own, or all are one. 'mcnemar': see `mcnemar`, of the clips whose highest score is
    right. 'clips' and 'groups': their numbers. Raises UserError where the arrays do not fit each
    other, there is no clip, or scores are not finite.
    """
    if scores_a.shape != scores_b.shape or not len(scores_a) == len(labels) == len(groups):
        raise UserError(
            f"compare: scores of shape {scores_a.shape} and {scores_b.shape}, {len(labels)} labels "
            f"and {len(groups)} groups do not fit; compare models on the same clips and classes"
        )
    for scores in (scores_a, scores_b):
        metrics.check(scores)
    indices = bootstrap.group_indices(groups)
    num_groups = int(indices.max()) + 1
    draws = {"num_draws": num_draws, "seed": seed}
    clips = np.arange(len(labels))
    hits = (top_hits(scores, labels, multi_label) for scores in (scores_a, scores_b))
    computes = [
        metrics.resampled(scores, labels, multi_label=multi_label, thresholds=own)
        for scores, own in zip((scores_a, scores_b), thresholds, strict=True)
    ]
    return {
        "clips": len(labels),
        "groups": num_groups,
        "metrics": _differences(computes, clips, **draws),
        "metrics_by_group_bootstrap": {}
        if num_groups in (1, len(labels))
        else _differences(computes, indices, **draws),
        "mcnemar": mcnemar(*hits),
    }


def top_hits(scores: np.ndarray, labels: np.ndarray, multi_label: bool) -> np.ndarray:
    """Returns whether each clip's highest score is its genre, or one of its tags; bool (clips,)."""
    top = scores.argmax(axis=1)
    return labels[np.arange(len(labels)), top] == 1 if multi_label else top == labels


def mcnemar(hits_a: np.ndarray, hits_b: np.ndarray) -> dict[str, float]:
    """Returns the exact McNemar test of two models' hits on the same clips, bool (clips,).

    'only_a' and 'only_b' count the clips that one model alone has right; 'p' is two-sided: under
    equal accuracy each such clip is either model's with probability 1/2. Q. McNemar, "Note on the
    sampling error of the difference between correlated proportions or percentages", Psychometrika
    12, 1947. The test takes clips as independent; clips of one artist are not.
    """
    only_a, only_b = int((hits_a & ~hits_b).sum()), int((hits_b & ~hits_a).sum())
    discordant = only_a + only_b
    p = float(scipy.stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def _differences(
    computes: Sequence[Callable[[np.ndarray], bootstrap.Metrics]],
    groups: np.ndarray,
    *,
    num_draws: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    once = bootstrap.once(len(groups))
    (a, b) = (compute(once) for compute in computes)
    drawn_a, drawn_b = (
        bootstrap.distribution(compute, groups, num_draws=num_draws, seed=seed)  # the same draws
        for compute in computes
    )
    results = {}
    for name in a:
        differences = drawn_a[name] - drawn_b[name]
        low, high = bootstrap.interval(differences)
        results[name] = {
            "a": float(a[name][0]),
            "b": float(b[name][0]),
            "difference": float(a[name][0] - b[name][0]),
            "low": low,
            "high": high,
            "p": _p_value(differences),
        }
    return results


def _p_value(differences: np.ndarray) -> float:
    """Returns the two-sided p-value of no difference: twice the share of the rarer sign.

    At least 2 / (resamples + 1); NaN where no resample has a difference that is defined.
    """
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return float("nan")
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (defined.size + 1)))

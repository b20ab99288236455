"""Speed of the bootstrap of tag metrics, and its agreement with scikit-learn.

    python benchmarks/bootstrap_speed.py --clips=5329 --tags=50 --draws=1000

Scores and labels are random with the shares of MagnaTagATune's tags (about 4 % positive), half of
the tags with tied scores. Prints the seconds of a bootstrap over clips of every metric that `eval`
reports, of ROC-AUC and average precision alone, and, for comparison, of scikit-learn for the first
--sklearn_draws of the same resamples, with the largest difference.
"""

import json
import os
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from sklearn.metrics import average_precision_score, roc_auc_score

from deepgenre.evaluation import bootstrap, tag_metrics
from deepgenre.evaluation.ranking import ranking_metrics

_CLIPS = flags.DEFINE_integer("clips", 5329, "Clips.")
_TAGS = flags.DEFINE_integer("tags", 50, "Tags.")
_DRAWS = flags.DEFINE_integer("draws", 1000, "Resamples.")
_SKLEARN_DRAWS = flags.DEFINE_integer("sklearn_draws", 3, "Resamples for scikit-learn.")


def synthetic(clips: int, tags: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores, float32, and labels, uint8, both (clips, tags)."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(0.2, 0.01, tags)
    labels = (rng.random((clips, tags)) < shares).astype(np.uint8)
    scores = rng.beta(1, 8, (clips, tags)) * 0.6 + 0.4 * labels * rng.random((clips, tags))
    scores[:, ::2] = scores[:, ::2].round(2)
    return scores.astype(np.float32), labels


def ranking_only(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> bootstrap.Metrics:
    """Returns macro ROC-AUC and average precision of each resample."""
    clips = np.arange(len(scores))
    pairs = [
        ranking_metrics(score, truth == 1, clips, counts)
        for score, truth in zip(scores.T, labels.T, strict=True)
    ]
    roc_auc, precision = (np.mean(one, axis=0) for one in zip(*pairs, strict=True))
    return {"roc_auc": roc_auc, "average_precision": precision}


def main(argv: Sequence[str]) -> None:
    """Measures and prints one JSON object."""
    del argv
    scores, labels = synthetic(_CLIPS.value, _TAGS.value)
    groups, results = np.arange(len(scores)), {}
    report: dict[str, float] = {"cores": len(os.sched_getaffinity(0))}
    for name, compute in (("every_metric", tag_metrics.compute), ("ranking_only", ranking_only)):
        start = time.perf_counter()
        results[name] = bootstrap.distribution(
            lambda counts, compute=compute: compute(scores, labels, counts),
            groups,
            num_draws=_DRAWS.value,
        )
        report[f"{name}_seconds"] = time.perf_counter() - start
    counts = next(bootstrap.resamples(groups, num_draws=_DRAWS.value))[:, : _SKLEARN_DRAWS.value]
    start, differences = time.perf_counter(), []
    for draw, weights in enumerate(counts.T):
        clips = np.repeat(groups, weights)
        for name, function in (
            ("roc_auc", roc_auc_score),
            ("average_precision", average_precision_score),
        ):
            theirs = function(labels[clips], scores[clips], average="macro")
            differences.append(abs(theirs - results["ranking_only"][name][draw]))
    seconds = (time.perf_counter() - start) / max(1, len(counts.T))
    report["scikit_learn_seconds"] = seconds * _DRAWS.value
    print(json.dumps({**report, "largest_difference": float(max(differences))}, indent=2))


if __name__ == "__main__":
    app.run(main)

"""ROC-AUC and average precision of many resamples, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from deepgenre.evaluation import bootstrap
from deepgenre.evaluation.ranking import ranking_metrics


def expected(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns both metrics by scikit-learn, on the clips repeated as often as counted."""
    clips = np.repeat(np.arange(len(scores)), counts)
    truth = positive[clips]
    if truth.all() or not truth.any():
        return np.full(2, np.nan)
    return np.array([function(truth, scores[clips]) for function in (roc_auc_score,
                     average_precision_score)])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, 12, elements=st.sampled_from([0.0, 0.1, 0.1001, 0.5, 0.9, 1.0])),
    arrays.arrays(bool, 12),
    arrays.arrays(np.int32, (12, 4), elements=st.integers(0, 3)),
)
def test_equals_scikit_learn_with_ties_and_repeated_clips(scores, positive, counts):
    results = np.stack(ranking_metrics(scores, positive, np.arange(12), counts), axis=1)
    for draw in range(4):
        np.testing.assert_allclose(
            results[draw], expected(scores, positive, counts[:, draw]), rtol=0, atol=1e-9
        )


def test_equals_scikit_learn_on_resamples_of_continuous_scores():
    rng = np.random.default_rng(0)
    scores, positive = rng.random(300), rng.random(300) < 0.1
    counts = next(bootstrap.resamples(np.arange(300), num_draws=20))
    results = np.stack(ranking_metrics(scores, positive, np.arange(300), counts), axis=1)
    for draw in range(20):
        np.testing.assert_allclose(
            results[draw], expected(scores, positive, counts[:, draw]), rtol=0, atol=1e-9
        )


def test_micro_average_takes_pairs_of_clip_and_tag():
    rng = np.random.default_rng(1)
    scores, labels = rng.random((40, 5)).round(1), rng.random((40, 5)) < 0.3
    counts = next(bootstrap.resamples(np.arange(40), num_draws=3))
    flat = ranking_metrics(scores.ravel(), labels.ravel(), np.repeat(np.arange(40), 5), counts)
    for draw in range(3):
        clips = np.repeat(np.arange(40), counts[:, draw])
        theirs = roc_auc_score(labels[clips], scores[clips], average="micro")
        assert flat[0][draw] == pytest.approx(theirs, abs=1e-9)
        theirs = average_precision_score(labels[clips], scores[clips], average="micro")
        assert flat[1][draw] == pytest.approx(theirs, abs=1e-9)

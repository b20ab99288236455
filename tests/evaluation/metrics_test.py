"""Metrics of scores against labels."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from deepgenre.evaluation import genre_metrics, metrics, tag_metrics


def test_genre_metrics_by_hand():
    scores = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    results = metrics.evaluate(scores, np.array([0, 1, 1, 2]), multi_label=False)
    assert results["accuracy"] == 0.75
    assert results["accuracy_chance"] == 0.5  # two of four are class 1
    assert results["loss"] == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.8]).mean())
    assert results["accuracy_low"] < 0.75 < results["accuracy_high"]
    assert results["clips"] == 4


def test_tag_metrics_by_hand():
    # Tag 2 has no positive clip and tag 3 no negative one: neither can be evaluated.
    labels = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
    scores = np.array(
        [[0.9, 0.2, 0.1, 0.5], [0.4, 0.3, 0.1, 0.5], [0.3, 0.8, 0.1, 0.5], [0.1, 0.4, 0.6, 0.5]]
    )
    results = metrics.evaluate(scores, labels, multi_label=True)
    # Tag 0: positives 0.9, 0.3 against 0.4, 0.1: 3 of 4 pairs in order. Tag 1: 0.3, 0.8 against
    # 0.2, 0.4: 3 of 4.
    assert results["roc_auc"] == pytest.approx(0.75)
    # Both rank positives first and third: (1/1 + 2/3) / 2.
    assert results["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert results["average_precision_chance"] == pytest.approx(0.5)
    assert results["tags_evaluated"] == 2
    # Top tags are 0, 3, 1, 2; the first positive tags are 0, 1, 0, 3.
    assert results["argmax_accuracy"] == 0.25
    assert results["untagged_clips"] == 0
    assert results["top1_hit"] == 0.75
    assert results["roc_auc_chance"] == 0.5


def test_tag_metrics_without_evaluable_tags():
    results = metrics.evaluate(np.full((3, 2), 0.5), np.zeros((3, 2), int), multi_label=True)
    assert np.isnan(results["roc_auc"])
    assert np.isnan(results["average_precision"])
    assert results["tags_evaluated"] == 0


def test_wilson_interval_of_published_example():
    # Brown, Cai and DasGupta (2001): 0 of 10 gives 0 to 0.2775.
    low, high = metrics.wilson_interval(0, 10)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(0.2775, abs=1e-4)


def test_confusion_matrix_rows_are_true_classes():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert genre_metrics.confusion_matrix(scores, np.array([0, 0, 1])).tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("decimals", [1, 8])  # 1: most scores tie
def test_tag_metrics_equal_scikit_learn(decimals: int):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 9), np.uint8)
    labels[:, 0], labels[:, 1] = (
        np.arange(60) == 7,
        np.arange(60) != 7,
    )  # one positive, one negative
    scores = rng.random((60, 9), np.float32).round(decimals)
    results = tag_metrics.per_tag(scores, labels)
    for tag in range(9):
        truth, score = labels[:, tag], scores[:, tag]
        assert results["roc_auc"][tag] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        expected = average_precision_score(truth, score)
        assert results["average_precision"][tag] == pytest.approx(expected, abs=1e-12)

"""Metrics of scores against labels."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from deepgenre.errors import UserError
from deepgenre.evaluation import calibration, genre_metrics, metrics, tag_metrics


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


def test_clips_without_tags_are_no_hits_of_the_argmax():
    labels = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]], np.uint8)
    scores = np.array([[0.9, 0.1, 0.1], [0.2, 0.8, 0.1], [0.7, 0.2, 0.1], [0.1, 0.2, 0.9]])
    results = metrics.evaluate(scores, labels, multi_label=True)
    # The first class has the highest score on both clips without a tag, where argmax is 0 as well.
    assert results["untagged_clips"] == 2
    assert results["argmax_accuracy"] == 0.5  # of the two clips with a tag
    assert results["top1_hit"] == 0.5  # of all four: there is no tag to hit


def test_argmax_accuracy_without_any_tag_is_undefined():
    results = metrics.evaluate(np.full((3, 2), 0.5), np.zeros((3, 2), np.uint8), multi_label=True)
    assert np.isnan(results["argmax_accuracy"])
    assert results["untagged_clips"] == 3
    assert results["top1_hit"] == 0


def random_tags(clips=80, tags=7):
    rng = np.random.default_rng(2)
    labels = (rng.random((clips, tags)) < 0.25).astype(np.uint8)
    return (0.4 * labels + 0.6 * rng.random((clips, tags))).astype(np.float32), labels


def test_tag_averages_equal_scikit_learn():
    scores, labels = random_tags()
    thresholds = np.linspace(0.3, 0.6, 7)
    results = metrics.evaluate(scores, labels, multi_label=True, thresholds=thresholds)
    predicted = scores >= thresholds
    expected = {
        "roc_auc": roc_auc_score(labels, scores, average="macro"),
        "micro_roc_auc": roc_auc_score(labels, scores, average="micro"),
        "average_precision": average_precision_score(labels, scores, average="macro"),
        "micro_average_precision": average_precision_score(labels, scores, average="micro"),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "micro_f1": f1_score(labels, predicted, average="micro"),
        "precision_at_3": np.mean([row[np.argsort(-score)[:3]].mean()
                                   for row, score in zip(labels, scores, strict=True)]),
        "calibration_error": calibration.calibration_error(scores, labels, multi_label=True),
    }  # fmt: skip
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, abs=1e-9), name
    assert "precision_at_10" not in results  # there are seven tags
    chance = metrics.evaluate(np.ones_like(scores), labels, multi_label=True)
    for name in ("average_precision", "micro_average_precision", "macro_f1", "micro_f1"):
        assert results[f"{name}_chance"] == pytest.approx(chance[name], abs=1e-9), name


def test_genre_averages_equal_scikit_learn():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, 90).astype(np.int32)
    scores = rng.dirichlet(np.ones(5), 90)  # the fifth class has no clip, but is predicted
    scores[np.arange(90), labels] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    results = metrics.evaluate(scores, labels, multi_label=False)
    predicted = scores.argmax(axis=1)
    theirs = f1_score(labels, predicted, labels=range(4), average="macro")
    assert results["macro_f1"] == pytest.approx(theirs, abs=1e-9)
    error = calibration.calibration_error(scores, labels, multi_label=False)
    assert results["calibration_error"] == pytest.approx(error, abs=1e-9)
    precision, recall, f1, support = map(
        np.asarray, precision_recall_fscore_support(labels, predicted, labels=range(5))
    )
    columns = genre_metrics.per_class(scores, labels)
    np.testing.assert_array_equal(columns["support"], support)
    np.testing.assert_allclose(columns["precision"], precision, atol=1e-9)
    np.testing.assert_allclose(columns["recall"][:4], recall[:4], atol=1e-9)
    np.testing.assert_allclose(columns["f1"][:4], f1[:4], atol=1e-9)
    assert np.isnan([columns["recall"][4], columns["f1"][4]]).all()


def test_best_thresholds_have_the_highest_f1():
    scores, labels = random_tags()
    labels[:, 3] = 0
    best = tag_metrics.best_thresholds(scores, labels)
    assert best[3] == tag_metrics.THRESHOLD
    found = tag_metrics.per_tag(scores, labels, best)["f1"]
    for tag in (0, 1, 2, 4, 5, 6):
        tried = [f1_score(labels[:, tag], scores[:, tag] >= t) for t in np.linspace(0, 1, 2001)]
        assert found[tag] == pytest.approx(max(tried), abs=1e-9)


def test_best_threshold_lies_outside_of_ties():
    scores = np.array([[0.9], [0.5], [0.5], [0.5], [0.1]], np.float32)
    labels = np.array([[1], [1], [0], [0], [0]], np.uint8)
    (threshold,) = tag_metrics.best_thresholds(scores, labels)
    assert threshold == pytest.approx(0.7)  # F1 2/3; 0.5 is not to be split into right and wrong


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_that_are_not_finite_are_refused(multi_label):
    labels = np.eye(2, dtype=np.uint8) if multi_label else np.array([0, 1])
    with pytest.raises(UserError, match="the scores of 1 of 2 clips are not finite"):
        metrics.evaluate(np.array([[0.5, 0.5], [np.nan, 0.5]]), labels, multi_label=multi_label)
    with pytest.raises(UserError, match="no clip to evaluate"):
        metrics.evaluate(np.zeros((0, 2)), labels[:0], multi_label=multi_label)

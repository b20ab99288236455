import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from deepgenre.evaluation import metrics


def test_genre_metrics_by_hand():
    scores = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    found = metrics.evaluate(scores, np.array([0, 1, 1, 2]), multi_label=False)
    assert found["accuracy"] == 0.75
    assert found["accuracy_chance"] == 0.5  # two of four are class 1
    assert found["loss"] == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.8]).mean())
    assert found["accuracy_low"] < 0.75 < found["accuracy_high"]
    assert found["clips"] == 4


def test_tag_metrics_by_hand():
    # Tag 2 has no positive clip and tag 3 no negative one: neither can be judged.
    labels = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
    scores = np.array(
        [[0.9, 0.2, 0.1, 0.5], [0.4, 0.3, 0.1, 0.5], [0.3, 0.8, 0.1, 0.5], [0.1, 0.4, 0.6, 0.5]]
    )
    found = metrics.evaluate(scores, labels, multi_label=True)
    # Tag 0: positives 0.9, 0.3 against 0.4, 0.1: 3 of 4 pairs in order. Tag 1: 0.3, 0.8 against
    # 0.2, 0.4: 3 of 4.
    assert found["roc_auc"] == pytest.approx(0.75)
    # Both rank positives first and third: (1/1 + 2/3) / 2.
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["average_precision_chance"] == pytest.approx(0.5)
    assert found["tags_evaluated"] == 2
    # Top tags are 0, 3, 1, 2; the first true tags are 0, 1, 0, 3.
    assert found["argmax_accuracy"] == 0.25
    assert found["top1_hit"] == 0.75
    assert found["roc_auc_chance"] == 0.5


def test_tag_metrics_where_no_tag_can_be_judged():
    found = metrics.evaluate(np.full((3, 2), 0.5), np.zeros((3, 2), int), multi_label=True)
    assert np.isnan(found["roc_auc"])
    assert np.isnan(found["average_precision"])
    assert found["tags_evaluated"] == 0


def test_wilson_interval_of_a_published_example():
    # Brown, Cai and DasGupta (2001): 0 of 10 gives 0 to 0.2775.
    low, high = metrics.wilson_interval(0, 10)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(0.2775, abs=1e-4)


def test_confusion_counts_true_by_said():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert metrics.confusion(scores, np.array([0, 0, 1]), 2).tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("decimals", [1, 8])  # 1: most scores tie
def test_tag_metrics_are_scikit_learns(decimals: int):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 9), np.uint8)
    labels[:, 0], labels[:, 1] = (
        np.arange(60) == 7,
        np.arange(60) != 7,
    )  # one positive, one negative
    scores = rng.random((60, 9), np.float32).round(decimals)
    found = metrics.tag_metrics(scores, labels)
    for tag in range(9):
        truth, said = labels[:, tag], scores[:, tag]
        assert found["roc_auc"][tag] == pytest.approx(roc_auc_score(truth, said), abs=1e-12)
        wanted = average_precision_score(truth, said)
        assert found["average_precision"][tag] == pytest.approx(wanted, abs=1e-12)

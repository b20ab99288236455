"""Paired comparison of two models."""

import numpy as np
import pytest
import scipy.stats

from deepgenre.errors import UserError
from deepgenre.evaluation import genre_metrics, metrics, paired


def one_hot(predicted: np.ndarray, classes: int = 3) -> np.ndarray:
    """Returns scores whose highest is the class predicted."""
    return 0.8 * np.eye(classes)[predicted] + 0.2 / classes


def compare(a, b, labels, groups=None, **options):
    groups = np.arange(len(labels)).astype(str) if groups is None else groups
    options = {"multi_label": False, "num_draws": 500, "seed": 0, **options}
    return paired.compare_paired(a, b, labels, groups, **options)


def test_mcnemar_of_a_textbook_table():
    # Only discordant clips count: 5 against 15 of any number.
    hits_a = np.array([True] * 5 + [False] * 15 + [True] * 60)
    hits_b = np.array([False] * 5 + [True] * 15 + [True] * 60)
    result = paired.mcnemar(hits_a, hits_b)
    assert result["only_a"] == 5
    assert result["only_b"] == 15
    assert result["p"] == pytest.approx(2 * scipy.stats.binom.cdf(5, 20, 0.5))
    assert paired.mcnemar(hits_a, hits_a) == {"only_a": 0, "only_b": 0, "p": 1.0}


def test_equal_models_do_not_differ():
    labels = np.arange(60) % 3
    scores = one_hot((labels + (np.arange(60) % 4 == 0)) % 3)
    result = compare(scores, scores, labels)
    for one in result["metrics"].values():
        assert one["difference"] == one["low"] == one["high"] == 0
        assert one["p"] == 1
    assert result["metrics_by_group_bootstrap"] == {}


def test_a_better_model_is_found_where_separate_intervals_overlap():
    labels = np.arange(300) % 3
    worse = np.arange(300) % 10 < 4  # both models are wrong on 100 clips, b on 20 more
    both = np.arange(300) < 100
    a = one_hot(np.where(both, (labels + 1) % 3, labels))
    b = one_hot(np.where(both | (worse & (np.arange(300) > 249)), (labels + 1) % 3, labels))
    result = compare(a, b, labels)
    accuracy = result["metrics"]["accuracy"]
    assert accuracy["a"] == pytest.approx(2 / 3)
    assert accuracy["difference"] == pytest.approx(20 / 300)
    assert accuracy["low"] > 0
    assert accuracy["p"] < 0.01
    assert result["mcnemar"]["only_a"] == 20
    assert result["mcnemar"]["p"] < 1e-4
    # Yet the intervals of the two accuracies overlap.
    assert metrics.wilson_interval(200, 300)[0] < metrics.wilson_interval(180, 300)[1]


def test_groups_that_agree_make_the_difference_less_certain():
    labels = np.arange(200) % 3
    groups = np.repeat(np.arange(10), 20)
    wrong = groups == 9
    a, b = one_hot(labels), one_hot(np.where(wrong, (labels + 1) % 3, labels))
    result = compare(a, b, labels, groups.astype(str))
    assert result["groups"] == 10
    by_clip = result["metrics"]["accuracy"]
    by_group = result["metrics_by_group_bootstrap"]["accuracy"]
    assert by_group["difference"] == by_clip["difference"] == pytest.approx(0.1)
    assert by_clip["low"] > 0
    assert by_group["low"] == 0  # a resample may lack the only group that differs
    assert by_group["p"] > 0.3


def test_tags_are_compared_by_all_their_metrics():
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 4)) < 0.3).astype(np.uint8)
    good = (labels * 0.5 + rng.random((200, 4)) * 0.5).astype(np.float32)
    poor = rng.random((200, 4)).astype(np.float32)
    result = compare(good, poor, labels, multi_label=True)
    assert result["metrics"]["roc_auc"]["low"] > 0.3
    assert result["metrics"]["roc_auc"]["p"] == pytest.approx(2 / 501)
    assert result["mcnemar"]["p"] < 1e-6


def test_p_values_of_equally_good_models_are_uniform():
    rng = np.random.default_rng(3)
    small = 0
    for trial in range(60):
        labels = rng.integers(0, 3, 80)
        a, b = (one_hot(np.where(rng.random(80) < 0.6, labels, (labels + 1) % 3)) for _ in "ab")
        small += compare(a, b, labels, num_draws=200, seed=trial)["metrics"]["accuracy"]["p"] < 0.05
    assert small <= 9  # of 60, 3 are expected; more than 9 has a probability of 0.1 %


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b, labels: (a, b[:, :2], labels), "do not fit"),
        (lambda a, b, labels: (a, b, labels[:3]), "do not fit"),
        (lambda a, b, labels: (a, np.where(labels[:, None] == 1, np.nan, b), labels), "not finite"),
        (lambda a, b, labels: (a[:0], b[:0], labels[:0]), "no clip"),
    ],
)
def test_scores_that_cannot_be_compared_are_reported(change, message):
    labels = np.arange(9) % 3
    with pytest.raises(UserError, match=message):
        compare(*change(one_hot(labels), one_hot(labels), labels))


def test_top_hits_are_the_hits_of_the_accuracy():
    labels = np.arange(30) % 3
    scores = one_hot((labels + (np.arange(30) % 5 == 0)) % 3)
    hits = paired.top_hits(scores, labels, multi_label=False)
    once = np.ones((30, 1), np.int32)
    assert hits.mean() == genre_metrics.compute(scores, labels, once)["accuracy"][0]

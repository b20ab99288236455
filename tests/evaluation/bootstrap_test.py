"""Resamples of clips and groups, and their intervals."""

import numpy as np
import pytest

from deepgenre.evaluation import bootstrap, genre_metrics


def test_resamples_draw_as_many_clips_as_there_are():
    counts = np.concatenate(list(bootstrap.resamples(np.arange(50), num_draws=250)), axis=1)
    assert counts.shape == (50, 250)
    assert (counts.sum(axis=0) == 50).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # of a binomial
    other = next(bootstrap.resamples(np.arange(50), num_draws=100, seed=1))
    assert (counts[:, :100] != other).any()
    again = next(bootstrap.resamples(np.arange(50), num_draws=100))
    np.testing.assert_array_equal(counts[:, :100], again)


def test_clips_of_a_group_are_drawn_together():
    groups = bootstrap.group_indices(["b", "a", "b", "c", "a"])
    assert groups.tolist() == [1, 0, 1, 2, 0]
    counts = next(bootstrap.resamples(groups, num_draws=100))
    np.testing.assert_array_equal(counts[0], counts[2])
    np.testing.assert_array_equal(counts[1], counts[4])
    assert (counts[[1, 0, 3]].sum(axis=0) == 3).all()  # three groups are drawn


def test_interval_of_an_accuracy_is_that_of_the_binomial():
    labels = np.zeros(400, np.int64)
    scores = np.where(np.arange(400)[:, None] < 300, [0.9, 0.1], [0.1, 0.9])  # 75 % right
    drawn = bootstrap.distribution(
        lambda counts: genre_metrics.compute(scores, labels, counts), np.arange(400)
    )
    low, high = bootstrap.interval(drawn["accuracy"])
    deviation = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * deviation, abs=0.006)
    assert high == pytest.approx(0.75 + 1.96 * deviation, abs=0.006)


def test_groups_give_a_wider_interval_where_their_clips_agree():
    groups = np.repeat(np.arange(20), 20)
    labels = np.zeros(400, np.int64)
    scores = np.where(groups[:, None] < 15, [0.9, 0.1], [0.1, 0.9])  # whole groups are right
    widths = []
    for resampled in (np.arange(400), groups):
        drawn = bootstrap.distribution(
            lambda counts: genre_metrics.compute(scores, labels, counts), resampled
        )
        widths.append(np.diff(bootstrap.interval(drawn["accuracy"]))[0])
    assert widths[1] > 3 * widths[0]  # sqrt(20) times


def test_interval_leaves_out_what_is_undefined():
    assert bootstrap.interval(np.array([np.nan, 0.5, np.nan])) == (0.5, 0.5)
    assert np.isnan(bootstrap.interval(np.array([np.nan]))).all()

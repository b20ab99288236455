"""Balanced sampling: shares of classes, in every epoch and over all."""

import numpy as np
import pytest

from deepgenre.data.balance import balanced, draw
from deepgenre.data.sampling import Order


def draws(labels: np.ndarray, epochs: int) -> np.ndarray:
    """Returns clip indices, int64 (epochs, clips)."""
    balance = balanced(labels)
    return np.stack([draw(balance, np.random.default_rng(seed)) for seed in range(epochs)])


@pytest.mark.parametrize("counts", [(50, 5, 5), (97, 2, 1), (10, 10, 10), (1, 1, 31)])
def test_every_epoch_has_each_genre_as_often_to_within_a_clip(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts))
    drawn = draws(labels, epochs=20)
    for epoch in drawn:
        per_genre = np.bincount(labels[epoch], minlength=3)
        assert np.abs(per_genre - len(labels) / 3).max() < 1 + 1e-9


def test_clips_of_a_genre_are_drawn_equally_often():
    labels = np.repeat([0, 1], [30, 6])
    times = np.bincount(draws(labels, epochs=400).ravel(), minlength=36) / 400
    np.testing.assert_allclose(times[:30], 18 / 30, atol=0.1)
    np.testing.assert_allclose(times[30:], 3, atol=0.1)


def test_of_a_rare_class_every_clip_is_in_every_epoch():
    labels = np.repeat([0, 1], [90, 10])
    for epoch in draws(labels, epochs=10):
        assert set(range(90, 100)) <= set(epoch.tolist())


def test_epochs_differ_and_are_in_random_order():
    labels = np.repeat([0, 1], [30, 30])
    one, two = draws(labels, epochs=2)
    assert (one != two).any()
    assert 10 < np.abs(np.diff(labels[one])).sum() < 50


def test_rare_tags_are_drawn_more_often():
    labels = np.zeros((100, 2), np.uint8)
    labels[:80, 0], labels[80:85, 1] = 1, 1  # 80 clips, 5 clips, and 15 without tags
    shares = balanced(labels).shares
    np.testing.assert_allclose(shares.sum(), 1)
    np.testing.assert_allclose(shares[80:85].sum(), shares[:80].sum())
    np.testing.assert_allclose(shares[85:], shares[0])
    times = np.bincount(draws(labels, epochs=100).ravel(), minlength=100) / 100
    np.testing.assert_allclose(times, 100 * shares, atol=0.2)


@pytest.mark.parametrize("labels", [np.zeros((6, 2), np.uint8), np.zeros(6, np.int32)])
def test_labels_without_a_difference_are_drawn_once_each(labels):
    assert sorted(draw(balanced(labels), np.random.default_rng(0))) == list(range(6))


def test_order_with_a_balance_is_a_function_of_seed_and_batch():
    labels = np.repeat([0, 1], [90, 10])
    frames = np.full(100, 50)
    orders = [Order(frames, 20, 8, seed=3, balance=balanced(labels)) for _ in range(2)]
    for number in (40, 0, 12, 13):
        one, two = (order.batch(number) for order in orders)
        np.testing.assert_array_equal(one, two)
    seen = np.concatenate([orders[0].batch(number)[0] for number in range(25)])  # two epochs
    assert np.bincount(labels[seen]).tolist() == [100, 100]

"""Change points: exact on small series, and none in noise."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from deepgenre.inference.change_points import change_points, segment


def cost(values, bounds, penalty):
    parts = [values[a:b] for a, b in itertools.pairwise([0, *bounds, len(values)])]
    within = sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts)
    return within + penalty * len(bounds)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1000),
    length=st.integers(1, 10),
    least=st.integers(1, 3),
    penalty=st.floats(0.01, 5),
)
def test_segmentation_has_the_least_cost_of_all(seed, length, least, penalty):
    values = np.random.default_rng(seed).normal(size=(length, 2))
    every = [
        bounds
        for count in range(length)
        for bounds in itertools.combinations(range(1, length), count)
        if min(np.diff([0, *bounds, length])) >= least or not bounds
    ]
    found = segment(values, least, penalty)
    assert cost(values, found, penalty) == pytest.approx(
        min(cost(values, bounds, penalty) for bounds in every)
    )


def test_steps_are_found_and_noise_is_not_marked():
    rng = np.random.default_rng(0)
    levels = np.repeat([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], (40, 30, 50), axis=0)
    assert change_points(levels + rng.normal(0, 0.05, levels.shape), 5) == [40, 70]
    assert change_points(0.5 + rng.normal(0, 0.1, (400, 3)), 5) == []
    assert change_points(np.full((100, 2), 0.5), 5) == []


@pytest.mark.parametrize("length", [0, 1, 5, 9])
def test_a_short_series_has_none(length):
    assert change_points(np.arange(2 * length).reshape(length, 2) % 2, 5) == []


def test_hours_take_seconds():
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.random((60, 50)), 200, axis=0)  # 10 hours of 3 s windows
    found = change_points(levels + rng.normal(0, 0.1, levels.shape), 3)
    assert found == list(range(200, 12_000, 200))

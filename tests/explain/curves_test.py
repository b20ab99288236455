"""Curves: random orders are of the segments that the map orders."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from deepgenre.explain.curves import area, curves

TIMES, BANDS = 32, 16


def test_a_map_of_times_is_compared_with_random_orders_of_times():
    """The score is the share of times that are whole: random cells leave none."""
    target: Any = SimpleNamespace(
        values=jnp.ones((TIMES, BANDS)),
        key=jax.random.key(0),
        scores=lambda planes: planes.min(axis=2).mean(axis=1),
    )
    times = jnp.broadcast_to(jnp.arange(TIMES)[:, None], (TIMES, BANDS))
    cells = jax.random.uniform(jax.random.key(1), (TIMES, BANDS))
    of_times, of_cells = curves(target, jnp.stack([times, cells]), (True, False))
    for curve in (of_times.random_deletion, of_times.random_insertion, of_times.deletion):
        assert area(curve) == pytest.approx(0.5)
    assert max(area(of_cells.random_deletion), area(of_cells.random_insertion)) < 0.15

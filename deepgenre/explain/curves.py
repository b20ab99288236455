"""Deletion and insertion: how the score falls and rises with the parts that a map calls important.

V. Petsiuk, A. Das and K. Saenko, "RISE", BMVC 2018, arXiv:1806.07421. Segments of a grid are set to
0, or restored on an empty plane, the most important first. Random orders of the same segments are
the comparison: single cells would be noise, which destroys any score. For a map that shows times
only, the segments are whole times, in both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepgenre.explain.grid import grid
from deepgenre.explain.target import Target, by_batches

CELLS = (16, 16)  # of the grid: times, bands
STEPS = 16  # of each curve
RANDOM_ORDERS = 8


class Curves(NamedTuple):
    """Scores of the target after each step: the first is before any."""

    deletion: jax.Array  # float32 (STEPS + 1,), of the map
    insertion: jax.Array
    random_deletion: jax.Array  # means of RANDOM_ORDERS orders
    random_insertion: jax.Array


def curves(target: Target, maps: jax.Array, times_only: Sequence[bool]) -> list[Curves]:
    """Returns the curves of each of the maps, (maps, frames, bands).

    times_only: of each map, whether all bands are equal, and compared with random orders of times.
    """
    cells = grid(target.values.shape, CELLS)
    keys = jax.random.split(target.key, RANDOM_ORDERS)
    random = jax.vmap(lambda key: jax.random.uniform(key, cells.shape))(keys)
    of_times = [jnp.broadcast_to(random[:, :, :1], random.shape)] if any(times_only) else []
    orders = jnp.concatenate([cells.means(maps), random, *of_times])
    ranks = jnp.argsort(jnp.argsort(-orders.reshape(len(orders), -1)))  # 0: the most important
    steps = jnp.arange(STEPS + 1) / STEPS * ranks.shape[1]
    inserted = ranks[:, None] < steps[None, :, None]
    masks = jnp.stack([~inserted, inserted], axis=1).astype(jnp.float32)

    def scores(masks: jax.Array) -> jax.Array:
        return target.scores(cells.spread(masks) * target.values[None])

    found = by_batches(scores, masks.reshape(-1, *cells.shape))
    found = found.reshape(len(orders), 2, STEPS + 1)
    at_random = found[len(maps) :].reshape(-1, RANDOM_ORDERS, *found.shape[1:]).mean(axis=1)
    return [
        Curves(*one, *at_random[int(times)])
        for one, times in zip(found[: len(maps)], times_only, strict=True)
    ]


def area(curve: jax.Array) -> float:
    """Returns the area under a curve (STEPS + 1,), 0..1: the mean score."""
    return float((curve[:-1] + curve[1:]).mean() / 2)

"""Methods that set parts of the plane to 0 and compare logits; they need no gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.explain.grid import Grid, grid
from deepgenre.explain.target import Attribution, Target, by_batches, relative_error

CELLS = (20, 16)  # of the grid on which patches move: times, bands
PATCH = 2  # cells along each axis: patches overlap by half
SEGMENTS = (10, 6)  # of SHAP: times, bands
COALITIONS = 1024  # of segments, drawn in complementary pairs


def occlusion(target: Target) -> Attribution:
    """Returns the mean loss of the logit over the patches of time x bands that cover a cell.

    M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014,
    arXiv:1311.2901.
    """
    cells = grid(target.values.shape, CELLS)
    starts = [range(max(1, size - PATCH + 1)) for size in cells.shape]
    covered = np.zeros((len(starts[0]) * len(starts[1]), *cells.shape), np.float32)
    for patch, (time, band) in zip(covered, np.ndindex(*map(len, starts)), strict=True):
        patch[time : time + PATCH, band : band + PATCH] = 1
    logits = _logits_of(target, cells, 1 - jnp.asarray(covered))
    losses = target.logits(target.values[None]) - logits
    per_cell = losses / (covered * cells.sizes).sum(axis=(1, 2))
    mean = jnp.einsum("p,ptb->tb", per_cell, covered) / covered.sum(axis=0)
    return Attribution(cells.spread(mean), jnp.array(jnp.nan))


def shap(target: Target) -> Attribution:
    """Returns the Shapley values of segments of time x bands, each spread evenly over its cells.

    KernelSHAP (S. Lundberg and S.-I. Lee, "A unified approach to interpreting model predictions",
    NeurIPS 2017, arXiv:1705.07874) on segments in the manner of audioLIME (V. Haunschmid et al.,
    2020, arXiv:2008.00582), which separates sources instead. Coalitions are drawn by the Shapley
    kernel in complementary pairs (I. Covert and S.-I. Lee, AISTATS 2021, arXiv:2012.01536). Their
    sum is the difference of the logits of the window and the empty plane.
    """
    segments = grid(target.values.shape, SEGMENTS)
    present = coalitions(segments.sizes.size)
    masks = jnp.asarray(present.reshape(-1, *segments.shape), jnp.float32)
    logits = _logits_of(target, segments, masks)
    expected = target.difference()
    empty = target.logits(jnp.zeros_like(target.values)[None])
    shares = constrained_least_squares(present, logits - empty, expected)
    attribution = segments.spread(shares.reshape(segments.shape) / segments.sizes)
    return Attribution(attribution, relative_error(attribution.sum(), expected))


def _logits_of(target: Target, cells: Grid, masks: jax.Array) -> jax.Array:
    """Returns the logits (masks,) of the plane with each mask, (masks, *cells.shape), on it."""
    return by_batches(lambda some: target.logits(cells.spread(some) * target.values[None]), masks)


def coalitions(players: int) -> np.ndarray:
    """Returns float64 (COALITIONS, players): 1 where a player is in the coalition.

    Sizes are drawn by the weights of the Shapley kernel; every second row is the complement of the
    one before. The same rows for every window.
    """
    generator = np.random.default_rng(0)
    sizes = np.arange(1, players)
    weights = 1.0 / (sizes * (players - sizes))
    rows = []
    for size in generator.choice(sizes, COALITIONS // 2, p=weights / weights.sum()):
        row = np.zeros(players)
        row[generator.permutation(players)[:size]] = 1
        rows += [row, 1 - row]
    return np.stack(rows)


def constrained_least_squares(rows: np.ndarray, values: jax.Array, total: jax.Array) -> jax.Array:
    """Returns the x, (columns,), with the sum `total` that minimises |rows @ x - values|."""
    reduced = rows[:, :-1] - rows[:, -1:]
    solution = np.linalg.solve(reduced.T @ reduced, reduced.T)  # of the first columns
    first = jnp.asarray(solution, jnp.float32) @ (values - rows[:, -1] * total)
    return jnp.append(first, total - first.sum())

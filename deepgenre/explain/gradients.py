"""Methods by the gradient of the logit: all multiply it with the plane, whose baseline is 0."""

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.explain.target import BATCH, Attribution, Target, by_batches, relative_error

NOISE = 0.15  # deviation of SmoothGrad's noise, of the range of the plane's values, as in the paper
NOISY_PLANES = 32
STEPS = 64  # of integrated gradients
DOUBLINGS = 4  # of them, at most
MAX_STEPS = STEPS << DOUBLINGS
FAINTEST = 1e-8  # times the window: with this, all that is not exactly the empty plane has begun
TOLERANCE = 0.01  # of the completeness; above it, the number of steps is doubled


def gradient(target: Target) -> Attribution:
    """Returns gradient x input: to first order, what the logit loses when a cell is set to 0.

    A. Shrikumar et al., "Not just a black box", 2016, arXiv:1605.01713; without the input: K.
    Simonyan et al., 2013, arXiv:1312.6034.
    """
    (slope,) = target.gradients(target.values[None])
    return Attribution(target.values * slope, jnp.array(jnp.nan))


def smoothgrad(target: Target) -> Attribution:
    """Returns the mean gradient of noisy copies x input.

    D. Smilkov et al., "SmoothGrad", 2017, arXiv:1706.03825.
    """
    deviation = NOISE * (target.values.max() - target.values.min())
    deviation = jnp.where(deviation > 0, deviation, NOISE)  # of gains, all 1
    keys = jax.random.split(target.key, NOISY_PLANES)

    def slopes(keys: jax.Array) -> jax.Array:
        noise = jax.vmap(lambda key: jax.random.normal(key, target.values.shape))(keys)
        return target.gradients(target.values[None] + deviation * noise)

    return Attribution(target.values * by_batches(slopes, keys).mean(axis=0), jnp.array(jnp.nan))


def integrated_gradients(target: Target) -> Attribution:
    """Returns the gradient integrated from the empty plane to the window, x input.

    Its sum is the logit of the window minus that of its faintest copy, FAINTEST times the window:
    the same as that of the empty plane, but for networks that jump there (shares of values above 0
    of `kernel_ridge`). The number of steps is doubled from STEPS until that holds to TOLERANCE, or
    up to MAX_STEPS. M. Sundararajan et al., "Axiomatic attribution for deep networks", ICML 2017,
    arXiv:1703.01365.
    """
    window, faintest = target.logits(jnp.stack([target.values, FAINTEST * target.values]))
    paths = [path(STEPS << doublings) for doublings in range(DOUBLINGS + 1)]
    fractions, widths = (
        jnp.asarray([np.pad(one, (0, MAX_STEPS - one.size)) for one in each], jnp.float32)
        for each in zip(*paths, strict=True)
    )

    def integrate(level: jax.Array) -> tuple[jax.Array, jax.Array]:
        def add_batch(index: jax.Array, total: jax.Array) -> jax.Array:
            at, width = (
                jax.lax.dynamic_slice_in_dim(each[level], index * BATCH, BATCH)[:, None, None]
                for each in (fractions, widths)
            )
            return total + (width * target.gradients(at * target.values[None])).sum(axis=0)

        batches = (STEPS // BATCH) << level
        total = jax.lax.fori_loop(0, batches, add_batch, jnp.zeros_like(target.values))
        integrated = target.values * total
        return integrated, relative_error(integrated.sum(), window - faintest)

    def refine(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return (state[0] + 1, *integrate(state[0]))

    def is_coarse(state: tuple[jax.Array, ...]) -> jax.Array:
        return (state[2] > TOLERANCE) & (state[0] <= DOUBLINGS)

    first: tuple[jax.Array, ...] = (
        jnp.array(0),
        jnp.zeros_like(target.values),
        jnp.array(jnp.inf),
    )
    _, integrated, error = jax.lax.while_loop(is_coarse, refine, first)
    return Attribution(integrated, error)


def path(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the gradient is evaluated from 0 to 1, and widths, float64 (steps,) each.

    Steps are equal, but the first is divided again and again: features that are relative to their
    norm or deviation, or logarithms, change most where the plane is nearly empty.
    """
    fine = steps // 4
    equal = steps - fine
    faint = np.geomspace(FAINTEST, 1 / equal, fine + 1)
    edges = np.concatenate([[0], faint, np.arange(2, equal + 1) / equal])
    fractions = (edges[1:] + edges[:-1]) / 2
    fractions[1 : fine + 1] = np.sqrt(faint[1:] * faint[:-1])
    return fractions, np.diff(edges)

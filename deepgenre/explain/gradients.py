"""Methods by the gradient of the logit: all multiply it with the plane, whose baseline is 0."""

import jax
import jax.numpy as jnp

from deepgenre.explain.target import BATCH, Attribution, Target, by_batches, relative_error

NOISE = 0.15  # deviation of SmoothGrad's noise, of the range of the plane's values, as in the paper
NOISY_PLANES = 32
STEPS = 64  # of integrated gradients
MAX_STEPS = 1024
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

    Its sum is the difference of their logits: the number of steps is doubled from STEPS until that
    holds to TOLERANCE, or up to MAX_STEPS. M. Sundararajan et al., "Axiomatic attribution for deep
    networks", ICML 2017, arXiv:1703.01365.
    """
    expected = target.difference()

    def integrate(steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        def add_batch(index: jax.Array, total: jax.Array) -> jax.Array:
            fractions = (index * BATCH + jnp.arange(BATCH) + 0.5) / steps
            return total + target.gradients(fractions[:, None, None] * target.values[None]).sum(
                axis=0
            )

        zero = jnp.zeros_like(target.values)
        total = jax.lax.fori_loop(0, steps // BATCH, add_batch, zero)
        integrated = target.values * total / steps
        return integrated, relative_error(integrated.sum(), expected)

    def refine(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        steps = 2 * state[0]
        return (steps, *integrate(steps))

    def is_coarse(state: tuple[jax.Array, ...]) -> jax.Array:
        return (state[2] > TOLERANCE) & (state[0] < MAX_STEPS)

    first: tuple[jax.Array, ...] = (
        jnp.array(STEPS // 2),
        jnp.zeros_like(target.values),
        jnp.array(jnp.inf),
    )
    _, integrated, error = jax.lax.while_loop(is_coarse, refine, first)
    return Attribution(integrated, error)

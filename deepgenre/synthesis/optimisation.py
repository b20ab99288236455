"""Gradient descent on the mel spectrogram of a clip, towards an objective and a prior."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.fft

from deepgenre import log
from deepgenre.errors import UserError

SLOW = 1 / 64  # cycles per frame or band, from which on modulations are fast
CHUNK_STEPS = 20  # between two looks at the loss, which wait for the device
# (key, variables, decibels (frames, n_mels)) -> loss
Loss = Callable[[jax.Array, Any, jax.Array], jax.Array]
# (start in dB (frames, n_mels), variables, seed, title of the progress line) -> the spectrogram
# reached, float32 (frames, n_mels), and the loss with the prior at each step. Raises UserError
# where the loss is not finite.
Descent = Callable[[np.ndarray, Any, int, str], tuple[np.ndarray, list[float]]]


@dataclasses.dataclass(frozen=True)
class Prior:
    """Which changes of a spectrogram are likely: small ones, and smooth rather than rough ones."""

    distance: float  # cost of the mean squared change, in units of the objective per dB squared
    smoothness: float  # exponent of the fall of likely changes with the frequency of modulation


def waves(sizes: tuple[int, int], smoothness: float) -> Callable[[jax.Array], jax.Array]:
    """Returns the function of coefficients (frames, n_mels) to a change in dB of the same shape.

    The change is a sum of cosines over time and bands, orthonormal, and coefficients of fast
    modulations count less: by (1 + (frequency / SLOW)^2) ^ (-smoothness / 2), with mean square 1.
    Steps of equal size in the coefficients are then smooth changes first, as spectrograms are
    themselves (C. Olah, A. Mordvintsev and L. Schubert, "Feature visualization", 2017).
    """
    left, right = (np.asarray(scipy.fft.idct(np.eye(n), axis=0, norm="ortho")) for n in sizes)
    frames, bands = (np.arange(n) / (2 * n) for n in sizes)  # cycles per frame, per band
    ratio = np.add.outer(np.square(frames), np.square(bands)) / SLOW**2
    scale = (1 + ratio) ** (-smoothness / 2)
    scale = jnp.asarray(scale / np.sqrt(np.square(scale).mean()), jnp.float32)
    over_time, over_bands = jnp.asarray(left, jnp.float32), jnp.asarray(right.T, jnp.float32)
    return lambda coefficients: over_time @ (scale * coefficients) @ over_bands


def compile_descent(
    loss: Loss, prior: Prior, shape: tuple[int, int], *, steps: int, step_db: float
) -> Descent:
    """Returns the function that lowers a loss by Adam, from spectrograms of a shape.

    step_db: the root mean square of the largest step, which falls to 0 along a cosine.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(step_db, steps))
    change_of = waves(shape, prior.smoothness)

    def total(
        coefficients: jax.Array, start_db: jax.Array, key: jax.Array, variables: Any
    ) -> jax.Array:
        change_db = change_of(coefficients)
        cost = prior.distance * jnp.square(change_db).mean()
        return loss(key, variables, start_db + change_db) + cost

    @jax.jit
    def run_chunk(
        carry: Any, start_db: jax.Array, keys: jax.Array, variables: Any
    ) -> tuple[Any, jax.Array]:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            coefficients, state = carry
            value, gradient = jax.value_and_grad(total)(coefficients, start_db, key, variables)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(coefficients, updates), state), value

        return jax.lax.scan(step, carry, keys)

    def descend(
        start_db: np.ndarray, variables: Any, seed: int, title: str
    ) -> tuple[np.ndarray, list[float]]:
        start, variables = jnp.asarray(start_db, jnp.float32), jax.device_put(variables)
        coefficients = jnp.zeros(shape, jnp.float32)
        carry, losses = (coefficients, optimiser.init(coefficients)), list[float]()
        keys = jax.random.split(jax.random.key(seed), steps)
        with log.progress(None, total=steps, unit="step", title=title) as bar:
            for first in range(0, steps, CHUNK_STEPS):
                chunk = keys[first : first + CHUNK_STEPS]
                carry, values = run_chunk(carry, start, chunk, variables)
                losses += np.asarray(values).tolist()
                if not np.isfinite(losses[-1]):
                    raise UserError(f"{title}: the loss is not finite; give other weights or songs")
                bar.update(len(chunk))
        return np.asarray(start + change_of(carry[0])), losses

    return descend

"""Gradient descent on the mel spectrogram of a clip, towards an objective and a prior."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from deepgenre import log
from deepgenre.errors import UserError

CHUNK_STEPS = 20  # between two looks at the loss, which wait for the device
# (key, variables, decibels (frames, n_mels)) -> loss
Loss = Callable[[jax.Array, Any, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Prior:
    """What the change of a spectrogram costs, in units of the objective per dB squared."""

    distance: float  # mean squared change
    roughness: float  # mean squared difference of the change from frame to frame, band to band

    def cost(self, change_db: jax.Array) -> jax.Array:
        """Returns the cost of a change in dB, (frames, n_mels)."""
        over_time = jnp.square(jnp.diff(change_db, axis=0)).mean()
        over_bands = jnp.square(jnp.diff(change_db, axis=1)).mean()
        distance = jnp.square(change_db).mean()
        return self.distance * distance + self.roughness * (over_time + over_bands)


def optimise(
    start_db: np.ndarray,
    loss: Loss,
    variables: Any,
    prior: Prior,
    *,
    steps: int,
    step_db: float,
    seed: int,
    title: str,
) -> tuple[np.ndarray, list[float]]:
    """Returns the spectrogram that Adam reaches, float32 (frames, n_mels), and losses on the way.

    start_db: mel power in dB. step_db: the largest step, which falls to 0 along a cosine. Losses
    are with the prior, one per CHUNK_STEPS steps. Raises UserError where the loss is not finite.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(step_db, steps))
    start = jnp.asarray(start_db, jnp.float32)

    def total(change: jax.Array, key: jax.Array, variables: Any) -> jax.Array:
        return loss(key, variables, start + change) + prior.cost(change)

    @jax.jit
    def run_chunk(carry: Any, keys: jax.Array, variables: Any) -> tuple[Any, jax.Array]:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            change, state = carry
            value, gradient = jax.value_and_grad(total)(change, key, variables)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(change, updates), state), value

        return jax.lax.scan(step, carry, keys)

    variables = jax.device_put(variables)
    change = jnp.zeros_like(start)
    carry, losses = (change, optimiser.init(change)), list[float]()
    keys = jax.random.split(jax.random.key(seed), steps)
    with log.progress(None, total=steps, unit="step", title=title) as bar:
        for first in range(0, steps, CHUNK_STEPS):
            chunk = keys[first : first + CHUNK_STEPS]
            carry, values = run_chunk(carry, chunk, variables)
            losses.append(float(values[-1]))
            if not np.isfinite(losses[-1]):
                raise UserError(f"{title}: the loss is not finite; give other weights or songs")
            bar.update(len(chunk))
    return np.asarray(start + carry[0]), losses

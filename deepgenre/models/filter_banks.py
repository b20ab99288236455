"""Banks of filters learnt by spherical k-means, and their pooled responses to a clip.

A. Coates and A. Ng, "Learning feature representations with k-means", 2012: filters are the
centroids of whitened patches, learnt without labels (`training.kmeans`). Different here: responses
are cosines above a threshold, pooled over time to mean, deviation and the mean of the largest.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.summary_statistics import mean_and_deviation

THRESHOLD = 0.2  # of a cosine: below it, the response is 0
LARGEST = 8  # number of largest responses that are averaged

BankVariables = Mapping[str, jax.Array]  # '<bank>_mean', '<bank>_whitening', '<bank>_centroids'


@dataclasses.dataclass(frozen=True)
class Bank:
    """Filters of one length, over all bands or over the bands of any register."""

    name: str
    frames: int
    filters: int
    components: int  # of the whitening
    centred: bool  # whether the mean of each band over time is subtracted
    register_bands: int = 0  # bands of a register; 0: one register of all bands
    register_hop: int = 0  # bands from one register to the next
    patches_per_register: int = 60  # drawn for learning
    max_registers: int = 0  # (clip, register) pairs drawn for learning; 0: all

    def registers(self, x: jax.Array) -> jax.Array:
        """Returns (batch, registers, frames, register bands) of x (batch, frames, bands)."""
        if not self.register_bands:
            return x[:, None]
        last = max(0, x.shape[2] - self.register_bands)
        starts = range(0, last + 1, self.register_hop)
        cut = [x[..., start : start + self.register_bands] for start in starts]
        return jnp.stack(cut, axis=1)

    def patches(self, x: jax.Array) -> jax.Array:
        """Returns (batch, patches, frames * bands) of registers (batch, frames, bands)."""
        x = x - x.mean(axis=1, keepdims=True) if self.centred else x
        count = x.shape[1] - self.frames + 1
        views = jnp.stack([x[:, i : i + count] for i in range(self.frames)], axis=2)
        return views.reshape(*views.shape[:2], -1)

    def shapes(self, bands: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the learnt arrays."""
        values = self.frames * min(bands, self.register_bands or bands)
        components = min(values, self.components)
        return {
            f"{self.name}_mean": (values,),
            f"{self.name}_whitening": (values, components),
            f"{self.name}_centroids": (components, self.filters),
        }

    def responses(self, x: jax.Array, learnt: BankVariables) -> jax.Array:
        """Returns the pooled responses of the filters: (batch, registers * 3 filters)."""
        registers = self.registers(x)
        patches = self.patches(registers.reshape(-1, *registers.shape[2:]))
        white = patches - learnt[f"{self.name}_mean"][None, None]
        white = unit(white @ learnt[f"{self.name}_whitening"])
        cosines = white @ unit(learnt[f"{self.name}_centroids"], axis=0)
        return pooled(nn.relu(cosines - THRESHOLD)).reshape(x.shape[0], -1)


def unit(x: jax.Array, axis: int = -1) -> jax.Array:
    """Returns x with unit norm along an axis; zeros stay zeros."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=axis, keepdims=True) + 1e-12)


def pooled(responses: jax.Array) -> jax.Array:
    """Returns mean, deviation, and mean of the largest, (batch, 3 filters), over axis 1."""
    largest = jax.lax.top_k(responses.swapaxes(1, 2), min(LARGEST, responses.shape[1]))[0]
    return jnp.concatenate([mean_and_deviation(responses), largest.mean(axis=-1)], axis=-1)

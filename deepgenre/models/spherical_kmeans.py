"""Features learnt by spherical k-means, statistics of the spectrogram, and a linear head.

S. Dieleman and B. Schrauwen, "Multiscale approaches to music audio feature learning", ISMIR 2013,
after A. Coates and A. Ng, "Learning feature representations with k-means", 2012: filters are the
centroids of whitened patches, learnt without labels at several time scales, and the features of a
clip are their responses, pooled over time. Different here: responses are cosines above a threshold,
pooled to mean, deviation and the mean of the largest; statistics of the whole clip are added; the
head is linear.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.layers import Dtype
from deepgenre.models.summary_statistics import STATISTICS, mean_and_deviation

THRESHOLD = 0.2  # of a cosine: below it, the response is 0
LARGEST = 8  # number of largest responses that are averaged
CLIP = 4.0  # standardised features are clipped to -CLIP..CLIP
# Groups that form the embedding: small enough for similarity search.
EMBEDDING = ("mfcc_dynamics", "contrast", "covariance_of_change")

BankVariables = Mapping[str, jax.Array]  # '<bank>_mean', '<bank>_whitening', '<bank>_centroids'


@dataclasses.dataclass(frozen=True)
class Bank:
    """Filters of one length, over all bands."""

    name: str
    frames: int
    filters: int
    components: int  # of the whitening
    centred: bool  # whether the mean of each band over time is subtracted

    def patches(self, x: jax.Array) -> jax.Array:
        """Returns (batch, patches, frames * bands) of x (batch, frames, bands)."""
        x = x - x.mean(axis=1, keepdims=True) if self.centred else x
        count = x.shape[1] - self.frames + 1
        views = jnp.stack([x[:, i : i + count] for i in range(self.frames)], axis=2)
        return views.reshape(*views.shape[:2], -1)

    def shapes(self, bands: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the learnt arrays."""
        values = self.frames * bands
        components = min(values, self.components)
        return {
            f"{self.name}_mean": (values,),
            f"{self.name}_whitening": (values, components),
            f"{self.name}_centroids": (components, self.filters),
        }

    def responses(self, x: jax.Array, learnt: BankVariables) -> jax.Array:
        """Returns the pooled responses of the filters: (batch, 3 filters)."""
        white = self.patches(x) - learnt[f"{self.name}_mean"][None, None]
        white = unit(white @ learnt[f"{self.name}_whitening"])
        cosines = white @ unit(learnt[f"{self.name}_centroids"], axis=0)
        return pooled(nn.relu(cosines - THRESHOLD))


BANKS = (
    Bank("frames_1", frames=1, filters=256, components=40, centred=False),
    Bank("frames_8", frames=8, filters=384, components=120, centred=True),
)


def describe(x: jax.Array, learnt: BankVariables) -> dict[str, jax.Array]:
    """Returns the groups of features of clips, each (batch, features), by name."""
    groups = {name: statistic(x) for name, statistic in STATISTICS.items()}
    return groups | {bank.name: bank.responses(x, learnt) for bank in BANKS}


class SphericalKMeans(nn.Module):
    """Logistic regression on the features of `describe`.

    Only the head is trained by gradient: filters, whitening, and the mean and deviation of each
    feature over the training clips are not parameters; they are stored in batch_stats.
    `pretrain.with_kmeans` learns them; until then filters are random. Groups have the same total
    variance for any number of features, so that plain weight decay suits all.
    """

    num_classes: int
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: no batch norm

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 8, bands >= 32. Sows the groups of EMBEDDING as intermediates/embedding.
        """
        x = x.astype(jnp.float32)
        groups = describe(x, self._learnt(x))
        standard = {name: self._standardised(name, groups[name]) for name in sorted(groups)}
        embedding = jnp.concatenate([standard[name] for name in EMBEDDING], axis=-1)
        self.sow("intermediates", "embedding", embedding)
        weighted = [values / np.sqrt(values.shape[-1]) for values in standard.values()]
        features = jnp.concatenate(weighted, axis=-1).astype(self.dtype)
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        logits = nn.Dense(
            self.num_classes, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="logits"
        )
        return logits(features).astype(jnp.float32)

    def _learnt(self, x: jax.Array) -> BankVariables:
        bands = x.shape[-1]
        shapes = {name: shape for bank in BANKS for name, shape in bank.shapes(bands).items()}
        return {
            name: self.variable(
                "batch_stats",
                name,
                lambda shape=shape: 0.1 * jax.random.normal(self.make_rng("params"), shape),
            ).value
            for name, shape in shapes.items()
        }

    def _standardised(self, name: str, values: jax.Array) -> jax.Array:
        shape = values.shape[-1:]
        mean = self.variable("batch_stats", f"mean_of_{name}", jnp.zeros, shape).value
        deviation = self.variable("batch_stats", f"deviation_of_{name}", jnp.ones, shape).value
        return jnp.clip((values - mean[None]) / deviation[None], -CLIP, CLIP)


def unit(x: jax.Array, axis: int = -1) -> jax.Array:
    """Returns x with unit norm along an axis; zeros stay zeros."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=axis, keepdims=True) + 1e-12)


def pooled(responses: jax.Array) -> jax.Array:
    """Returns mean, deviation, and mean of the largest, (batch, 3 filters), over axis 1."""
    largest = jax.lax.top_k(responses.swapaxes(1, 2), min(LARGEST, responses.shape[1]))[0]
    return jnp.concatenate([mean_and_deviation(responses), largest.mean(axis=-1)], axis=-1)

"""Kernel ridge regression on groups of features: a clip is compared with all training clips.

C. Saunders, A. Gammerman and V. Vovk, "Ridge regression learning algorithm in dual variables", ICML
1998, with a kernel that is a sum over groups of features, after F. Bach, G. Lanckriet and M.
Jordan, "Multiple kernel learning, conic duality, and the SMO algorithm", ICML 2004 (here all groups
have the same weight). `training.kernel` computes the variables, in one solve.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models import feature_groups
from deepgenre.models.layers import Dtype
from deepgenre.models.lowering import is_plain

GROUP_SHARE = 0.5  # weight of the mean of the groups' kernels beside the kernel of their sum
NEAREST = 5  # training clips that define how familiar a clip is
NUM_QUANTILES = 101  # of `nearest` over the training clips
# Groups that form the embedding: small enough for similarity search.
EMBEDDING = (
    *feature_groups.EMBEDDING,
    "spectrum_percentiles",
    "onset_distribution",
    "harmonic_percussive",
    "detail",
    "chroma",
)


class KernelRidge(nn.Module):
    """A weighted sum of kernels between a clip and `num_clips` training clips.

    Only the weights (`dual`) and the bias are parameters. Stored in batch_stats: the arrays of the
    features (see `feature_groups`), and per group the features of the training clips, their sums of
    squares, and the factor on squared distances. With `rank`, products of features are computed
    from the principal components of the training clips' features; sums of squares stay exact.
    """

    num_classes: int
    num_clips: int = 1  # training clips; set by the data
    feature_set: str = "large"  # 'basic', 'small' or 'large': see `feature_groups`
    rank: int = 0  # of a group's principal components, if it has more features; 0: all features
    dtype: Dtype = jnp.float32  # unused: distances need float32
    axis_name: str | None = None  # unused: no batch norm
    sample_rate_hz: int = 22_050

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 8, bands >= 32. Sows the groups of EMBEDDING, as far as the feature set has them,
        as intermediates/embedding, and the rank of `nearest` among the training clips, 0 to 1, as
        intermediates/familiarity, float32 (batch,): 0.05 where 5 % of them are less similar to
        training clips of other groups.
        """
        x = x.astype(jnp.float32)
        learnt = feature_groups.learnt_banks(self, self.feature_set, x.shape[-1])
        groups = feature_groups.describe(x, learnt, self.feature_set, self.sample_rate_hz)
        standard = {
            name: feature_groups.standardised(self, name, values) for name, values in groups.items()
        }
        embedding = [standard[name] for name in EMBEDDING if name in standard]
        self.sow("intermediates", "embedding", jnp.concatenate(embedding, axis=-1))
        distances = {name: self._distances(name, values) for name, values in standard.items()}
        factor = self.variable("batch_stats", "factor", jnp.ones, ()).value
        dual = self.param("dual", nn.initializers.zeros, (self.num_clips, self.num_classes))
        bias = self.param("bias", nn.initializers.zeros, (self.num_classes,))
        values = kernel(distances, factor)
        self.sow("intermediates", "familiarity", self._rank(nearest(values)))
        return values @ dual + bias[None]

    def _rank(self, similarities: jax.Array) -> jax.Array:
        quantiles = self.variable("batch_stats", "quantiles", jnp.zeros, (NUM_QUANTILES,)).value
        if is_plain():
            return rank_by_comparison(similarities, quantiles)
        return jnp.interp(similarities, quantiles, jnp.linspace(0, 1, NUM_QUANTILES))

    def _distances(self, name: str, values: jax.Array) -> jax.Array:
        """Returns the scaled squared distances to the training clips, (batch, num_clips)."""
        features = values.shape[-1]
        squares = jnp.square(values).sum(axis=-1)
        if 0 < self.rank < features:
            axes = self.variable("batch_stats", f"axes_{name}", jnp.zeros, (features, self.rank))
            values = _product(values, axes.value)
        shape = (self.num_clips, values.shape[-1])
        clips = self.variable("batch_stats", f"clips_{name}", jnp.zeros, shape).value
        of_clips = self.variable("batch_stats", f"squares_{name}", jnp.zeros, shape[:1]).value
        factor = self.variable("batch_stats", f"factor_of_{name}", jnp.ones, ()).value
        distances = squares[:, None] + of_clips[None] - 2 * _product(values, clips.T)
        return factor * jnp.maximum(distances, 0)


def rank_by_comparison(values: jax.Array, quantiles: jax.Array) -> jax.Array:
    """Returns the ranks of values (batch,) between increasing quantiles, 0 to 1, without a search.

    The mean over intervals of the share of each that is below the value.
    """
    widths = jnp.diff(quantiles)[None]
    above = values[:, None] - quantiles[None, :-1]
    return jnp.where(widths > 0, jnp.clip(above / widths, 0, 1), above >= 0).mean(axis=-1)


def _product(rows: jax.Array, columns: jax.Array) -> jax.Array:
    return jnp.matmul(rows, columns, precision=jax.lax.Precision.HIGHEST)


def nearest(values: jax.Array) -> jax.Array:
    """Returns the mean of the NEAREST largest kernel values, (batch,) of (batch, clips)."""
    return jax.lax.top_k(values, min(NEAREST, values.shape[-1]))[0].mean(axis=-1)


def kernel(distances: Mapping[str, jax.Array], factor: jax.Array | float) -> jax.Array:
    """Returns the kernel of the scaled squared distances of each group, of the same shape.

    factor: on half the sum of the distances.
    """
    total = sum(distances.values()) * factor
    of_groups = sum(jnp.exp(-distance) for distance in distances.values()) / len(distances)
    return jnp.exp(-total / 2) + GROUP_SHARE * of_groups

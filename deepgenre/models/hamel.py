"""Temporal pooling (Hamel et al., 2011): statistics of spectral components over time, and an MLP.

P. Hamel, S. Lemieux, Y. Bengio and D. Eck, "Temporal pooling and multiscale learning for automatic
annotation and ranking of music audio", ISMIR 2011: its "pooled features classifier". Published
input: log-mel, 128 bands (22,050 Hz, n_fft 1024, hop 512), whitened by PCA to 120 components;
windows of a few seconds (config.window_seconds), with predictions averaged over a clip.

PCA with whitening is a linear map to uncorrelated components of unit variance. Here the map is
trained with the other layers, from orthogonal initial weights, and batch norm scales the variance.
The paper compares combinations of pooling functions and finds that more are better: all six are
used here. Pooled values are also normalised, so that fourth moments do not outweigh the means.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import Dtype, glorot, head, norm, scaled
from deepgenre.models.pooling import global_max


class Hamel(nn.Module):
    """Components of each frame, six statistics of each over time, one hidden layer of sigmoids.

    1,559,090 parameters with 50 classes and 128 bands.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of components and units
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the hidden layer, (batch, 2000 * width), as intermediates/embedding.
        """
        components, units = scaled((120, 2000), self.width)
        orthogonal = nn.initializers.orthogonal()
        x = nn.Dense(components, use_bias=False, kernel_init=orthogonal, dtype=self.dtype)(x)
        x = norm(train, self.dtype, self.axis_name)(x)
        x = norm(train, self.dtype, self.axis_name)(temporal_statistics(x))
        x = nn.sigmoid(nn.Dense(units, kernel_init=glorot, dtype=self.dtype)(x))
        return head(self, x, self.num_classes, self.dropout, train)


def temporal_statistics(x: jax.Array) -> jax.Array:
    """Returns statistics over time, float32 (batch, 6 * channels), of x (batch, frames, channels).

    In this order: mean, maximum, minimum, variance, third and fourth centred moment.
    """
    x = x.astype(jnp.float32)
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    moments = [jnp.mean(centred**order, axis=1) for order in (2, 3, 4)]
    return jnp.concatenate([mean, global_max(x), -global_max(-x), *moments], axis=-1)

"""compact_cnn of K. Choi's music-auto_tagging-keras, 2017, as it was published: without classes.

Each layer is normalised by the statistics of its own input, in training and in inference ("mode 2"
of Keras 1). There these are statistics of a batch; here of each window, so that the embedding of a
song does not depend on the others. Published input: log-mel, 96 bands, 29 s at 12,000 Hz, n_fft
512, hop 256, in dB relative to the maximum: 1,360 frames.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import Dtype, glorot, head, scaled
from deepgenre.models.pooling import max_pool

FILTERS = (32,) * 5
POOLS = ((4, 2), (4, 3), (5, 2), (4, 2), (4, 4))  # (frames, bands)


class CompactFeatures(nn.Module):
    """Five convolutions of 32 filters; ELU; pools. 37,632 parameters without classes."""

    num_classes: int
    width: float = 1.0  # multiplier of `FILTERS`
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: no statistics of a batch

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the mean of the last feature maps, (batch, 32 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)[..., None]
        for filters, pool in zip(scaled(FILTERS, self.width), POOLS, strict=True):
            x = nn.Conv(filters, (3, 3), kernel_init=glorot, dtype=self.dtype)(x)
            x = nn.InstanceNorm(epsilon=1e-3, use_fast_variance=False, dtype=self.dtype)(x)
            x = max_pool(nn.elu(x), pool)
        return head(self, x.mean(axis=(1, 2)), self.num_classes, 0.0, train)

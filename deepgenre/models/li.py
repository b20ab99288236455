"""The first convolutional network for music genres (Li et al., 2010): on MFCCs.

T. L. H. Li, A. B. Chan and A. H. W. Chun, "Automatic musical pattern feature extraction using
convolutional neural network", IMECS 2010. Published input: 190 frames of 13 MFCCs
(config.frontend.kind 'mfcc', n_mfcc 13). The first layer spans all MFCCs and 10 frames; each layer
has a stride of 4 frames, so 190 frames become 46, 10 and 1. As in the baselines of M. Defferrard et
al., "FMA: a dataset for music analysis", ISMIR 2017: ReLU, and every map is connected to all maps
of the layer below. For longer input, the output is averaged over time.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, scaled


class Li(nn.Module):
    """Three convolutions over time, of 3, 15 and 65 filters.

    11,333 parameters with 10 classes and 13 bands, for any number of frames.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters
    dropout: float = 0.0
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 190.

        Sows the last layer's mean over time, (batch, 65 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        for features in scaled((3, 15, 65), self.width):
            x = ConvBlock(
                features=features,
                kernel=(10,),
                stride=4,
                padding="VALID",
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        return head(self, x.mean(axis=1), self.num_classes, self.dropout, train)

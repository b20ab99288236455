"""VGGish: a VGG network with small pools, from AudioSet's authors.

S. Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017,
arXiv:1609.09430, in the form of the VGGish release (TensorFlow models, audioset). Published input:
log-mel, 64 bands of 125 to 7,500 Hz, 96 frames (0.96 s at 16,000 Hz, frames of 25 ms every 10 ms).
Different here: trained from scratch with a layer of classes on the embedding of 128 (which has no
activation, as in the release); no PCA or quantisation of the embedding; feature maps larger than
the published 6 x 4 are averaged to at most that size, so that the dense layers do not grow with the
input.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, glorot, head, hidden_layers, scaled
from deepgenre.models.pooling import shrink


class VGGish(nn.Module):
    """Six 3 x 3 convolutions, four pools, two wide dense layers and an embedding.

    72,141,184 parameters up to the embedding, with 96 frames and 64 bands.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.0  # between the wide layers, and before the last
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the embedding, (batch, 128 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)[..., None]
        filters = scaled((64, 128, 256, 256, 512, 512), self.width)
        for features, pooled in zip(filters, (True, True, False, True, False, True), strict=True):
            x = ConvBlock(
                features=features,
                kernel=(3, 3),
                pool=(2, 2) if pooled else (),
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        x = shrink(x, (6, 4))
        units, embedding = scaled((4096, 128), self.width)
        x = hidden_layers(x.reshape(x.shape[0], -1), (units, units), self.dropout, train)
        x = nn.Dense(embedding, kernel_init=glorot, dtype=self.dtype)(x)
        return head(self, x, self.num_classes, self.dropout, train)

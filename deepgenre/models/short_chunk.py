"""Short-chunk CNN and its residual form (Won et al., 2020): 3 x 3 convolutions on a few seconds.

M. Won, A. Ferraro, D. Bogdanov and X. Serra, "Evaluation of CNN-based automatic music tagging
models", SMC 2020, arXiv:2006.00751, and its code. Published input: log-mel, 128 bands, 231 frames
(3.69 s at 16,000 Hz, n_fft 512, hop 256), 16 evenly spaced chunks per clip. Different here: initial
weights are Glorot's; bands that remain after the last layer (one, of 128) are pooled like frames.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, ResidualBlock, glorot, head, norm, scaled
from deepgenre.models.pooling import global_max


class ShortChunk(nn.Module):
    """Seven convolutions, each with a pool of 2 x 2, the maximum over time, and a dense layer.

    3,687,348 parameters with 50 classes, for any input size.
    """

    num_classes: int
    residual: bool = False  # residual blocks with stride 2 instead of convolutions and pools
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the dense layer, (batch, 512 * width), as intermediates/embedding.
        """
        x = norm(train, self.dtype, self.axis_name)(x.astype(self.dtype)[..., None])
        filters = scaled((128, 128, 256, 256, 256, 256, 512), self.width)
        for features in filters:
            if self.residual:
                block = ResidualBlock(
                    features, strides=(2, 2), dtype=self.dtype, axis_name=self.axis_name
                )
            else:
                block = ConvBlock(
                    features,
                    kernel=(3, 3),
                    pool=(2, 2),
                    batch_norm=True,
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                )
            x = block(x, train)
        x = nn.Dense(filters[-1], kernel_init=glorot, dtype=self.dtype)(global_max(x))
        x = nn.relu(norm(train, self.dtype, self.axis_name)(x))
        return head(self, x, self.num_classes, self.dropout, train)


class ShortChunkRes(ShortChunk):
    """With residual blocks: 12,104,244 parameters with 50 classes."""

    residual: bool = True

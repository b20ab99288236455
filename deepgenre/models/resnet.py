"""ResNet-18 for spectrograms.

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016,
arXiv:1512.03385. Published input: images, 224 x 224, RGB. "Deep Music Genre" also tried a
residual network, without specifying it; this is the smallest of the published ones, on one channel.
Shortcuts that change shape are 1 x 1 convolutions; initial weights are Glorot's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import Dtype, ResidualBlock, glorot, head, norm, scaled


class ResNet18(nn.Module):
    """A 7 x 7 convolution, a pool, four pairs of residual blocks, and global average pooling.

    11,175,370 parameters with 10 classes, for any input size.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the mean of the last feature maps, (batch, 512 * width), as intermediates/embedding.
        """
        filters = scaled((64, 128, 256, 512), self.width)
        x = nn.Conv(
            filters[0],
            (7, 7),
            (2, 2),
            padding=3,
            use_bias=False,
            kernel_init=glorot,
            dtype=self.dtype,
        )(x[..., None])
        x = nn.relu(norm(train, self.dtype, self.axis_name)(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for stage, features in enumerate(filters):
            for stride in (2 if stage else 1, 1):
                x = ResidualBlock(
                    features,
                    strides=(stride, stride),
                    shortcut_width=1,
                    use_bias=False,
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                )(x, train)
        return head(self, x.mean(axis=(1, 2)), self.num_classes, self.dropout, train)

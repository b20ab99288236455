"""Multi-level, multi-scale aggregation (Lee and Nam, 2017), here one network trained at once.

J. Lee and J. Nam, "Multi-level and multi-scale feature aggregation using pre-trained convolutional
neural networks for music auto-tagging", IEEE Signal Processing Letters 24 (8), 2017,
arXiv:1703.01793. Published input: log-mel, 128 bands, 29.1 s at 22,050 Hz, n_fft 1024, hop 512, cut
into segments of 18, 27 and 54 frames.

There, each of three local networks first learns tags from its segments; then it is frozen, and two
dense layers learn from what all its layers hear in a whole clip. Here all is trained together, from
the clip's classes, so the local networks have no layer of tags of their own. The letter's table was
not at hand: numbers of filters are read from a public reimplementation of its network of 27 frames,
and the other two are made alike; the units of the two dense layers are ours.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, hidden_layers, scaled
from deepgenre.models.pooling import global_max

SCALES = (  # of each local network: filters and pools of its layers
    ((128, 128, 256), (3, 3, 2)),
    ((128, 128, 256), (3, 3, 3)),
    ((128, 128, 256, 256), (3, 3, 3, 2)),
)
UNITS = (512, 512)


class MultiScale(nn.Module):
    """Three local 1D networks; the clip's mean of each layer's maxima over segments; two layers.

    1,998,130 parameters with 50 classes and 128 bands, whatever the number of frames.
    """

    num_classes: int
    width: float = 1.0  # share of the numbers of filters and units
    dropout: float = 0.5  # before each of the last two layers
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # devices over which batch norm takes its statistics

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 54.

        Frames that fill no segment are not heard. Sows the last hidden layer, (batch,
        512 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        levels = [
            LocalNetwork(
                scaled(filters, self.width), pools, dtype=self.dtype, axis_name=self.axis_name
            )(x, train)
            for filters, pools in SCALES
        ]
        x = hidden_layers(
            jnp.concatenate(levels, axis=-1), scaled(UNITS, self.width), self.dropout, train
        )
        return head(self, x, self.num_classes, self.dropout, train)


class LocalNetwork(nn.Module):
    """1D convolutions of size 3 on segments, each with a pool, until one frame is left."""

    filters: Sequence[int]
    pools: Sequence[int]  # their product: frames a segment
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> (batch, all layers' filters).

        Of each filter its maximum over a segment, averaged over the segments of a clip.
        """
        batch, frames, bands = x.shape
        length = math.prod(self.pools)
        count = frames // length
        x = x[:, : count * length].reshape(batch * count, length, bands)
        levels = []
        for features, pool in zip(self.filters, self.pools, strict=True):
            x = ConvBlock(
                features=features,
                kernel=(3,),
                pool=(pool,),
                batch_norm=True,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
            levels.append(global_max(x).reshape(batch, count, features).mean(axis=1))
        return jnp.concatenate(levels, axis=-1)

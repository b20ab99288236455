"""Multi-level, multi-scale aggregation (Lee and Nam, 2017), here one network trained jointly.

J. Lee and J. Nam, "Multi-level and multi-scale feature aggregation using pre-trained convolutional
neural networks for music auto-tagging", IEEE Signal Processing Letters 24 (8), 2017,
arXiv:1703.01793. Published input: log-mel, 128 bands, 29.1 s at 22,050 Hz, n_fft 1024, hop 512, cut
into segments of 18, 27 and 54 frames.

There, each of three local networks is trained on the tags of its segments and then frozen; two
dense layers are trained on the features of all its layers over a whole clip. Here everything is
trained together, on the clip's classes, so the local networks have no output layers of their own.
The letter's table was not available: numbers of filters are those of a public reimplementation of
its network of 27 frames, and the other two are alike; units of the two dense layers are our choice.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, hidden_layers, scaled
from deepgenre.models.pooling import global_max

SCALES = (  # per local network: filters and pools of its layers
    ((128, 128, 256), (3, 3, 2)),
    ((128, 128, 256), (3, 3, 3)),
    ((128, 128, 256, 256), (3, 3, 3, 2)),
)
UNITS = (512, 512)


class MultiScale(nn.Module):
    """Three local 1D networks, their segment maxima averaged over the clip, and two dense layers.

    1,998,130 parameters with 50 classes and 128 bands, for any number of frames.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the numbers of filters and units
    dropout: float = 0.5  # before each of the last two layers
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 54.

        Frames after the last whole segment are ignored. Sows the last hidden layer,
        (batch, 512 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        features = [
            LocalNetwork(
                scaled(filters, self.width), pools, dtype=self.dtype, axis_name=self.axis_name
            )(x, train)
            for filters, pools in SCALES
        ]
        x = hidden_layers(
            jnp.concatenate(features, axis=-1), scaled(UNITS, self.width), self.dropout, train
        )
        return head(self, x, self.num_classes, self.dropout, train)


class LocalNetwork(nn.Module):
    """1D convolutions of size 3 on segments, each with a pool, until one frame remains."""

    filters: Sequence[int]
    pools: Sequence[int]  # their product: frames per segment
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> (batch, all layers' filters).

        Each filter's maximum over a segment, averaged over the segments of a clip.
        """
        batch, frames, bands = x.shape
        length = math.prod(self.pools)
        count = frames // length
        x = x[:, : count * length].reshape(batch * count, length, bands)
        maxima = []
        for features, pool in zip(self.filters, self.pools, strict=True):
            x = ConvBlock(
                features=features,
                kernel=(3,),
                pool=(pool,),
                batch_norm=True,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
            maxima.append(global_max(x).reshape(batch, count, features).mean(axis=1))
        return jnp.concatenate(maxima, axis=-1)

"""Networks after Sander Dieleman: convolutions over time, with bands as channels.

`Dieleman`: S. Dieleman, "Recommending music on Spotify with deep learning", sander.ai, 2014: text
and figure. Published input: log-mel, 128 bands, 599 frames, cut at random from the middle 30 s.
There it ends in 40 linear outputs, which predict a collaborative filter's factors; here in classes.
The post gives neither the padding ("valid" here, with which no pool drops any of its 599 frames)
nor the dropout rate of its dense layers (0.5 here).

`DielemanMTT`: the baseline of J. Pons' musicnn-training, after S. Dieleman and B. Schrauwen,
"End-to-end learning for music audio", ICASSP 2014. Published input: log-mel, 96 bands, 187 frames
(3 s at 16,000 Hz, n_fft 512, hop 256). Different here: batch norm is `layers.norm` (theirs:
momentum 0.99, epsilon 1e-3), and initial weights are Glorot's (theirs: He's).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, hidden_layers, norm, scaled
from deepgenre.models.pooling import global_max


class Dieleman(nn.Module):
    """Four convolutions of size 4, then each filter's mean, maximum and L2 norm over time.

    9,332,234 parameters with 10 classes and 128 bands, for any number of frames.
    """

    num_classes: int
    dropout: float = 0.5  # before each of the last two layers
    batch_norm: bool = False
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 103.

        Sows the last hidden layer, (batch, 2048 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        *filters, units = scaled((256, 256, 512, 512, 2048), self.width)
        for features, pool in zip(filters, ((4,), (2,), (2,), ()), strict=True):
            x = ConvBlock(
                features=features,
                kernel=(4,),
                pool=pool,
                padding="VALID",
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        x = jnp.concatenate([x.mean(axis=1), global_max(x), jnp.linalg.norm(x, axis=1)], axis=-1)
        x = hidden_layers(x, (units, units), self.dropout, train)
        return head(self, x, self.num_classes, self.dropout, train)


class DielemanMTT(nn.Module):
    """Two convolutions of size 8, each pooled by 4, and a dense layer.

    66,784 parameters with 50 classes, 187 frames and 96 bands.
    """

    num_classes: int
    dropout: float = 0.0
    batch_norm: bool = False  # of the convolutions; the input is always normalised
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 39.

        Sows the dense layer, (batch, 100 * width), as intermediates/embedding.
        """
        x = norm(train, self.dtype, self.axis_name)(x.astype(self.dtype)[..., None])[..., 0]
        features, units = scaled((32, 100), self.width)
        for _ in range(2):
            x = ConvBlock(
                features=features,
                kernel=(8,),
                pool=(4,),
                padding="VALID",
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        x = hidden_layers(x.reshape(x.shape[0], -1), (units,), self.dropout, train)
        return head(self, x, self.num_classes, self.dropout, train)

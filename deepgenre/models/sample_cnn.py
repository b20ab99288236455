"""Networks on samples: SampleCNN (Lee et al., 2017), and with SE and residual blocks (2018).

J. Lee, J. Park, K. L. Kim and J. Nam, "Sample-level deep convolutional neural networks for music
auto-tagging using raw waveforms", SMC 2017, arXiv:1703.01789, model 3^9. T. Kim, J. Lee and J. Nam,
"Sample-level CNN architectures for music auto-tagging using raw waveforms", ICASSP 2018,
arXiv:1710.10451. Published input: 59,049 samples at 22,050 Hz (2.7 s), ten segments per clip.

From the code of the second paper, where the papers leave it open: the gate of a plain block
comes after its max pool, that of a residual block before the addition; dropout of 0.2 between the
two convolutions of a residual block; a dense layer with batch norm before the last one. (The first
paper has a convolution of width 1 instead, equivalent for 59,049 samples.)

Different here: initial weights are Glorot's (theirs: He's, uniform), batch norm is `layers.norm`
(theirs: momentum 0.99, epsilon 1e-3), and for input longer than 59,049 samples the last feature
maps are max-pooled over time.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, glorot, head, norm, scaled
from deepgenre.models.pooling import global_max, max_pool

SIZE = 3  # of every kernel, pool and stride
FILTERS = (128, 128, 256, 256, 256, 256, 256, 256, 512)  # of each block


class SampleCNN(nn.Module):
    """A convolution of stride 3, then nine blocks, each reducing the length to a third.

    1,869,874 parameters with 50 classes.
    """

    num_classes: int
    residual: bool = False  # two convolutions and a shortcut per block instead of one convolution
    gate_ratio: int = 0  # squeeze and excitation: hidden units per channel; 0: no gates
    multi_level: bool = False  # the dense layer takes the last three blocks, not only the last
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.5
    block_dropout: float = 0.2  # within residual blocks
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, samples, 1) -> logits, float32 (batch, num_classes). samples >= 3.

        Sows the dense layer, (batch, 512 * width), as intermediates/embedding; multi-level:
        (batch, 1024 * width).
        """
        filters = scaled(FILTERS, self.width)
        x = ConvBlock(
            filters[0],
            kernel=(SIZE,),
            stride=SIZE,
            padding="VALID",
            batch_norm=True,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="strided",
        )(x.astype(self.dtype), train)
        blocks = []
        for index, features in enumerate(filters):
            x = SampleBlock(
                features,
                residual=self.residual,
                gate_ratio=self.gate_ratio,
                dropout=self.block_dropout,
                dtype=self.dtype,
                axis_name=self.axis_name,
                name=f"block_{index}",
            )(x, train)
            blocks.append(x)
        pooled = blocks[-3:] if self.multi_level else blocks[-1:]
        x = jnp.concatenate([global_max(block) for block in pooled], axis=-1)
        x = nn.Dense(x.shape[-1], kernel_init=glorot, dtype=self.dtype, name="dense")(x)
        x = nn.relu(norm(train, self.dtype, self.axis_name)(x))
        return head(self, x, self.num_classes, self.dropout, train)


class SampleCNNSE(SampleCNN):
    """With a gate per block: 23,929,138 parameters with 50 classes."""

    gate_ratio: int = 16


class SampleCNNReSE(SampleCNNSE):
    """With gated residual blocks: 26,166,578 parameters with 50 classes."""

    residual: bool = True


class SampleCNNReSEMulti(SampleCNNReSE):
    """With a dense layer on three levels: 26,980,146 parameters with 50 classes."""

    multi_level: bool = True


class SampleBlock(nn.Module):
    """One level: convolution, batch norm, ReLU, max pool; or its residual form; gated or not."""

    features: int
    residual: bool = False
    gate_ratio: int = 0
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, length, channels) -> (batch, length // 3, features)."""
        h = nn.relu(self._normed_conv(x, SIZE, train))
        if not self.residual:
            return self._gated(max_pool(h, (SIZE,)))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = self._gated(self._normed_conv(h, SIZE, train))
        if x.shape[-1] != self.features:
            x = self._normed_conv(x, 1, train)
        return max_pool(nn.relu(x + h), (SIZE,))

    def _normed_conv(self, x: jax.Array, size: int, train: bool) -> jax.Array:
        conv = nn.Conv(self.features, (size,), kernel_init=glorot, dtype=self.dtype)
        return norm(train, self.dtype, self.axis_name)(conv(x))

    def _gated(self, x: jax.Array) -> jax.Array:
        """Returns each channel times a gate, 0..1, computed from all channels' means."""
        if not self.gate_ratio:
            return x
        hidden = nn.Dense(self.gate_ratio * self.features, kernel_init=glorot, dtype=self.dtype)
        gate = nn.Dense(self.features, kernel_init=glorot, dtype=self.dtype)
        return x * nn.sigmoid(gate(nn.relu(hidden(x.mean(axis=1)))))[:, None]

"""Recurrent networks on convolutions: `CRNN` learns its last step's prediction, `LSTM` each step's.

`CRNN`: K. Choi, G. Fazekas, M. Sandler and K. Cho, "Convolutional recurrent neural networks for
music classification", ICASSP 2017, arXiv:1609.04243, as in music-auto_tagging-keras. Published
input: log-mel, 96 bands, 1,366 frames (29.1 s at 12,000 Hz, n_fft 512, hop 256), zero-padded
on both sides; here to a whole number of steps (as published, by 37 on each side of 1,366 frames).
The input is normalised per mel band; the README's 396,786 parameters include a norm per frame.
Flax's GRU resets its state after the product, not before, and has one more bias per unit.

`LSTM`: P. Kozakowski and B. Michalak, "Convolutional-recurrent neural network for live music genre
recognition", DeepSound, 2016 (genre-recognition). Published input: log-mel, 128 bands, 30 s at
22,050 Hz, n_fft 2048, hop 1024. There, probabilities are averaged over time; here logits are, so
that the loss is the same as for every other network.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, glorot, norm, scaled

CRNN_POOLS = (2, 3, 4, 4)  # of frames and bands
CRNN_STEP = 96  # their product: frames per step


class CRNN(nn.Module):
    """Four 2D convolutions reduce 96 frames and bands to one step; two GRUs process the steps.

    394,162 parameters with 50 classes and 96 bands.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters and units
    conv_dropout: float = 0.1
    dropout: float = 0.3
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the last state, (batch, 32 * width), as intermediates/embedding, and in inference the
        logits after each step, float32 (batch, steps, num_classes), as intermediates/frame_logits;
        the last are those returned.
        """
        missing = -x.shape[1] % CRNN_STEP
        x = jnp.pad(x, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
        x = norm(train, self.dtype, self.axis_name)(x.astype(self.dtype))[..., None]
        *filters, units = scaled((64, 128, 128, 128, 32), self.width)
        for features, pool in zip(filters, CRNN_POOLS, strict=True):
            x = ConvBlock(
                features=features,
                kernel=(3, 3),
                pool=(pool, pool),
                batch_norm=True,
                activation=nn.elu,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
            x = nn.Dropout(self.conv_dropout, deterministic=not train)(x)
        x = x.reshape(*x.shape[:2], -1)
        for _ in range(2):
            x = cell_outputs(nn.GRUCell(units, dtype=self.dtype), x)
        self.sow("intermediates", "embedding", x[:, -1].astype(jnp.float32))
        logits = nn.Dense(self.num_classes, kernel_init=glorot, dtype=self.dtype, name="logits")
        if not train:
            self.sow("intermediates", "frame_logits", logits(x).astype(jnp.float32))
        last = nn.Dropout(self.dropout, deterministic=not train)(x[:, -1])
        return logits(last).astype(jnp.float32)


class LSTM(nn.Module):
    """Three 1D convolutions, an LSTM, and a dense layer that predicts at each step.

    Step i depends on frames 0 .. 8 i + 35. 1,347,850 parameters with 10 classes and 128 bands.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.5  # before and after the LSTM
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 32.

        Returns the mean of all steps' logits, and sows them as intermediates/frame_logits, float32
        (batch, steps, num_classes); the mean of the LSTM's outputs as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        (units,) = scaled((256,), self.width)
        for _ in range(3):
            x = ConvBlock(
                features=units,
                kernel=(5,),
                pool=(2,),
                padding="VALID",
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = cell_outputs(nn.OptimizedLSTMCell(units, dtype=self.dtype), x)
        self.sow("intermediates", "embedding", x.mean(axis=1).astype(jnp.float32))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, kernel_init=glorot, dtype=self.dtype, name="logits")
        frame_logits = logits(x).astype(jnp.float32)
        self.sow("intermediates", "frame_logits", frame_logits)
        return frame_logits.mean(axis=1)


def cell_outputs(cell: nn.RNNCellBase, x: jax.Array) -> jax.Array:
    """Returns a cell's output at each step, (batch, steps, units), of x (batch, steps, features).

    Call it from a module's `__call__`.
    """
    outputs = nn.RNN(cell)(x)
    assert isinstance(outputs, jax.Array)
    return outputs

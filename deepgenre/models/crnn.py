"""Recurrent networks on convolutions: `CRNN` learns its last step's prediction, `LSTM` each step's.

`CRNN`: K. Choi, G. Fazekas, M. Sandler and K. Cho, "Convolutional recurrent neural networks for
music classification", ICASSP 2017, arXiv:1609.04243, as in music-auto_tagging-keras. Published
input: log-mel, 96 bands, 1,366 frames (29.1 s at 12,000 Hz, n_fft 512, hop 256), zero-padded
on both sides; here to a whole number of steps (as published, by 37 on each side of 1,366 frames).
The input is normalised per mel band; the README's 396,786 parameters include a norm per frame.
Flax's GRU resets its state after the product, not before, and has one more bias per unit.

`FrameNormCRNN`: MusicTaggerCRNN of that repository as it was published, with a norm per frame (its
axes were swapped) and the GRU of Keras 1. The input is standardised.

`LSTM`: P. Kozakowski and B. Michalak, "Convolutional-recurrent neural network for live music genre
recognition", DeepSound, 2016 (genre-recognition). Published input: log-mel, 128 bands, 30 s at
22,050 Hz, n_fft 2048, hop 1024. There, probabilities are averaged over time; here logits are, so
that the loss is the same as for every other network.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, glorot, norm, norm_of_frames, scaled

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
    frame_norm: bool = False  # norm per frame, which fixes their number, instead of per band
    keras_gru: bool = False  # `KerasGRUCell` instead of Flax's
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
        input_norm = norm_of_frames if self.frame_norm else norm
        x = input_norm(train, self.dtype, self.axis_name)(x.astype(self.dtype))[..., None]
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
        cell = KerasGRUCell if self.keras_gru else nn.GRUCell
        for _ in range(2):
            x = cell_outputs(cell(units, dtype=self.dtype), x)
        self.sow("intermediates", "embedding", x[:, -1].astype(jnp.float32))
        logits = nn.Dense(self.num_classes, kernel_init=glorot, dtype=self.dtype, name="logits")
        if not train:
            self.sow("intermediates", "frame_logits", logits(x).astype(jnp.float32))
        last = nn.Dropout(self.dropout, deterministic=not train)(x[:, -1])
        return logits(last).astype(jnp.float32)


class FrameNormCRNN(CRNN):
    """396,786 parameters with 50 classes and 1,366 frames, as published."""

    frame_norm: bool = True
    keras_gru: bool = True


class KerasGRUCell(nn.RNNCellBase):
    """The GRU of Cho et al., 2014, as in Keras 1: the reset gate acts before the product.

    Its gates are piecewise linear: 0.2 x + 0.5, clipped to 0..1.
    """

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the new state and the output, which is the state: (batch, features)."""
        own = {"dtype": self.dtype, "kernel_init": glorot}
        of_input = nn.Dense(3 * self.features, name="input", **own)(inputs)
        for_update, for_reset, for_new = jnp.split(of_input, 3, axis=-1)
        of_state = nn.Dense(2 * self.features, use_bias=False, name="gates", **own)(carry)
        update_of_state, reset_of_state = jnp.split(of_state, 2, axis=-1)
        update = _hard_sigmoid(for_update + update_of_state)
        reset = _hard_sigmoid(for_reset + reset_of_state)
        candidate = nn.Dense(self.features, use_bias=False, name="candidate", **own)
        new = jnp.tanh(for_new + candidate(reset * carry))
        state = update * carry + (1 - update) * new
        return state, state

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> jax.Array:
        """Returns the first state, zeros (batch, features)."""
        return jnp.zeros((*input_shape[:-1], self.features), self.dtype)

    @property
    def num_feature_axes(self) -> int:
        """Returns 1: the features of a step are a vector."""
        return 1


def _hard_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.clip(0.2 * x + 0.5, 0, 1)


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

"""Layers shared by the network families. Activations are (batch, frames, ...): time comes first."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.errors import UserError
from deepgenre.models.convolution import convolve
from deepgenre.models.pooling import max_pool

Dtype = Any
glorot = nn.initializers.glorot_uniform()  # Keras' default, used in the paper


class ConvBlock(nn.Module):
    """Convolution, optional batch norm, activation, max pool without overlap: channels last.

    The pool comes before the activation, which is non-decreasing, and before the bias: the same
    function with a fraction of the memory traffic. The bias before batch norm has no effect, but
    published weights contain it.
    """

    features: int
    kernel: tuple[int, ...]
    stride: int = 1
    pool: tuple[int, ...] = ()
    padding: str = "SAME"
    batch_norm: bool = False
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, *spatial, channels) -> (batch, *pooled spatial, features).

        Raises UserError if the input is smaller than a "VALID" kernel.
        """
        sizes = x.shape[1:-1]
        if self.padding == "VALID" and any(map(operator.lt, sizes, self.kernel)):
            raise UserError(
                f"the input is too small for this network: a layer needs {self.kernel}, got "
                f"{sizes}; set a longer config.window_seconds or more bands"
            )
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            padding=self.padding,
            kernel_init=glorot,
            dtype=self.dtype,
            conv_general_dilated=functools.partial(
                convolve, pool=() if self.batch_norm else self.pool
            ),
        )(x)
        if self.batch_norm:
            x = max_pool(norm(train, self.dtype, self.axis_name)(x), self.pool)
        return self.activation(x)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and a shortcut around them: channels last.

    The shortcut is the identity or, if strides or features change, a convolution and batch norm.
    """

    features: int
    strides: tuple[int, int] = (1, 1)
    shortcut_width: int = 3  # of the shortcut's kernel
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands, channels) -> (batch, frames / stride, bands / stride, features).

        Sizes are rounded up.
        """
        h = nn.relu(self._normed_conv(x, 3, self.strides, train))
        h = self._normed_conv(h, 3, (1, 1), train)
        if self.strides != (1, 1) or x.shape[-1] != self.features:
            x = self._normed_conv(x, self.shortcut_width, self.strides, train)
        return nn.relu(x + h)

    def _normed_conv(
        self, x: jax.Array, width: int, strides: tuple[int, int], train: bool
    ) -> jax.Array:
        conv = nn.Conv(
            self.features,
            (width, width),
            strides,
            padding=width // 2,
            use_bias=self.use_bias,
            kernel_init=glorot,
            dtype=self.dtype,
            conv_general_dilated=convolve,
        )
        return norm(train, self.dtype, self.axis_name)(conv(x))


def norm(train: bool, dtype: Dtype, axis_name: str | None) -> nn.BatchNorm:
    """Returns batch norm over the last axis, synchronised over the devices of `axis_name`."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name if train else None,
    )


def norm_of_frames(train: bool, dtype: Dtype, axis_name: str | None) -> nn.BatchNorm:
    """Returns batch norm per frame, of axis 1, as `norm`.

    The constant is that of Keras 1.0, whose published weights have frames of zero variance.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        axis=1,
        momentum=0.9,
        epsilon=1e-6,
        dtype=dtype,
        axis_name=axis_name if train else None,
        name="frame_norm",
    )


def hidden_layers(x: jax.Array, units: Sequence[int], dropout: float, train: bool) -> jax.Array:
    """Returns (batch, units[-1]) of x (batch, features): dense layers with ReLU, dropout between.

    Call it from a module's `__call__`.
    """
    for index, number in enumerate(units):
        if index:
            x = nn.Dropout(dropout, deterministic=not train)(x)
        x = nn.relu(nn.Dense(number, kernel_init=glorot, dtype=x.dtype)(x))
    return x


def head(
    module: nn.Module, embedding: jax.Array, num_classes: int, dropout: float, train: bool
) -> jax.Array:
    """Returns logits, float32 (batch, num_classes), of an embedding (batch, features).

    Dropout, then the layer "logits", which networks without classes lack. Call it from
    `module.__call__`: it sows the embedding, as float32, as the module's intermediates/embedding.
    """
    module.sow("intermediates", "embedding", embedding.astype(jnp.float32))
    if not num_classes:
        return jnp.zeros((embedding.shape[0], 0), jnp.float32)
    x = nn.Dropout(dropout, deterministic=not train)(embedding)
    logits = nn.Dense(num_classes, kernel_init=glorot, dtype=embedding.dtype, name="logits")
    return logits(x).astype(jnp.float32)


def scaled(filters: Sequence[int], width: float) -> list[int]:
    """Returns the numbers of filters times `width`, rounded, at least 1."""
    return [max(1, round(width * number)) for number in filters]

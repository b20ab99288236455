"""Layers shared by the network families. Activations are (batch, frames, ...): time comes first."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.errors import UserError
from deepgenre.models.convolution import convolve_in_use

Dtype = Any
FEW = 8  # values of which the largest is found two at a time
glorot = nn.initializers.glorot_uniform()  # Keras' default, with which the paper trained


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), with each spatial axis pooled without overlap.

    A rest that fills no window is dropped, a window longer than the axis shrinks to it; of values
    that tie, the first counts.
    """
    for axis, width in enumerate(window, start=1):
        if width > 1:
            x = _largest(_windows(x, axis, width), axis + 1)
    return x


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: jax.Array, axis: int) -> jax.Array:
    """Returns x without `axis`: its largest value.

    Two at a time, where they are few: on a CPU 1.6 times faster, for a whole network, than to look
    the place up, which only the gradient needs.
    """
    if x.shape[axis] > FEW:
        return x.max(axis=axis)
    places = range(x.shape[axis])
    return functools.reduce(
        jnp.maximum, [jax.lax.index_in_dim(x, place, axis, keepdims=False) for place in places]
    )


@_largest.defjvp
def _largest_jvp(
    axis: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Looks the place of the maximum up.

    The gradient of `jnp.max` tests for equality, and is silently lost where XLA computes a value
    twice and rounds it differently (jax issue 40564; seen on a CPU after batch norm). This is also
    cheaper on a CPU than `reduce_window` and its gradient.
    """
    (x,), (change,) = primals, tangents
    chosen = jnp.argmax(x, axis=axis, keepdims=True)
    is_chosen = chosen == jax.lax.broadcasted_iota(chosen.dtype, x.shape, axis)
    return jnp.where(is_chosen, x, 0).sum(axis=axis), jnp.where(is_chosen, change, 0).sum(axis=axis)


def global_max(x: jax.Array) -> jax.Array:
    """Returns (batch, channels): the maximum of x, (batch, *spatial, channels), by `max_pool`."""
    return max_pool(x, x.shape[1:-1]).reshape(x.shape[0], x.shape[-1])


def mean_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), averaged without overlap over each spatial axis."""
    for axis, width in enumerate(window, start=1):
        x = _windows(x, axis, width).mean(axis=axis + 1)
    return x


def shrink(x: jax.Array, most: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), averaged until no spatial axis is longer than `most`.

    So that a dense layer above it does not grow with the input.
    """
    sizes = x.shape[1:-1]
    return mean_pool(x, [-(-size // limit) for size, limit in zip(sizes, most, strict=True)])


def _windows(x: jax.Array, axis: int, width: int) -> jax.Array:
    """Returns x with `axis` split in two: whole windows, and places within a window."""
    width = min(width, x.shape[axis])
    count = x.shape[axis] // width
    x = jax.lax.slice_in_dim(x, 0, count * width, axis=axis)
    return x.reshape(*x.shape[:axis], count, width, *x.shape[axis + 1 :])


class ConvBlock(nn.Module):
    """Convolution, optional batch norm, activation, max pool without overlap: channels last.

    The bias stays before batch norm, where it changes nothing: published weights have it.
    """

    features: int
    kernel: tuple[int, ...]
    stride: int = 1
    pool: tuple[int, ...] = ()
    padding: str = "SAME"
    batch_norm: bool = False
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # devices over which batch norm takes its statistics

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, *spatial, channels) -> (batch, *pooled spatial, features).

        Raises UserError where the input is smaller than a "VALID" kernel.
        """
        sizes = x.shape[1:-1]
        if self.padding == "VALID" and any(map(operator.lt, sizes, self.kernel)):
            raise UserError(
                f"the input is too small for this network: a layer needs {self.kernel}, gets "
                f"{sizes}; set a longer config.window_seconds or more bands"
            )
        fast = self.activation is nn.relu and not train
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            padding=self.padding,
            kernel_init=glorot,
            dtype=self.dtype,
            conv_general_dilated=convolve_in_use if fast else None,
        )(x)
        if self.batch_norm:
            x = norm(train, self.dtype, self.axis_name)(x)
        x = self.activation(x)
        return max_pool(x, self.pool) if self.pool else x


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and a shortcut round them: channels last.

    The shortcut is the input itself, or, where strides or features change, a convolution and batch
    norm.
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


def hidden_layers(x: jax.Array, units: Sequence[int], dropout: float, train: bool) -> jax.Array:
    """Returns (batch, units[-1]) of x (batch, features): dense layers with ReLU, dropout between.

    To be called from a module's `__call__`.
    """
    for index, number in enumerate(units):
        if index:
            x = nn.Dropout(dropout, deterministic=not train)(x)
        x = nn.relu(nn.Dense(number, kernel_init=glorot, dtype=x.dtype)(x))
    return x


def head(
    module: nn.Module, embedding: jax.Array, num_classes: int, dropout: float, train: bool
) -> jax.Array:
    """Returns logits, float32 (batch, num_classes), of a song's embedding (batch, features).

    To be called from `module.__call__`, as whose intermediates/embedding it sows the embedding
    (float32). Dropout, then the layer "logits".
    """
    module.sow("intermediates", "embedding", embedding.astype(jnp.float32))
    x = nn.Dropout(dropout, deterministic=not train)(embedding)
    logits = nn.Dense(num_classes, kernel_init=glorot, dtype=embedding.dtype, name="logits")
    return logits(x).astype(jnp.float32)


def scaled(filters: Sequence[int], width: float) -> list[int]:
    """Returns the numbers of filters times `width`, rounded, each at least 1."""
    return [max(1, round(width * number)) for number in filters]

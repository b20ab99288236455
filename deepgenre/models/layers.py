"""Layers shared by the network families. Activations are (batch, frames, ...): time comes first."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any
glorot = nn.initializers.glorot_uniform()  # Keras' default, with which the paper trained


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), with each spatial axis pooled without overlap.

    A rest that fills no window is dropped. Written as reshape and max: its gradient is far cheaper
    on a CPU than that of `reduce_window`, and equal but where values tie (there it is shared).
    """
    return _pool(x, window, jnp.max)


def mean_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), averaged without overlap over each spatial axis."""
    return _pool(x, window, jnp.mean)


def _pool(x: jax.Array, window: Sequence[int], reduce: Callable[..., jax.Array]) -> jax.Array:
    batch, *spatial, channels = x.shape
    counts = [size // width for size, width in zip(spatial, window, strict=True)]
    for axis, (count, width) in enumerate(zip(counts, window, strict=True), start=1):
        x = jax.lax.slice_in_dim(x, 0, count * width, axis=axis)
    split = [n for pair in zip(counts, window, strict=True) for n in pair]
    split_axes = tuple(range(2, 2 + 2 * len(window), 2))
    return reduce(x.reshape(batch, *split, channels), axis=split_axes)


class ConvBlock(nn.Module):
    """Convolution, optional batch norm, ReLU, max pool without overlap: channels last."""

    features: int
    kernel: tuple[int, ...]
    stride: int = 1
    pool: tuple[int, ...] = ()
    padding: str = "SAME"
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # devices over which batch norm takes its statistics

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, *spatial, channels) -> (batch, *pooled spatial, features)."""
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            padding=self.padding,
            use_bias=not self.batch_norm,
            kernel_init=glorot,
            dtype=self.dtype,
        )(x)
        if self.batch_norm:
            x = norm(train, self.dtype, self.axis_name)(x)
        x = nn.relu(x)
        return max_pool(x, self.pool) if self.pool else x


def norm(train: bool, dtype: Dtype, axis_name: str | None) -> nn.BatchNorm:
    """Returns batch norm over the last axis, synchronised over the devices of `axis_name`."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name if train else None,
    )

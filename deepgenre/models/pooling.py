"""Pools without overlap. Activations are (batch, *spatial, channels)."""

import functools
import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.lowering import is_plain

MAX_PAIRWISE = 8  # most values of which the maximum is computed pairwise


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), with each spatial axis pooled without overlap.

    An incomplete last window is dropped, a window longer than the axis shrinks to it; of equal
    values, the first is selected.
    """
    if is_plain():
        pairs = itertools.zip_longest(window, x.shape[1:-1], fillvalue=1)
        sizes = tuple(min(width, size) for width, size in pairs)
        return nn.max_pool(x, sizes, strides=sizes) if max(sizes) > 1 else x
    for axis, width in enumerate(window, start=1):
        if width > 1:
            x = _largest(_windows(x, axis, width), axis + 1)
    return x


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: jax.Array, axis: int) -> jax.Array:
    """Returns the maximum of x over `axis`.

    Few values are compared pairwise: on a CPU, a whole network is 1.6 times faster than with
    `argmax`, which only the gradient needs.
    """
    if x.shape[axis] > MAX_PAIRWISE:
        return x.max(axis=axis)
    indices = range(x.shape[axis])
    return functools.reduce(
        jnp.maximum, [jax.lax.index_in_dim(x, index, axis, keepdims=False) for index in indices]
    )


@_largest.defjvp
def _largest_jvp(
    axis: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Selects the maximum by its index.

    The gradient of `jnp.max` tests for equality, and is silently lost where XLA computes a value
    twice and rounds it differently (jax issue 40564; seen on a CPU after batch norm). This is also
    cheaper on a CPU than `reduce_window` and its gradient.
    """
    (x,), (change,) = primals, tangents
    argmax = jnp.argmax(x, axis=axis, keepdims=True)
    selected = argmax == jax.lax.broadcasted_iota(argmax.dtype, x.shape, axis)
    return jnp.where(selected, x, 0).sum(axis=axis), jnp.where(selected, change, 0).sum(axis=axis)


def global_max(x: jax.Array) -> jax.Array:
    """Returns (batch, channels): the maximum of x, (batch, *spatial, channels), by `max_pool`."""
    return max_pool(x, x.shape[1:-1]).reshape(x.shape[0], x.shape[-1])


def mean_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), averaged without overlap over each spatial axis."""
    for axis, width in enumerate(window, start=1):
        x = _windows(x, axis, width).mean(axis=axis + 1)
    return x


def shrink(x: jax.Array, max_sizes: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), averaged to spatial sizes of at most `max_sizes`.

    A dense layer above it then does not grow with the input.
    """
    sizes = x.shape[1:-1]
    return mean_pool(x, [-(-size // limit) for size, limit in zip(sizes, max_sizes, strict=True)])


def _windows(x: jax.Array, axis: int, width: int) -> jax.Array:
    """Returns x with `axis` split in two: whole windows, and offsets within a window."""
    width = min(width, x.shape[axis])
    count = x.shape[axis] // width
    x = jax.lax.slice_in_dim(x, 0, count * width, axis=axis)
    return x.reshape(*x.shape[:axis], count, width, *x.shape[axis + 1 :])

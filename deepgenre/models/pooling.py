"""Pools without overlap. Activations are (batch, *spatial, channels)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Returns x, (batch, *spatial, channels), with each spatial axis pooled without overlap.

    A rest that fills no window is dropped, a window longer than the axis shrinks to it; of values
    that tie, the first counts. The place of the maximum is looked up, because the gradient of
    `jnp.max` tests for equality, and is silently lost where XLA computes a value twice and rounds
    it differently (jax issue 40564; seen on a CPU after batch norm). It is also cheaper on a CPU
    than `reduce_window` and its gradient.
    """
    for axis, width in enumerate(window, start=1):
        if width > 1:
            x = _windows(x, axis, width)
            chosen = jnp.argmax(x, axis=axis + 1, keepdims=True)
            places = jax.lax.broadcasted_iota(chosen.dtype, x.shape, axis + 1)
            x = jnp.where(places == chosen, x, 0).sum(axis=axis + 1)
    return x


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

"""Pools without overlap. Activations are (batch, *spatial, channels)."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

FEW = 8  # values of which the largest is found two at a time


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

"""Convolution of images of one channel on a CPU: memory-bound, so by sums that are never stored."""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from deepgenre.models.matrix_products import Pads, Sizes, pad, taps

MAX_TAPS = 9  # of a kernel in `sum_of_products`: 3 x 3
MAX_POOL_SIZE = 32  # offsets in a pool's window: one product for each


def sum_of_products(x: jax.Array, kernel: jax.Array, *, pads: Pads) -> jax.Array:
    """Returns the convolution of x (batch, height, width, 1), strides 1, as a sum of shifts.

    XLA fuses it with the batch norm, activation and pool that follow: it is never stored.
    """
    counts = [s + sum(p) - k + 1 for s, p, k in zip(x.shape[1:], pads, kernel.shape, strict=False)]
    views = taps(pad(x, pads).astype(jnp.float32), kernel.shape[:2], tuple(counts), (1, 1))
    weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1]).astype(jnp.float32)
    total = sum(view * weight for view, weight in zip(views, weights, strict=True))
    return jnp.asarray(total, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def maximum_of_products(x: jax.Array, kernel: jax.Array, pads: Pads, pool: Sizes) -> jax.Array:
    """Returns the max pool of the convolution of x (batch, height, width, 1), strides 1.

    Computes one product per offset in the pool's window and keeps the maximum, one clip at a time
    to fit in a cache. Of equal values, the first is selected.
    """
    return _products_forward(x, kernel, pads, pool)[0]


def _offsets(x: jax.Array, kernel: jax.Array, pads: Pads, pool: Sizes) -> tuple[list[Sizes], Sizes]:
    """Returns the offsets in the pool's window, and the number of windows along each axis."""
    sizes = [
        size + sum(pad) - width + 1
        for size, pad, width in zip(x.shape[1:-1], pads, kernel.shape, strict=False)
    ]
    pool = tuple(map(min, pool, sizes))
    return list(itertools.product(*map(range, pool))), tuple(map(int.__floordiv__, sizes, pool))


def _products_forward(
    x: jax.Array, kernel: jax.Array, pads: Pads, pool: Sizes
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    offsets, counts = _offsets(x, kernel, pads, pool)
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)

    def pool_image(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        image = image.astype(jnp.float32)  # in bfloat16, products of few columns are slower
        largest = _columns(image, kernel, offsets[0], counts, pool).T @ weights
        argmax = jnp.zeros(largest.shape, jnp.uint8)
        for index, offset in enumerate(offsets[1:], start=1):
            product = _columns(image, kernel, offset, counts, pool).T @ weights
            argmax = jnp.where(product > largest, jnp.uint8(index), argmax)
            largest = jnp.maximum(product, largest)
        return largest.astype(x.dtype), argmax

    largest, argmax = lax.map(pool_image, pad(x, pads))
    shape = (x.shape[0], *counts, kernel.shape[-1])
    return largest.reshape(shape), (x, kernel, argmax)


def _products_backward(
    pads: Pads,
    pool: Sizes,
    saved: tuple[jax.Array, jax.Array, jax.Array],
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel, argmax = saved
    offsets, counts = _offsets(x, kernel, pads, pool)
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
    padded, unpad = jax.vjp(lambda x: pad(x, pads), x)

    def add_clip(total: jax.Array, clip: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        image, gradient = clip[0].astype(jnp.float32), clip[2].astype(jnp.float32)
        to_image = jnp.zeros_like(image)
        for index, offset in enumerate(offsets):
            selected = jnp.where(clip[1] == index, gradient, 0)
            columns, back = jax.vjp(lambda i, o=offset: _columns(i, kernel, o, counts, pool), image)
            total += columns @ selected
            to_image += back(weights @ selected.T)[0]
        return total, to_image.astype(x.dtype)

    rows = gradient.reshape(argmax.shape)
    zero = jnp.zeros(weights.shape)
    to_weights, topad = lax.scan(add_clip, zero, (padded, argmax, rows))
    return unpad(topad)[0], to_weights.reshape(kernel.shape).astype(kernel.dtype)


maximum_of_products.defvjp(_products_forward, _products_backward)


def _columns(
    image: jax.Array, kernel: jax.Array, offset: Sizes, counts: Sizes, pool: Sizes
) -> jax.Array:
    """Returns (taps, windows): the kernel's input at one offset of each of the pool's windows."""
    views = taps(image[None], kernel.shape[:-2], counts, pool, offset)
    return jnp.stack([view.ravel() for view in views])

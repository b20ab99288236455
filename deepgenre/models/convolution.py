"""Convolution, alone or followed by a max pool, lowered by platform.

XLA's convolutions are fast on GPUs; on CPUs, only the output and the gradient of the input are. On
CPUs, this module computes the gradient of the kernel by matrix products, and convolutions of images
of one channel, which are memory-bound, by sums that are never stored. `by_xla` and
`pool_of_convolution` define the results.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deepgenre.models.lowering import by_platform, is_plain
from deepgenre.models.pooling import max_pool

MAX_TAPS = 9  # of a kernel in `sum_of_products`: 3 x 3
MAX_POOL_SIZE = 32  # offsets in a pool's window: one product for each
MAX_ROWS = 8192  # of a product, unless one clip has more
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    pool: Sequence[int] = (),
    **others: Any,
) -> jax.Array:
    """Returns (batch, *spatial, features) of x (batch, *spatial, channels), pooled by `pool`.

    kernel: (*sizes, channels, features). Used as `conv_general_dilated` of an `nn.Conv` without
    dilation or groups; its other arguments are then always the same, and ignored.
    """
    del others
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], kernel.shape[:-2], strides, padding)
    pads = tuple((before, after) for before, after in padding)
    if is_plain():
        return max_pool(by_xla(x, kernel, strides, pads), pool)
    if not pool:
        return convolution(x, kernel, strides, pads)
    plain = functools.partial(pool_of_convolution, strides=strides, pads=pads, pool=pool)
    if not _is_single_channel(x, strides) or math.prod(pool) > MAX_POOL_SIZE:
        return plain(x, kernel)

    def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return maximum_of_products(x, kernel, pads, tuple(pool))

    return by_platform(x, kernel, cpu=on_cpu, default=plain)


def _is_single_channel(x: jax.Array, strides: Sizes) -> bool:
    """Returns whether x contains images of one channel, convolved with strides 1."""
    return x.ndim == 4 and x.shape[-1] == 1 and set(strides) == {1}


def by_xla(x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Pads) -> jax.Array:
    """Returns XLA's convolution: (batch, *spatial, features)."""
    spatial = "DHW"[-len(pads) :]
    names = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names)


def pool_of_convolution(
    x: jax.Array, kernel: jax.Array, *, strides: Sizes, pads: Pads, pool: Sequence[int]
) -> jax.Array:
    """Returns the max pool, without overlap, of the convolution."""
    return max_pool(convolution(x, kernel, strides, pads), pool)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolution(x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Pads) -> jax.Array:
    """Returns `by_xla`; on a CPU, the gradient of the kernel is computed by matrix products."""
    plain = functools.partial(by_xla, strides=strides, pads=pads)
    if not _is_single_channel(x, strides) or math.prod(kernel.shape[:-1]) > MAX_TAPS:
        return plain(x, kernel)
    on_cpu = functools.partial(sum_of_products, pads=pads)
    return by_platform(x, kernel, cpu=on_cpu, default=plain)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolution(x, kernel, strides, pads), (x, kernel)


def _backward(
    strides: Sizes, pads: Pads, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    _, input_vjp = jax.vjp(lambda x: by_xla(x, kernel, strides, pads), x)

    def plain(x: jax.Array, gradient: jax.Array) -> jax.Array:
        _, kernel_vjp = jax.vjp(lambda kernel: by_xla(x, kernel, strides, pads), kernel)
        return kernel_vjp(gradient)[0]

    def on_cpu(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return kernel_gradient(x, gradient, kernel.shape, strides, pads)

    return input_vjp(gradient)[0], by_platform(x, gradient, cpu=on_cpu, default=plain)


convolution.defvjp(_forward, _backward)


def sum_of_products(x: jax.Array, kernel: jax.Array, *, pads: Pads) -> jax.Array:
    """Returns the convolution of x (batch, height, width, 1), strides 1, as a sum of shifts.

    XLA fuses it with the batch norm, activation and pool that follow: it is never stored.
    """
    counts = [s + sum(p) - k + 1 for s, p, k in zip(x.shape[1:], pads, kernel.shape, strict=False)]
    views = taps(_padded(x, pads).astype(jnp.float32), kernel.shape[:2], tuple(counts), (1, 1))
    weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1]).astype(jnp.float32)
    total = sum(view * weight for view, weight in zip(views, weights, strict=True))
    return jnp.asarray(total, x.dtype)


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, shape: Sizes, strides: Sizes, pads: Pads
) -> jax.Array:
    """Returns the gradient of a kernel of `shape`: a product per tap, MAX_ROWS at a time, in cache.

    x: (batch, *spatial, channels); gradient: of the output, (batch, *spatial, features).
    """
    batch, counts = gradient.shape[0], gradient.shape[1:-1]
    group = _largest_divisor(batch, at_most=MAX_ROWS // math.prod(counts))

    def add_group(total: jax.Array, clips: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        images, gradient = clips
        views = taps(images, shape[:-2], counts, strides)
        rows = gradient.reshape(-1, shape[-1])
        products = [_product(view.reshape(-1, shape[-2]).T, rows) for view in views]
        return total + jnp.stack(products), None

    images = _padded(x, pads)
    images, gradient = (y.reshape(-1, group, *y.shape[1:]) for y in (images, gradient))
    zero = jnp.zeros((math.prod(shape[:-2]), *shape[-2:]))
    return lax.scan(add_group, zero, (images, gradient))[0].reshape(shape).astype(x.dtype)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Returns the matrix product, accumulated in float32 for factors of any dtype."""
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)


def _largest_divisor(number: int, *, at_most: int) -> int:
    return max(d for d in range(1, number + 1) if number % d == 0 and (d == 1 or d <= at_most))


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
    weights = kernel.reshape(-1, kernel.shape[-1])

    def pool_image(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        largest = _columns(image, kernel, offsets[0], counts, pool).T @ weights
        argmax = jnp.zeros(largest.shape, jnp.uint8)
        for index, offset in enumerate(offsets[1:], start=1):
            product = _columns(image, kernel, offset, counts, pool).T @ weights
            argmax = jnp.where(product > largest, jnp.uint8(index), argmax)
            largest = jnp.maximum(product, largest)
        return largest, argmax

    largest, argmax = lax.map(pool_image, _padded(x, pads))
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
    weights = kernel.reshape(-1, kernel.shape[-1])
    padded, unpad = jax.vjp(lambda x: _padded(x, pads), x)

    def add_clip(total: jax.Array, clip: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        image, argmax, gradient = clip
        to_image = jnp.zeros_like(image)
        for index, offset in enumerate(offsets):
            selected = jnp.where(argmax == index, gradient, 0)
            columns, back = jax.vjp(lambda i, o=offset: _columns(i, kernel, o, counts, pool), image)
            total += _product(columns, selected)
            to_image += back(weights @ selected.T)[0]
        return total, to_image

    rows = gradient.reshape(argmax.shape)
    zero = jnp.zeros(weights.shape)
    to_weights, to_padded = lax.scan(add_clip, zero, (padded, argmax, rows))
    return unpad(to_padded)[0], to_weights.reshape(kernel.shape).astype(kernel.dtype)


maximum_of_products.defvjp(_products_forward, _products_backward)


def _columns(
    image: jax.Array, kernel: jax.Array, offset: Sizes, counts: Sizes, pool: Sizes
) -> jax.Array:
    """Returns (taps, windows): the kernel's input at one offset of each of the pool's windows."""
    views = taps(image[None], kernel.shape[:-2], counts, pool, offset)
    return jnp.stack([view.ravel() for view in views])


def taps(
    images: jax.Array, sizes: Sizes, counts: Sizes, strides: Sizes, offset: Sizes = (0, 0, 0)
) -> list[jax.Array]:
    """Returns the input of each tap of a kernel of `sizes` that is moved over images.

    images: (clips, *spatial, channels), already padded. Each input is (clips, *counts, channels):
    every `strides`-th value from the tap's own index plus `offset`.
    """
    views = []
    for tap in itertools.product(*map(range, sizes)):
        first = [t + o for t, o in zip(tap, offset, strict=False)]
        last = [f + s * (n - 1) + 1 for f, s, n in zip(first, strides, counts, strict=True)]
        start, limit = (0, *first, 0), (images.shape[0], *last, images.shape[-1])
        views.append(lax.slice(images, start, limit, (1, *strides, 1)))
    return views


def _padded(x: jax.Array, pads: Pads) -> jax.Array:
    return jnp.pad(x, ((0, 0), *pads, (0, 0)))

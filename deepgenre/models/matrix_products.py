"""Convolution and its gradients as matrix products: columns of a few clips at a time, in cache.

On CPUs, XLA multiplies matrices of bfloat16 by the processor's own instructions (AVX-512, AMX),
with sums in float32, but convolves them at the speed of float32.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

MAX_ROWS = 8192  # of a product, unless one clip has more
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def convolution(x: jax.Array, kernel: jax.Array, *, strides: Sizes, pads: Pads) -> jax.Array:
    """Returns the convolution of x (batch, *spatial, channels): (batch, *counts, features)."""
    images, weights = pad(x, pads), kernel.reshape(-1, kernel.shape[-1])
    counts = _output_sizes(x.shape, kernel.shape, strides, pads)
    group = _largest_divisor(x.shape[0], at_most=MAX_ROWS // math.prod(counts))

    def convolve_group(images: jax.Array) -> jax.Array:
        columns = jnp.concatenate(taps(images, kernel.shape[:-2], counts, strides), axis=-1)
        return _product(columns.reshape(-1, weights.shape[0]), weights).astype(x.dtype)

    result = lax.map(convolve_group, images.reshape(-1, group, *images.shape[1:]))
    return result.reshape(x.shape[0], *counts, kernel.shape[-1])


def _output_sizes(shape: Sizes, kernel: Sizes, strides: Sizes, pads: Pads) -> Sizes:
    """Returns the spatial sizes of the convolution of an input of `shape`."""
    sizes = zip(shape[1:-1], pads, kernel, strides, strict=False)
    return tuple(
        (size + sum(around) - width) // stride + 1 for size, around, width, stride in sizes
    )


def input_gradient(
    shape: Sizes, kernel: jax.Array, gradient: jax.Array, strides: Sizes, pads: Pads
) -> jax.Array:
    """Returns the gradient of an input of `shape` (batch, *spatial, channels), by products.

    It is the convolution, without strides, of the output's gradient by the reversed kernel. With
    strides, positions of the input are divided into blocks of their size: a position in a block is
    reached by every `stride`-th tap, and all of a block are computed as one position's features.
    """
    sizes, (channels, features) = kernel.shape[:-2], kernel.shape[-2:]
    blocks = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    excess = [n * stride - s for n, stride, s in zip(blocks, strides, sizes, strict=True)]
    kernel = jnp.pad(kernel, [*((0, n) for n in excess), (0, 0), (0, 0)])
    split = [n for pair in zip(blocks, strides, strict=True) for n in pair]
    kernel = kernel.reshape(*split, channels, features)
    rank = len(strides)
    block_axes, offset_axes = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    kernel = kernel.transpose(*block_axes, 2 * rank + 1, *offset_axes, 2 * rank)
    kernel = jnp.flip(kernel, range(rank)).reshape(*blocks, features, math.prod(strides) * channels)
    around = tuple((n - 1, n - 1) for n in blocks)
    result = convolution(gradient, kernel, strides=(1,) * rank, pads=around)
    return _cut(_from_blocks(result, strides, channels), shape, pads)


def _from_blocks(blocks: jax.Array, strides: Sizes, channels: int) -> jax.Array:
    """Returns (batch, *counts, strides x channels) as (batch, *counts x strides, channels)."""
    batch, *counts, _ = blocks.shape
    rank = len(strides)
    axes = [axis for position in range(1, rank + 1) for axis in (position, position + rank)]
    split = blocks.reshape(batch, *counts, *strides, channels).transpose(0, *axes, 2 * rank + 1)
    sizes = [count * stride for count, stride in zip(counts, strides, strict=True)]
    return split.reshape(batch, *sizes, channels)


def _cut(padded: jax.Array, shape: Sizes, pads: Pads) -> jax.Array:
    """Returns what is at an input of `shape` of a padded one, which may end early: then zeros."""
    sizes = zip(shape[1:], padded.shape[1:], pads, strict=False)
    return pad(padded, [(-before, before + size - whole) for size, whole, (before, _) in sizes])


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, shape: Sizes, strides: Sizes, pads: Pads
) -> jax.Array:
    """Returns the gradient of a kernel of `shape`: a product for MAX_ROWS at a time, in cache.

    x: (batch, *spatial, channels); gradient: of the output, (batch, *spatial, features).
    """
    batch, counts, channels = gradient.shape[0], gradient.shape[1:-1], shape[-2]
    group = _largest_divisor(batch, at_most=MAX_ROWS // math.prod(counts))

    def add_group(total: jax.Array, clips: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        # Channels come first: XLA multiplies matrices of bfloat16 three times as fast if the left
        # one need not be transposed, and transposes the images faster than their columns.
        images = jnp.moveaxis(clips[0], -1, 0).reshape(-1, *clips[0].shape[1:-1], 1)
        views = taps(images, shape[:-2], counts, strides)
        columns = jnp.concatenate([view.reshape(channels, -1) for view in views])
        return total + _product(columns, clips[1].reshape(-1, shape[-1])), None

    images = pad(x, pads)
    images, gradient = (y.reshape(-1, group, *y.shape[1:]) for y in (images, gradient))
    zero = jnp.zeros((math.prod(shape[:-1]), shape[-1]))
    return lax.scan(add_group, zero, (images, gradient))[0].reshape(shape).astype(x.dtype)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Returns the matrix product, accumulated in float32 for factors of any dtype."""
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)


def _largest_divisor(number: int, *, at_most: int) -> int:
    return max(d for d in range(1, number + 1) if number % d == 0 and (d == 1 or d <= at_most))


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


def pad(x: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Returns x with its spatial axes padded with zeros; negative numbers cut."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(p[0], p[1], 0) for p in ((0, 0), *pads, (0, 0))])

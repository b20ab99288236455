"""Convolution, alone or followed by a max pool, lowered by platform.

XLA's convolutions are fast on GPUs. On CPUs, what is faster is chosen here, by measurement: matrix
products for gradients of kernels, and for wide layers in bfloat16; sums that are never stored for
images of one channel, which are memory-bound. `by_xla` and `pool_of_convolution` define the
results.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deepgenre.models import matrix_products
from deepgenre.models.lowering import by_platform, is_plain
from deepgenre.models.matrix_products import Pads, Sizes
from deepgenre.models.pooling import max_pool
from deepgenre.models.single_channel import (
    MAX_POOL_SIZE,
    MAX_TAPS,
    maximum_of_products,
    sum_of_products,
)

MIN_WIDTH = 128  # channels and features of a layer in bfloat16 that products speed up


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
    """Returns `by_xla`, by whatever is the fastest on the platform, as are its gradients."""
    plain = functools.partial(by_xla, strides=strides, pads=pads)
    if _is_single_channel(x, strides) and math.prod(kernel.shape[:-1]) <= MAX_TAPS:
        on_cpu = functools.partial(sum_of_products, pads=pads)
    elif products_pay(x.dtype, kernel.shape):
        on_cpu = functools.partial(matrix_products.convolution, strides=strides, pads=pads)
    else:
        return plain(x, kernel)
    return by_platform(x, kernel, cpu=on_cpu, default=plain)


def products_pay(dtype: jnp.dtype, shape: Sizes) -> bool:
    """Returns whether products are faster on CPUs than XLA's convolution of this kernel's shape."""
    return dtype == jnp.bfloat16 and min(shape[-2:]) >= MIN_WIDTH


def _forward(
    x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolution(x, kernel, strides, pads), (x, kernel)


def _backward(
    strides: Sizes, pads: Pads, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def plain(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda x, k: by_xla(x, k, strides, pads), x, kernel)[1](gradient)

    def on_cpu(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        if products_pay(x.dtype, kernel.shape):
            to_input = matrix_products.input_gradient(x.shape, kernel, gradient, strides, pads)
        else:
            to_input = plain(x, kernel, gradient)[0]
        shape = kernel.shape
        return to_input, matrix_products.kernel_gradient(x, gradient, shape, strides, pads)

    return by_platform(*saved, gradient, cpu=on_cpu, default=plain)


convolution.defvjp(_forward, _backward)

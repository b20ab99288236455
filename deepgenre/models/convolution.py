"""Convolution in use, without a gradient: of one channel on a CPU it is a sum of products.

XLA hands a convolution to Eigen, which makes patches: of one channel they are too small to pay. A
sum of moved inputs is fused with the batch norm, ReLU and pool that follow, and never lies in
memory. (Not with an ELU: XLA then leaves the whole loop scalar, five times slower.)
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

MOST_TAPS = 9  # of a kernel: 3 x 3


def convolve_in_use(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **others: Any
) -> jax.Array:
    """Returns `jax.lax.conv_general_dilated`, to rounding; takes what `nn.Conv` gives it.

    Nothing may be dilated. The only place that chooses the lowering by platform.
    """

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **others)

    *taps, inputs, _ = kernel.shape
    if inputs > 1 or len(taps) != 2 or taps[0] * taps[1] > MOST_TAPS or any(s > 1 for s in strides):
        return plain(x, kernel)

    def by_sum(x: jax.Array, kernel: jax.Array) -> jax.Array:
        named = isinstance(padding, str)
        pads = jax.lax.padtype_to_pads(x.shape[1:3], taps, strides, padding) if named else padding
        return sum_of_products(x, kernel, pads)

    return jax.lax.platform_dependent(x, kernel, cpu=by_sum, default=plain)


def sum_of_products(x: jax.Array, kernel: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Returns the convolution (batch, frames, bands, features) of x (batch, frames, bands, 1).

    kernel: (frames, bands, 1, features). pads: zeros before and after frames and bands.
    """
    frames, bands = (
        size + sum(pad) - taps + 1
        for size, pad, taps in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    )
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(jnp.float32)
    total = jnp.zeros((), jnp.float32)
    for frame in range(kernel.shape[0]):
        for band in range(kernel.shape[1]):
            moved = padded[:, frame : frame + frames, band : band + bands]
            total = total + moved * kernel[frame : frame + 1, None, band, :]
    return total.astype(x.dtype)

"""The discrete Fourier transform by products of real matrices, which every runtime has.

ONNX has an operation for it, with which OpenVINO 2026.4 fails or computes other values.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def transform(x: jax.Array, axis: int) -> jax.Array:
    """Returns the transform of x along an axis; complex numbers are a last axis of size 2.

    x: float32 (..., 2), or (..., 1) of real numbers; the result is (..., 2). In two steps (Cooley
    and Tukey, 1965), where the length has divisors: over `outer` numbers that are `inner` apart,
    then over `inner` numbers.
    """
    x = jnp.moveaxis(x, axis, -2)
    length = x.shape[-2]
    outer = max(d for d in range(1, math.isqrt(length) + 1) if length % d == 0)
    inner = length // outer
    split = x.reshape(*x.shape[:-2], outer, inner, x.shape[-1])
    real = split[..., 0]
    imaginary = split[..., 1] if x.shape[-1] == 2 else None
    over_outer = _rotations(outer, outer, outer)
    real, imaginary = _product(real.swapaxes(-1, -2), _swapped(imaginary), over_outer)
    real, imaginary = _turned(real, imaginary, _rotations(inner, outer, length))
    real, imaginary = real.swapaxes(-1, -2), imaginary.swapaxes(-1, -2)  # (..., outer, inner)
    real, imaginary = _product(real, imaginary, _rotations(inner, inner, inner))
    parts = [part.swapaxes(-1, -2).reshape(*x.shape[:-2], length) for part in (real, imaginary)]
    return jnp.moveaxis(jnp.stack(parts, axis=-1), -2, axis)


def _rotations(rows: int, columns: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 (rows, columns): real and imaginary parts of exp(-2 pi i row column / n)."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % length / length
    angles = 2 * np.pi * turns
    return np.cos(angles).astype(np.float32), -np.sin(angles).astype(np.float32)


def _swapped(x: jax.Array | None) -> jax.Array | None:
    return None if x is None else x.swapaxes(-1, -2)


def _product(
    real: jax.Array, imaginary: jax.Array | None, matrix: tuple[np.ndarray, np.ndarray]
) -> tuple[jax.Array, jax.Array]:
    """Returns the product with a complex matrix, along the last axis."""
    cosines, sines = matrix
    if imaginary is None:
        return real @ cosines, real @ sines
    return real @ cosines - imaginary @ sines, real @ sines + imaginary @ cosines


def _turned(
    real: jax.Array, imaginary: jax.Array, factors: tuple[np.ndarray, np.ndarray]
) -> tuple[jax.Array, jax.Array]:
    """Returns the products with complex factors, element by element."""
    shape = (1,) * (real.ndim - 2) + factors[0].shape
    cosines, sines = (factor.reshape(shape) for factor in factors)
    return real * cosines - imaginary * sines, real * sines + imaginary * cosines

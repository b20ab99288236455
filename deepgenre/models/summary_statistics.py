"""Groups of statistics of a clip's log-mel bands over time.

x is float32 (batch, frames, bands), standardised; each function returns float32 (batch, features).
The mean spectrum is left out: it separates recordings better than genres.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

EPSILON = 1e-5
MFCCS = 24
COVARIANCE_MFCCS = 20
COVARIANCE_FLOOR = 0.003  # times the mean variance, added to each to avoid the logarithm of 0
GROUP_BANDS = 8  # bands per group in `contrast`
PATCH = 32  # frames and bands of a patch in `modulations`
SPECTRUM_FLOOR = 0.15


def mean_and_deviation(x: jax.Array) -> jax.Array:
    """Returns (batch, 2 features) of (batch, frames, features)."""
    return jnp.concatenate([x.mean(axis=1), _deviation(x)], axis=-1)


def mfcc_dynamics(x: jax.Array) -> jax.Array:
    """Returns deviations of MFCCs and of their change over 1 and 4 frames, and skewness."""
    mfcc = _mfccs(x, MFCCS)
    centred = mfcc - mfcc.mean(axis=1, keepdims=True)
    skewness = (centred**3).mean(axis=1) / (_deviation(mfcc) ** 3 + 1e-3)
    changes = [_deviation(mfcc[:, lag:] - mfcc[:, :-lag]) for lag in (1, 4)]
    return jnp.concatenate([_deviation(mfcc), *changes, skewness], axis=-1)


def contrast(x: jax.Array) -> jax.Array:
    """Returns mean and deviation of peak - mean and of mean - valley, per group of bands."""
    count = x.shape[2] // GROUP_BANDS
    groups = x[..., : count * GROUP_BANDS].reshape(*x.shape[:2], count, GROUP_BANDS)
    mean = groups.mean(axis=-1)
    return mean_and_deviation(
        jnp.concatenate([groups.max(axis=-1) - mean, mean - groups.min(axis=-1)], axis=-1)
    )


def covariance_of_change(x: jax.Array) -> jax.Array:
    """Returns the matrix logarithm of the covariance of MFCCs' changes over two frames.

    Its upper triangle, with values off the diagonal times sqrt(2): distances are then log-Euclidean
    (V. Arsigny et al., 2006).
    """
    mfcc = _mfccs(x, COVARIANCE_MFCCS)
    change = mfcc[:, 2:] - mfcc[:, :-2]
    change = change - change.mean(axis=1, keepdims=True)
    covariance = jnp.einsum("bti,btj->bij", change, change) / change.shape[1]
    size = covariance.shape[-1]
    mean_variance = jnp.trace(covariance, axis1=1, axis2=2)[:, None, None] / size
    floored = covariance + (COVARIANCE_FLOOR * mean_variance + EPSILON) * jnp.eye(size)[None]
    logarithm = matrix_logarithm(floored)
    rows, columns = np.triu_indices(size)
    return logarithm[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))[None]


@jax.custom_jvp
def matrix_logarithm(matrices: jax.Array) -> jax.Array:
    """Returns the logarithm of symmetric positive definite matrices (batch, size, size)."""
    values, vectors = jnp.linalg.eigh(matrices)
    return jnp.einsum("bik,bk,bjk->bij", vectors, jnp.log(values), vectors)


@matrix_logarithm.defjvp
def _matrix_logarithm_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """By Daletskii and Krein's formula; the gradient of `eigh` is infinite for equal values."""
    (matrices,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrices)
    rows, columns = values[:, :, None], values[:, None, :]
    is_close = jnp.abs(rows - columns) < 1e-3 * (rows + columns)
    difference = jnp.where(is_close, 1.0, rows - columns)
    slopes = jnp.where(
        is_close, 2.0 / (rows + columns), (jnp.log(rows) - jnp.log(columns)) / difference
    )
    turned = jnp.einsum("bki,bkl,blj->bij", vectors, change, vectors)
    logarithm = jnp.einsum("bik,bk,bjk->bij", vectors, jnp.log(values), vectors)
    return logarithm, jnp.einsum("bik,bkl,bjl->bij", vectors, slopes * turned, vectors)


def modulations(x: jax.Array) -> jax.Array:
    """Returns the logarithm of the mean 2D spectrum of patches of PATCH frames and bands.

    Patches overlap by half in time; each register of PATCH bands has its own mean.
    """
    centred = x - x.mean(axis=1, keepdims=True)
    registers = x.shape[2] // PATCH
    centred = jnp.pad(centred, ((0, 0), (0, max(0, PATCH - x.shape[1])), (0, 0)))
    starts = range(0, centred.shape[1] - PATCH + 1, PATCH // 2)
    cut = [centred[:, start : start + PATCH, : registers * PATCH] for start in starts]
    patches = jnp.stack(cut, axis=1).reshape(x.shape[0], len(cut), PATCH, registers, PATCH)
    window = jnp.asarray(np.outer(np.hanning(PATCH), np.hanning(PATCH)), jnp.float32)
    spectrum = jnp.abs(jnp.fft.fft2(patches * window[None, None, :, None], axes=(2, 4)))
    mean = spectrum.mean(axis=1).swapaxes(1, 2)  # (batch, registers, PATCH, PATCH)
    low, mirrored = mean[:, :, :12, :8], mean[:, :, 1:12, -7:]  # the rest is redundant, or too fast
    flat = [part.reshape(*part.shape[:2], -1) for part in (low, mirrored)]
    joined = jnp.concatenate(flat, axis=-1).reshape(x.shape[0], -1)
    return jnp.log(joined + SPECTRUM_FLOOR)


STATISTICS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "mfcc_dynamics": mfcc_dynamics,
    "contrast": contrast,
    "covariance_of_change": covariance_of_change,
    "modulations": modulations,
}


def _deviation(x: jax.Array) -> jax.Array:
    return jnp.sqrt(x.var(axis=1) + EPSILON)


def _mfccs(x: jax.Array, count: int) -> jax.Array:
    return jnp.einsum("btf,fc->btc", x, jnp.asarray(_dct(x.shape[2])[:, :count], jnp.float32))


@functools.lru_cache(maxsize=4)
def _dct(bands: int) -> np.ndarray:
    return np.asarray(scipy.fft.dct(np.eye(bands), type=2, axis=1, norm="ortho"))

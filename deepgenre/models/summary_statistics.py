"""Groups of statistics of a clip's log-mel bands over time.

x is float32 (batch, frames, bands), standardised; each function returns float32 (batch, features).
The mean spectrum is left out: it separates recordings better than genres.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from deepgenre.models.lowering import is_plain

EPSILON = 1e-5
MFCCS = 24
COVARIANCE_MFCCS = 20
COVARIANCE_FLOOR = 0.003  # times the mean variance, added to each to avoid the logarithm of 0
ROOT_ITERATIONS = (17, 11, 8, 7, 6, 6)  # of successive square roots in `logarithm_by_products`
SERIES_TERMS = 9  # of its series
GROUP_BANDS = 8  # bands per group in `contrast` and others


def mean_and_deviation(x: jax.Array) -> jax.Array:
    """Returns (batch, 2 features) of (batch, frames, features)."""
    return jnp.concatenate([x.mean(axis=1), deviation(x)], axis=-1)


def mfcc_dynamics(x: jax.Array) -> jax.Array:
    """Returns deviations of MFCCs and of their change over 1 and 4 frames, and skewness."""
    mfcc = _mfccs(x, MFCCS)
    centred = mfcc - mfcc.mean(axis=1, keepdims=True)
    skewness = (centred**3).mean(axis=1) / (deviation(mfcc) ** 3 + 1e-3)
    changes = [deviation(mfcc[:, lag:] - mfcc[:, :-lag]) for lag in (1, 4)]
    return jnp.concatenate([deviation(mfcc), *changes, skewness], axis=-1)


def contrast(x: jax.Array) -> jax.Array:
    """Returns mean and deviation of peak - mean and of mean - valley, per group of bands."""
    groups = grouped_bands(x, GROUP_BANDS)
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
    logarithm = (logarithm_by_products if is_plain() else matrix_logarithm)(floored)
    rows, columns = np.triu_indices(size)
    return logarithm[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))[None]


def logarithm_by_products(matrices: jax.Array) -> jax.Array:
    """Returns `matrix_logarithm` to float32 rounding, for runtimes without eigenvalues.

    Inverse scaling and squaring: square roots, by Newton's iteration with products only
    (N. Higham, "Functions of matrices", 2008, chapters 6 and 11), until a short series suffices.
    Each number of iterations suffices for condition numbers of `COVARIANCE_FLOOR`.
    """
    identity = jnp.eye(matrices.shape[-1])[None]
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    trace = jnp.trace(matrices, axis1=1, axis2=2)[:, None, None]
    root = matrices / trace  # eigenvalues of at most 1
    for iterations in ROOT_ITERATIONS:
        inverse = jnp.broadcast_to(identity, root.shape)
        for _ in range(iterations):
            step = 1.5 * identity - 0.5 * product(inverse, root)
            root, inverse = product(root, step), product(step, inverse)
    excess = identity - root
    series = excess / SERIES_TERMS
    for term in range(SERIES_TERMS - 1, 0, -1):
        series = product(excess, series) + excess / term
    return jnp.log(trace) * identity - 2 ** len(ROOT_ITERATIONS) * series


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


def deviation(x: jax.Array) -> jax.Array:
    """Returns (batch, features) of (batch, frames, features); never 0."""
    return jnp.sqrt(x.var(axis=1) + EPSILON)


def grouped_bands(x: jax.Array, size: int) -> jax.Array:
    """Returns (batch, frames, groups, size) of (batch, frames, bands), without a partial group."""
    count = x.shape[2] // size
    return x[..., : count * size].reshape(*x.shape[:2], count, size)


def _mfccs(x: jax.Array, count: int) -> jax.Array:
    return jnp.einsum("btf,fc->btc", x, jnp.asarray(_dct(x.shape[2])[:, :count], jnp.float32))


@functools.lru_cache(maxsize=4)
def _dct(bands: int) -> np.ndarray:
    return np.asarray(scipy.fft.dct(np.eye(bands), type=2, axis=1, norm="ortho"))

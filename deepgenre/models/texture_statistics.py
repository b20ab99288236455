"""Groups of statistics of a clip's texture: spread, onsets, harmonic against percussive, detail.

x is float32 (batch, frames, bands), standardised, with 8 or more frames and 32 or more bands; each
function returns float32 (batch, features).
"""

import jax
import jax.numpy as jnp

from deepgenre.models.summary_statistics import (
    GROUP_BANDS,
    deviation,
    grouped_bands,
    mean_and_deviation,
)

SPREAD_BANDS = 4  # bands that are averaged in `spectrum_percentiles`
SPREAD_PERCENTS = (5, 25, 50, 75, 95)
ONSET_REGISTERS = 8
ONSET_PERCENTS = (10, 50, 75, 90, 97)
FILTER_LENGTH = 9  # frames and bands of the median and mean filters
DETAIL_FLOOR = 0.01

# Exchanges that bring the median of nine values to the middle: J. L. Smith, "Implementing median
# filters in XC4000E FPGAs", XCell 23, 1996. Much faster than sorting on a CPU.
_EXCHANGES = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3), (5, 8), (4, 7),
    (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def spectrum_percentiles(x: jax.Array) -> jax.Array:
    """Returns percentiles over time relative to the median, of the mean of SPREAD_BANDS bands."""
    level = grouped_bands(x, SPREAD_BANDS).mean(axis=-1)
    lower, low, median, high, higher = _percentiles(level, SPREAD_PERCENTS)
    return jnp.concatenate([value - median for value in (lower, low, high, higher)], axis=-1)


def onset_distribution(x: jax.Array) -> jax.Array:
    """Returns the distribution over time of the rise of levels, per register and in total.

    These are deviation, skewness, mean absolute value over deviation, and percentiles, of the rise
    around its mean.
    """
    rise = jax.nn.relu(x[:, 1:] - x[:, :-1])
    size = rise.shape[2] // ONSET_REGISTERS
    registers = grouped_bands(rise[..., : ONSET_REGISTERS * size], size).mean(axis=-1)
    strength = jnp.concatenate([registers, rise.mean(axis=2, keepdims=True)], axis=-1)
    centred = strength - strength.mean(axis=1, keepdims=True)
    spread = deviation(centred)
    skewness = (centred**3).mean(axis=1) / (spread**3 + 1e-3)
    peakedness = jnp.abs(centred).mean(axis=1) / spread
    percentiles = _percentiles(centred, ONSET_PERCENTS)
    return jnp.concatenate([spread, skewness, peakedness, *percentiles], axis=-1)


def harmonic_percussive(x: jax.Array) -> jax.Array:
    """Returns statistics of median-filtered levels over time minus those over bands.

    Per group of bands: mean, mean absolute value, deviation, and share of values above 0. After
    D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """
    difference = median_filter(x, axis=1) - median_filter(x, axis=2)
    groups = grouped_bands(difference, GROUP_BANDS)
    axes = (1, 3)
    statistics = (
        groups.mean(axis=axes),
        jnp.abs(groups).mean(axis=axes),
        _root(groups.var(axis=axes)),
        (groups > 0).mean(axis=axes),
    )
    return jnp.concatenate(statistics, axis=-1)


def detail(x: jax.Array) -> jax.Array:
    """Returns mean and deviation over time of the detail over bands and of that over time.

    Detail is the rms difference, per frame and group of bands, from a moving mean over
    FILTER_LENGTH bands or frames. The logarithm of the ratio of both means is added.
    """
    over_bands, over_time = (
        _root(jnp.square(grouped_bands(x - mean_filter(x, axis), GROUP_BANDS)).mean(axis=-1))
        for axis in (2, 1)
    )
    means = (over_bands.mean(axis=1) + DETAIL_FLOOR, over_time.mean(axis=1) + DETAIL_FLOOR)
    ratio = jnp.log(means[0] / means[1])
    both = [mean_and_deviation(values) for values in (over_bands, over_time)]
    return jnp.concatenate([*both, ratio], axis=-1)


def median_filter(x: jax.Array, axis: int) -> jax.Array:
    """Returns the median over FILTER_LENGTH values along an axis; the ends are mirrored."""
    values = _neighbours(x, axis)
    for low, high in _EXCHANGES:
        values[low], values[high] = (
            jnp.minimum(values[low], values[high]),
            jnp.maximum(values[low], values[high]),
        )
    return values[FILTER_LENGTH // 2]


def mean_filter(x: jax.Array, axis: int, length: int = FILTER_LENGTH) -> jax.Array:
    """Returns the mean over `length` values, an odd number, along an axis; ends are mirrored."""
    return jnp.stack(_neighbours(x, axis, length)).mean(axis=0)


def _neighbours(x: jax.Array, axis: int, length: int = FILTER_LENGTH) -> list[jax.Array]:
    size, half = x.shape[axis], length // 2
    padding = [(0, 0)] * x.ndim
    padding[axis] = (half, half)
    padded = jnp.pad(x, padding, mode="symmetric")
    return [jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(length)]


def _root(x: jax.Array) -> jax.Array:
    """Returns the square root, whose gradient is 0 at 0: bands without sound are constant."""
    is_positive = x > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, x, 1.0)), 0.0)


def _percentiles(x: jax.Array, percents: tuple[int, ...]) -> jax.Array:
    """Returns (percents, batch, features): percentiles over axis 1, linearly interpolated."""
    return jnp.percentile(x, jnp.asarray(percents), axis=1)

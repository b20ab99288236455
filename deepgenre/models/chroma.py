"""Statistics of the pitch classes of a clip, without its key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.audio.mel import band_centres_hz
from deepgenre.models.filter_banks import unit
from deepgenre.models.summary_statistics import deviation
from deepgenre.models.texture_statistics import mean_filter

PEAK_BANDS = 13  # levels above the moving mean over this many bands are peaks
RANGE_HZ = (150.0, 2500.0)  # below, bands are wider than semitones; above, there are few notes
C4_HZ = 261.6256
LAGS = (1, 2, 4, 8, 16, 32)  # frames

# C. Krumhansl, "Cognitive foundations of musical pitch", 1990: fit of pitch classes to C major.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)


def chroma(x: jax.Array, sample_rate_hz: int) -> jax.Array:
    """Returns (batch, 34) of x (batch, frames, bands): statistics of unit-norm chroma vectors.

    The mean, rotated to the best major key; magnitudes of its Fourier transform; the mean
    similarity of a frame to itself rotated by 1 to 6 semitones, and to the frame LAGS later; and
    four spreads. Bands are those of mel filters from 0 to half the sample rate.
    """
    peaks = jax.nn.relu(x - mean_filter(x, axis=2, length=PEAK_BANDS))
    pitch = unit(peaks @ jnp.asarray(_pitch_class_weights(x.shape[2], sample_rate_hz)))
    mean = pitch.mean(axis=1)
    rotations = jnp.stack([jnp.roll(mean, -tonic, axis=-1) for tonic in range(12)], axis=1)
    profile = jnp.asarray(MAJOR_PROFILE) - np.mean(MAJOR_PROFILE)
    tonics = (rotations @ profile).argmax(axis=1)
    is_tonic = tonics[:, None] == jnp.arange(12)[None]
    in_key = jnp.where(is_tonic[..., None], rotations, 0).sum(axis=1)
    spectrum = jnp.abs(jnp.fft.rfft(mean, axis=-1))[:, 1:]
    intervals = [
        (pitch * jnp.roll(pitch, shift, axis=-1)).sum(axis=-1).mean(axis=1) for shift in range(1, 7)
    ]
    lags = [min(lag, x.shape[1] - 1) for lag in LAGS]
    repetitions = [(pitch[:, lag:] * pitch[:, :-lag]).sum(axis=-1).mean(axis=1) for lag in lags]
    spreads = (
        mean.std(axis=-1),
        pitch.max(axis=-1).mean(axis=1),
        pitch.std(axis=-1).mean(axis=1),
        deviation(pitch).mean(axis=-1),
    )
    return jnp.concatenate(
        [in_key, spectrum, jnp.stack([*intervals, *repetitions, *spreads], axis=-1)], axis=-1
    )


@functools.lru_cache(maxsize=4)
def _pitch_class_weights(bands: int, sample_rate_hz: int) -> np.ndarray:
    """Returns float32 (bands, 12): a triangle of two semitones around each pitch class."""
    centres_hz = band_centres_hz(bands, 0.0, sample_rate_hz / 2)
    position = 12 * np.log2(centres_hz / C4_HZ)
    distance = np.abs((position[:, None] - np.arange(12) + 6) % 12 - 6)
    in_range = (centres_hz >= RANGE_HZ[0]) & (centres_hz <= RANGE_HZ[1])
    return (np.maximum(0, 1 - distance) * in_range[:, None]).astype(np.float32)

"""Waveforms to levels, on the device.

They equal those of `frontend.levels` up to float32 rounding: a value close to the midpoint of two
levels may be rounded to the other one.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.audio.frontend import FULL_SCALE, MAX_LEVEL, FrontEnd, window_and_filters
from deepgenre.audio.mel import SMALLEST_POWER

MAX_PIECES = 16  # of a frame that is composed of pieces of equal length


def levels_of(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns `frontend.levels` of a waveform, float32 (samples,), computed on the default device.

    The waveform is padded to one of four sizes per octave, so that few shapes are compiled.
    """
    step = 1 << max(0, (waveform.size - 1).bit_length() - 3)
    padded = np.pad(waveform, (0, -waveform.size % step))
    frames = (
        waveform.size if frontend.kind == "waveform" else 1 + waveform.size // frontend.hop_length
    )
    return np.asarray(padded_levels(padded, waveform.size, frontend))[:frames]


@functools.partial(jax.jit, static_argnums=2)
def padded_levels(padded: jax.Array, num_samples: jax.Array | int, frontend: FrontEnd) -> jax.Array:
    """Returns levels (frames, stored_bands) of a padded waveform, float32 (samples,).

    Only the first `num_samples` of `padded` are used, so that waveforms of different lengths share
    a shape. Only the first 1 + num_samples // hop_length frames of the result are valid (with kind
    'waveform', the first num_samples).
    """
    waveform = jnp.where(jnp.arange(padded.size) < num_samples, padded, 0.0)
    if frontend.kind == "waveform":
        return _sample_levels(waveform)
    if frontend.kind == "musicnn":
        return _power_levels(_reflected(waveform, num_samples, frontend), frontend)
    power = _mel_power(jnp.pad(waveform, frontend.n_fft // 2), frontend)
    is_valid = jnp.arange(power.shape[0]) <= num_samples // frontend.hop_length
    return _decibel_levels(power, frontend, where=is_valid[:, None])


def whole_levels(waveform: jax.Array, frontend: FrontEnd) -> jax.Array:
    """Returns levels (frames, stored_bands) of a waveform, float32 (samples,), all of it used.

    For graphs of a fixed length: without the indices by which `padded_levels` pads and cuts.
    """
    edge = frontend.n_fft // 2
    if frontend.kind == "waveform":
        return _sample_levels(waveform)
    if frontend.kind == "musicnn":
        return _power_levels(jnp.pad(waveform, edge, mode="reflect"), frontend)
    return _decibel_levels(_mel_power(jnp.pad(waveform, edge), frontend), frontend, where=None)


def _sample_levels(waveform: jax.Array) -> jax.Array:
    return jnp.rint(jnp.clip(waveform, -1, 1) * FULL_SCALE).astype(jnp.int16)[:, None]


def _power_levels(padded: jax.Array, frontend: FrontEnd) -> jax.Array:
    power = _mel_power(jnp.clip(padded, -1, 1), frontend)
    return jnp.minimum(power, float(np.finfo(np.float16).max)).astype(jnp.float16)


def _decibel_levels(power: jax.Array, frontend: FrontEnd, *, where: jax.Array | None) -> jax.Array:
    """Returns levels of mel power (frames, bands), relative to the maximum `where` it is valid."""
    decibels = 10.0 * jnp.log10(jnp.maximum(power, SMALLEST_POWER))
    loudest = jnp.max(decibels, initial=-jnp.inf, where=where)
    above_floor = decibels - loudest + frontend.dynamic_range_db
    steps = jnp.rint(above_floor * (MAX_LEVEL / frontend.dynamic_range_db))
    return jnp.clip(steps, 0, MAX_LEVEL).astype(jnp.uint8)


def _reflected(waveform: jax.Array, num_samples: jax.Array | int, frontend: FrontEnd) -> jax.Array:
    """Returns the waveform padded by reflection with n_fft // 2 samples at both ends."""
    edge = frontend.n_fft // 2
    period = jnp.maximum(2 * (num_samples - 1), 1)  # of the reflected waveform
    indices = jnp.arange(-edge, waveform.size + edge) % period
    return waveform[jnp.minimum(indices, period - indices)]


def _mel_power(padded: jax.Array, frontend: FrontEnd) -> jax.Array:
    """Returns mel power, float32 (frames, n_mels), of a waveform padded at both ends."""
    window, filters = window_and_filters(frontend)
    num_frames = 1 + (padded.size - frontend.n_fft) // frontend.hop_length
    frames = _frames(padded, num_frames, frontend) * window[None, :]
    spectrum = jnp.fft.rfft(frames)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST)


def _frames(padded: jax.Array, num_frames: int, frontend: FrontEnd) -> jax.Array:
    """Returns (num_frames, n_fft): from pieces, where few of equal length make a frame and a hop.

    Otherwise by an index per sample.
    """
    piece = math.gcd(frontend.n_fft, frontend.hop_length)
    per_frame, per_hop = frontend.n_fft // piece, frontend.hop_length // piece
    if per_frame > MAX_PIECES:
        first = np.arange(num_frames) * frontend.hop_length
        return padded[np.add.outer(first, np.arange(frontend.n_fft))]
    count = (num_frames - 1) * per_hop + per_frame
    pieces = padded[: count * piece].reshape(count, piece)
    last = (num_frames - 1) * per_hop + 1
    return jnp.concatenate([pieces[i : i + last : per_hop] for i in range(per_frame)], axis=1)

"""Groups of statistics of a clip's modulations: mean magnitudes of Fourier transforms of patches.

x is float32 (batch, frames, bands), standardised; each function returns float32 (batch, features).
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.summary_statistics import GROUP_BANDS, grouped_bands

PATCH = 32  # frames and bands of a patch in `modulations`
LONG_FRAMES = 128  # frames of a patch in `long_modulations` and `fluctuations`
SPECTRUM_FLOOR = 0.15  # added to mean magnitudes before the logarithm
LONG_FLOOR = 0.3
LONG_BINS = 12  # logarithmic bins of the rates over time
FLUCTUATION_BINS = 14


def modulations(x: jax.Array) -> jax.Array:
    """Returns the logarithm of the mean 2D spectrum of patches of PATCH frames and bands.

    Patches overlap by half in time; each register of PATCH bands has its own mean.
    """
    mean = _mean_spectrum(x, PATCH)
    low, mirrored = mean[:, :, :12, :8], mean[:, :, 1:12, -7:]  # the rest is redundant, or too fast
    return _flat_logarithm([low, mirrored], SPECTRUM_FLOOR)


def long_modulations(x: jax.Array) -> jax.Array:
    """Returns `modulations` of patches of LONG_FRAMES frames, in bins of rates over time."""
    mean = _mean_spectrum(x, LONG_FRAMES)
    binned = jnp.einsum("brtq,tk->brkq", mean[:, :, 1 : LONG_FRAMES // 2 + 1], _bins(LONG_BINS))
    return _flat_logarithm([binned[..., :8], binned[..., -7:]], LONG_FLOOR)


def fluctuations(x: jax.Array) -> jax.Array:
    """Returns the logarithm of the mean spectrum over time of the level of groups of bands.

    Windows of LONG_FRAMES frames overlap by half; rates are in bins.
    """
    level = grouped_bands(x, GROUP_BANDS).mean(axis=-1)
    windows = _patches(level - level.mean(axis=1, keepdims=True), LONG_FRAMES)
    centred = windows - windows.mean(axis=2, keepdims=True)
    hann = jnp.asarray(np.hanning(LONG_FRAMES), jnp.float32)
    spectrum = jnp.abs(jnp.fft.rfft(centred * hann[None, None, :, None], axis=2)).mean(axis=1)
    binned = jnp.einsum("btg,tk->bgk", spectrum[:, 1:], _bins(FLUCTUATION_BINS))
    return jnp.log(binned + LONG_FLOOR).reshape(x.shape[0], -1)


def _mean_spectrum(x: jax.Array, frames: int) -> jax.Array:
    """Returns mean magnitudes over patches, (batch, registers, rates, quefrencies)."""
    registers = x.shape[2] // PATCH
    centred = x - x.mean(axis=1, keepdims=True)
    patches = _patches(centred[..., : registers * PATCH], frames)
    patches = patches.reshape(*patches.shape[:3], registers, PATCH)
    window = jnp.asarray(np.outer(np.hanning(frames), np.hanning(PATCH)), jnp.float32)
    spectrum = jnp.abs(jnp.fft.fft2(patches * window[None, None, :, None], axes=(2, 4)))
    return spectrum.mean(axis=1).swapaxes(1, 2)


def _patches(centred: jax.Array, frames: int) -> jax.Array:
    """Returns (batch, patches, frames, bands), half a patch apart; short clips are padded by 0."""
    padded = jnp.pad(centred, ((0, 0), (0, max(0, frames - centred.shape[1])), (0, 0)))
    starts = range(0, padded.shape[1] - frames + 1, frames // 2)
    return jnp.stack([padded[:, start : start + frames] for start in starts], axis=1)


def _bins(count: int) -> np.ndarray:
    """Returns float32 (LONG_FRAMES // 2, count): means of rates 1, 2, ... in logarithmic bins."""
    last = LONG_FRAMES // 2
    edges = [1]
    for edge in np.geomspace(1, last + 1, count + 1)[1:].round().astype(int):
        edges.append(max(edges[-1] + 1, int(edge)))
    weights = np.zeros((last, count), np.float32)
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        weights[low - 1 : high - 1, index] = 1 / (high - low)
    return weights


def _flat_logarithm(parts: list[jax.Array], floor: float) -> jax.Array:
    flat = [part.reshape(*part.shape[:2], -1) for part in parts]
    joined = jnp.concatenate(flat, axis=-1)
    return jnp.log(joined.reshape(joined.shape[0], -1) + floor)

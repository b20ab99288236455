"""Levels to features, on the device, inside the compiled step."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from deepgenre.audio.frontend import FULL_SCALE, FrontEnd


def features(levels: jax.Array, frontend: FrontEnd, mean: float, deviation: float) -> jax.Array:
    """Returns float32 (batch, frames, num_bands) of levels (batch, frames, stored_bands).

    Samples are in -1..1. Log-mel levels are standardised with the training split's mean and
    deviation: levels and dB differ by a scale and an offset only, so this equals standardising the
    dB. MFCCs are the orthonormal DCT-II of the standardised log-mel bands (librosa's up to that
    scale and offset). Kind 'musicnn' gives log10(1 + 10000 power), not standardised: the first
    layer of the musicnn networks is a batch norm.
    """
    levels = levels.astype(jnp.float32)
    if frontend.kind == "waveform":
        return levels / FULL_SCALE
    if frontend.kind == "musicnn":
        return jnp.log10(1.0 + 10_000.0 * levels)
    standardised = (levels - mean) / deviation
    if frontend.kind == "mfcc":
        return standardised @ dct_matrix(frontend.n_mels, frontend.n_mfcc)
    return standardised


def dct_matrix(num_bands: int, num_coefficients: int) -> jax.Array:
    """Returns float32 (num_bands, num_coefficients): bands @ matrix is their orthonormal DCT-II."""
    basis = np.asarray(scipy.fft.dct(np.eye(num_bands), type=2, axis=1, norm="ortho"))
    return jnp.asarray(basis[:, :num_coefficients], jnp.float32)

"""The plane of time and frequency on which a window is explained, and the way back to features.

For every front end, cells of the plane are numbers of which 0 says nothing, and the features of a
network are an affine function of them, so that a cell can be set to 0, scaled, or differentiated
with respect to:

  'log_mel'   the features: standardised levels. 0 is the mean level of the training clips
  'mfcc'      the standardised levels, whose DCT the features are
  'musicnn'   the features, log10(1 + 10000 power), minus their mean over the window
  'waveform'  gains, all 1, of the cells of the window's spectrogram, whose inverse transform the
              samples are: "virtual inspection layer" (J. Vielhaben et al., Pattern Recognition 150,
              2024, arXiv:2303.06365). 0 is silence
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.audio.features import dct_matrix, features
from deepgenre.audio.frontend import FULL_SCALE, FrontEnd
from deepgenre.audio.mel import band_centres_hz, hann_window
from deepgenre.weights.spec import Spec

N_FFT = 1024  # of the spectrogram of samples
HOP_SAMPLES = N_FFT // 2  # Hann windows at this hop add up to 1: the inverse is exact
GAIN_BANDS = 64


class Plane(NamedTuple):
    """A window on its plane."""

    values: jax.Array  # float32 (frames, bands), lowest band first
    carrier: jax.Array  # 'waveform': spectrum, complex64 (frames, bins); else float32 (): the mean


def plane_of(levels: jax.Array, spec: Spec) -> Plane:
    """Returns the plane of a window's levels, (window_frames, stored_bands)."""
    kind = spec.frontend.kind
    if kind == "waveform":
        spectrum = _spectrum(levels[:, 0].astype(jnp.float32) / FULL_SCALE)
        return Plane(jnp.ones((spectrum.shape[0], GAIN_BANDS)), spectrum)
    stored = dataclasses.replace(spec.frontend, kind="log_mel") if kind == "mfcc" else spec.frontend
    values = features(levels[None], stored, spec.mean, spec.deviation)[0]
    mean = values.mean() if kind == "musicnn" else jnp.zeros(())
    return Plane(values - mean, mean)


def features_of(values: jax.Array, carrier: jax.Array, spec: Spec) -> jax.Array:
    """Returns the features of planes (batch, frames, bands): the input of the network."""
    if spec.frontend.kind == "mfcc":
        return values @ dct_matrix(spec.frontend.n_mels, spec.frontend.n_mfcc)
    if spec.frontend.kind == "waveform":
        gains = values @ jnp.asarray(_band_to_bin_weights(spec.frontend))
        return _samples(gains * carrier[None], spec.window_frames)[..., None]
    return values + carrier


def band_hz(spec: Spec) -> np.ndarray:
    """Returns the centre frequencies of the plane's bands, float64 (bands,)."""
    frontend = spec.frontend
    if frontend.kind == "waveform":
        return band_centres_hz(GAIN_BANDS, 0.0, frontend.sample_rate_hz / 2)
    return band_centres_hz(frontend.n_mels, frontend.fmin_hz, frontend.top_hz)


def seconds_per_frame(spec: Spec) -> float:
    """Returns the time from one frame of the plane to the next; frame 0 is centred at 0 s."""
    hop = HOP_SAMPLES if spec.frontend.kind == "waveform" else spec.frontend.hop_length
    return hop / spec.frontend.sample_rate_hz


def _spectrum(samples: jax.Array) -> jax.Array:
    """Returns complex64 (frames, bins) of samples (samples,): Hann windows, centred frames."""
    padded = jnp.pad(samples, (HOP_SAMPLES, HOP_SAMPLES + -samples.size % HOP_SAMPLES))
    hops = padded.reshape(-1, HOP_SAMPLES)
    frames = jnp.concatenate([hops[:-1], hops[1:]], axis=1)
    return jnp.fft.rfft(frames * hann_window(N_FFT)[None])


def _samples(spectrum: jax.Array, count: int) -> jax.Array:
    """Returns the first samples (batch, count) of spectra (batch, frames, bins), by overlap-add."""
    frames = jnp.fft.irfft(spectrum, n=N_FFT)
    before, after = frames[..., :HOP_SAMPLES], frames[..., HOP_SAMPLES:]
    hops = before[:, 1:] + after[:, :-1]
    return hops.reshape(hops.shape[0], -1)[:, :count]


@functools.lru_cache(maxsize=4)
def _band_to_bin_weights(frontend: FrontEnd) -> np.ndarray:
    """Returns float32 (bands, bins): linear interpolation; the weights of a bin add up to 1."""
    centres = band_centres_hz(GAIN_BANDS, 0.0, frontend.sample_rate_hz / 2)
    bins = np.fft.rfftfreq(N_FFT, 1 / frontend.sample_rate_hz)
    rows = [np.interp(bins, centres, row) for row in np.eye(GAIN_BANDS)]
    return np.asarray(rows, np.float32)

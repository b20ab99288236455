"""Harmonic CNN (Won et al., 2020): filters at the harmonics of each pitch, then a 2D network.

M. Won, S. Chun, O. Nieto and X. Serra, "Data-driven harmonic filters for audio representation
learning", ICASSP 2020; layers as in M. Won, A. Ferraro, D. Bogdanov and X. Serra, "Evaluation of
CNN-based automatic music tagging models", SMC 2020, arXiv:2006.00751, and its code. Published
input: 80,000 samples at 16,000 Hz (5 s), 16 evenly spaced chunks per clip.

From that code, where the papers leave it open: of the bandwidth's three numbers, only Q is learnt;
convolutions keep their bias before batch norm. Different here: initial weights (Glorot's).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.layers import ConvBlock, Dtype, ResidualBlock, glorot, head, norm, scaled
from deepgenre.models.pooling import global_max, max_pool

N_FFT = 512  # samples per frame
HOP_LENGTH = 256  # samples from one frame to the next
LOWEST_MIDI = 24  # C1
BANDS_PER_SEMITONE = 2
FLOOR = 1e-10  # power: -100 dB
# Filters of a convolution and the residual blocks after it, and the pool (frames, bands) of each.
STAGES = ((128, ((2, 2),) * 4), (256, ((2, 2), (3, 2), (3, 2))))
SHORTEST_SAMPLES = (2**5 * 3**2 - 1) * HOP_LENGTH  # so that no pool shrinks


class HarmonicCNN(nn.Module):
    """Harmonics as channels; two stages of a convolution and residual blocks, each with a pool.

    3,631,551 parameters with 50 classes, for any sample rate.
    """

    num_classes: int
    sample_rate_hz: int = 16_000  # of the input: the filters' frequencies depend on it
    num_harmonics: int = 6
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, samples, 1) -> logits, float32 (batch, num_classes). samples > 256.

        Sows the dense layer, (batch, 256 * width), as intermediates/embedding.
        """
        shared: dict[str, Any] = {"dtype": self.dtype, "axis_name": self.axis_name}
        x = HarmonicDecibels(self.sample_rate_hz, self.num_harmonics, name="front")(x[..., 0])
        x = norm(train, self.dtype, self.axis_name)(x.astype(self.dtype))
        for published, (pool, *pools) in STAGES:
            (filters,) = scaled([published], self.width)
            x = ConvBlock(filters, kernel=(3, 3), pool=pool, batch_norm=True, **shared)(x, train)
            for pool in pools:
                x = max_pool(ResidualBlock(filters, **shared)(x, train), pool)
        x = nn.Dense(x.shape[-1], kernel_init=glorot, dtype=self.dtype, name="dense")(global_max(x))
        x = nn.relu(norm(train, self.dtype, self.axis_name)(x))
        return head(self, x, self.num_classes, self.dropout, train)


class HarmonicDecibels(nn.Module):
    """Power in triangular filters, in dB; their common quality factor Q is learnt.

    The centres of harmonic i are i times those of the first, which are half a semitone apart. A
    filter's bandwidth in Hz is (0.1079 centre + 24.7) / Q: for Q = 1, that of an auditory filter.
    """

    sample_rate_hz: int
    num_harmonics: int

    @nn.compact
    def __call__(self, samples: jax.Array) -> jax.Array:
        """(batch, samples) -> dB, float32 (batch, frames, bands, harmonics)."""
        quality = self.param("quality", nn.initializers.ones, ())
        lowest = lowest_harmonic_hz(self.sample_rate_hz, self.num_harmonics)
        centres = lowest[:, None] * np.arange(1, self.num_harmonics + 1, dtype=np.float32)
        bins = np.linspace(0, self.sample_rate_hz / 2, N_FFT // 2 + 1, dtype=np.float32)
        bandwidths = (0.1079 * centres + 24.7) / quality
        distances = np.abs(bins[:, None, None] - centres) / (bandwidths[None] / 2)
        filters = nn.relu(1.0 - distances)  # (bins, bands, harmonics)
        power = jnp.einsum("tfb,bnh->tfnh", power_spectrogram(samples), filters)
        # Not `jnp.maximum`: its gradient can be lost, like that of `jnp.max`; see `pooling`.
        return 10.0 * jnp.log10(jnp.where(power > FLOOR, power, FLOOR))


def lowest_harmonic_hz(sample_rate_hz: int, num_harmonics: int) -> np.ndarray:
    """Returns float32 (bands,): frequencies from C1 up, with harmonics below half the sample rate.

    128 bands at 16,000 Hz with six harmonics.
    """
    highest_midi = round(69 + 12 * np.log2(sample_rate_hz / (2 * num_harmonics) / 440))
    num_bands = (highest_midi - LOWEST_MIDI) * BANDS_PER_SEMITONE
    midi = LOWEST_MIDI + np.arange(num_bands) / BANDS_PER_SEMITONE
    return (440 * 2 ** ((midi - 69) / 12)).astype(np.float32)


def power_spectrogram(samples: jax.Array) -> jax.Array:
    """Returns float32 (batch, frames, 257) of samples (batch, samples): Hann, centred frames.

    frames = 1 + samples // 256; the edges are reflected, as in PyTorch.
    """
    padded = jnp.pad(samples.astype(jnp.float32), ((0, 0), (N_FFT // 2,) * 2), mode="reflect")
    hops = padded.shape[1] // HOP_LENGTH
    pieces = padded[:, : hops * HOP_LENGTH].reshape(padded.shape[0], hops, HOP_LENGTH)
    frames = jnp.concatenate([pieces[:, :-1], pieces[:, 1:]], axis=-1)  # a frame is two hops
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT, dtype=np.float32) / N_FFT)
    spectrum = jnp.fft.rfft(frames * window[None, None], axis=-1)
    return spectrum.real**2 + spectrum.imag**2

"""YAMNet (M. Plakal and D. Ellis, 2019): a MobileNet of sounds, trained on AudioSet.

Layers and front end as in TensorFlow Models, research/audioset/yamnet, with batch norm folded into
the convolutions, as in the published TFLite file. MobileNet: A. Howard et al., arXiv:1704.04861.
Published input: 15,600 samples at 16,000 Hz (0.975 s), every 0.48 s: 96 frames of 64 log-mel bands.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.layers import Dtype, glorot, head, scaled

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES, HOP_SAMPLES, N_FFT = 400, 160, 512  # 25 ms and 10 ms
LOWEST_HZ, HIGHEST_HZ, NUM_BANDS = 125.0, 7500.0, 64
LOG_OFFSET = 0.001
SHORTEST_SAMPLES = FRAME_SAMPLES + 95 * HOP_SAMPLES  # 96 frames
FIRST_FILTERS = 32
# Filters and stride of the separable convolutions.
SEPARABLE = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)


class YAMNet(nn.Module):
    """A convolution and 13 separable ones, ReLU, mean. 3,729,481 parameters with 521 classes."""

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: no batch norm

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, samples, 1) -> logits, float32 (batch, num_classes). samples >= 400.

        Sows the mean of the last feature maps, (batch, 1024 * width), as intermediates/embedding.
        """
        x = log_mel(x[..., 0]).astype(self.dtype)[..., None]
        first, *filters = scaled((FIRST_FILTERS, *(f for f, _ in SEPARABLE)), self.width)
        x = nn.relu(self._conv(first, 3, 2, "layer_1")(x))
        for number, (features, (_, stride)) in enumerate(zip(filters, SEPARABLE, strict=True), 2):
            channels = x.shape[-1]
            x = nn.relu(self._conv(channels, 3, stride, f"layer_{number}_depthwise", channels)(x))
            x = nn.relu(self._conv(features, 1, 1, f"layer_{number}_pointwise")(x))
        return head(self, x.mean(axis=(1, 2)), self.num_classes, self.dropout, train)

    def _conv(self, features: int, width: int, stride: int, name: str, groups: int = 1) -> nn.Conv:
        return nn.Conv(
            features,
            (width, width),
            strides=stride,
            feature_group_count=groups,
            kernel_init=glorot,
            dtype=self.dtype,
            name=name,
        )


def log_mel(samples: jax.Array) -> jax.Array:
    """Returns log(magnitude + 0.001), float32 (batch, frames, 64), of samples (batch, samples).

    Frames are not centred: frames = 1 + (samples - 400) // 160.
    """
    num_frames = 1 + (samples.shape[1] - FRAME_SAMPLES) // HOP_SAMPLES
    first = np.arange(num_frames) * HOP_SAMPLES
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)
    frames = samples.astype(jnp.float32)[:, np.add.outer(first, np.arange(FRAME_SAMPLES))]
    magnitude = jnp.abs(jnp.fft.rfft(frames * window.astype(np.float32)[None, None], N_FFT))
    mel = jnp.matmul(magnitude, mel_filters(), precision=jax.lax.Precision.HIGHEST)
    return jnp.log(mel + LOG_OFFSET)


def mel_filters() -> np.ndarray:
    """Returns triangles of height 1 on HTK's mel scale, float32 (257, 64), as TensorFlow's.

    The sides are straight in mel, not in Hz; the bin of 0 Hz is left out.
    """
    bins_mel = _mels(np.linspace(0.0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1))[:, None]
    edges_mel = np.linspace(_mels(LOWEST_HZ), _mels(HIGHEST_HZ), NUM_BANDS + 2)
    lower, centre, upper = edges_mel[:-2], edges_mel[1:-1], edges_mel[2:]
    rising, falling = (bins_mel - lower) / (centre - lower), (upper - bins_mel) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    triangles[0] = 0.0
    return triangles.astype(np.float32)


def _mels(hz: float | np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

"""musicnn and its VGG baseline (Pons and Serra, 2019, arXiv:1909.06654), as their package has them.

Order within a layer: convolution, ReLU, batch norm. Input: `musicnn_features.musicnn_log_mel`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import Dtype, glorot, max_pool


class MusiCNN(nn.Module):
    """Musically motivated CNN: tall filters hear timbre, long ones rhythm, dense layers the rest.

    787,159 parameters with 50 classes and 96 bands, whatever the number of frames.
    """

    num_classes: int
    dropout: float = 0.5
    timbral_filters: int = 204  # a height; two heights: 40 % and 70 % of the bands
    temporal_filters: int = 51  # a length; three lengths: 128, 64, 32 frames
    mid_filters: int = 64
    dense_units: int = 200
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # devices over which batch norm takes its statistics

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the penultimate layer, (batch, dense_units), as intermediates/embedding.
        """
        bands = x.shape[2]
        norm = functools.partial(_norm, train, self.dtype, self.axis_name)
        x = norm("input_norm")(x.astype(self.dtype)[..., None])
        kernels = [(7, 4 * bands // 10), (7, 7 * bands // 10), (128, 1), (64, 1), (32, 1)]
        widths = [self.timbral_filters] * 2 + [self.temporal_filters] * 3
        front = [
            BandPooledConv(width, kernel, self.dtype, self.axis_name, name=f"front_{index}")(
                x, train
            )
            for index, (kernel, width) in enumerate(zip(kernels, widths, strict=True))
        ]
        levels = [jnp.concatenate(front, axis=-1)]
        for index in range(3):
            conv = nn.Conv(
                self.mid_filters,
                (7,),
                kernel_init=glorot,
                dtype=self.dtype,
                name=f"mid_{index}_conv",
            )
            h = norm(f"mid_{index}_norm")(nn.relu(conv(levels[-1])))
            levels.append(h + levels[-1] if index else h)
        x = jnp.concatenate(levels, axis=-1)
        # The maximum and the mean of each channel stand side by side, as the package has them.
        x = jnp.stack([x.max(axis=1), x.mean(axis=1)], axis=-1).reshape(x.shape[0], -1)
        x = nn.Dropout(self.dropout, deterministic=not train)(norm("pool_norm")(x))
        x = nn.Dense(self.dense_units, kernel_init=glorot, dtype=self.dtype, name="dense")(x)
        x = norm("dense_norm")(nn.relu(x))
        self.sow("intermediates", "embedding", x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, kernel_init=glorot, dtype=self.dtype, name="logits")
        return logits(x).astype(jnp.float32)


class BandPooledConv(nn.Module):
    """Convolution, "same" over frames and "valid" over bands; ReLU; norm; maximum over bands."""

    features: int
    kernel: tuple[int, int]
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands, 1) -> (batch, frames, features)."""
        before = (self.kernel[0] - 1) // 2
        padding = ((before, self.kernel[0] - 1 - before), (0, 0))
        x = nn.Conv(
            self.features,
            self.kernel,
            padding=padding,
            kernel_init=glorot,
            dtype=self.dtype,
            name="conv",
        )(x)
        return _norm(train, self.dtype, self.axis_name, "norm")(nn.relu(x)).max(axis=2)


class MusiCNNVgg(nn.Module):
    """Five 3 x 3 convolutions, each pooled: the baseline musicnn was compared with.

    605,748 parameters with 50 classes, 187 frames and 96 bands.
    """

    num_classes: int
    dropout: float = 0.5  # before the last layer; half of it after the convolutions
    filters: int = 128
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 66, bands >= 63. Sows what the last layer sees as intermediates/embedding.
        """
        norm = functools.partial(_norm, train, self.dtype, self.axis_name)
        x = norm("input_norm")(x.astype(self.dtype)[..., None])
        for index, pool in enumerate(((4, 1), (2, 2), (2, 2), (2, 2), (4, 4))):
            if index:
                x = nn.Dropout(self.dropout / 2, deterministic=not train)(x)
            conv = nn.Conv(
                self.filters,
                (3, 3),
                kernel_init=glorot,
                dtype=self.dtype,
                name=f"conv_{index}",
            )
            x = norm(f"norm_{index}")(nn.relu(conv(x)))
            # The first pool overlaps in time and skips every second band.
            x = max_pool(x, pool) if index else nn.max_pool(x, pool, strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        self.sow("intermediates", "embedding", x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        logits = nn.Dense(self.num_classes, kernel_init=glorot, dtype=self.dtype, name="logits")
        return logits(x).astype(jnp.float32)


def _norm(train: bool, dtype: Dtype, axis_name: str | None, name: str) -> nn.BatchNorm:
    """Returns batch norm with TensorFlow's constants, with which the package was trained."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.99,
        epsilon=1e-3,
        dtype=dtype,
        axis_name=axis_name if train else None,
        name=name,
    )

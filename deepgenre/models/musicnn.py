"""musicnn and its VGG baseline (Pons and Serra, 2019, arXiv:1909.06654), as in their package.

`MusiCNNMoods`: classifiers of moods by the Music Technology Group, Universitat Pompeu Fabra, 2020
(essentia models, *-musicnn-msd-2).

Order within a layer: convolution, ReLU, batch norm. Published input: front end 'musicnn', 96 bands,
187 frames (3 s at 16,000 Hz, n_fft 512, hop 256).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.band_maximum import band_maximum, same_padding
from deepgenre.models.layers import Dtype, glorot, head, scaled
from deepgenre.models.pooling import global_max, max_pool


class MusiCNN(nn.Module):
    """Musically motivated CNN: tall filters for timbre, long ones for rhythm, dense layers.

    787,159 parameters with 50 classes and 96 bands, for any number of frames.
    """

    num_classes: int
    dropout: float = 0.5
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the penultimate layer, (batch, 200 * width), as intermediates/embedding.
        """
        x = _penultimate(self, x, train)
        return head(self, x, self.num_classes, self.dropout, train)


class MusiCNNMoods(nn.Module):
    """A musicnn with a further dense layer per class: MTG's classifiers of moods, 2020.

    Each was trained as a whole from musicnn's weights: they share no layer, only the input.
    797,310 parameters per class with 96 bands.
    """

    num_classes: int
    hidden_units: int = 100
    dropout: float = 0.5
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the concatenated hidden layers, (batch, 100 * width * num_classes), as
        intermediates/embedding.
        """
        # One after another by one compiled function: the axis of classes is the parameters' first.
        each = nn.scan(
            _Mood,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.num_classes,
        )
        options = {name: getattr(self, name) for name in _Mood.OPTIONS}
        _, (logits, hidden) = each(train=train, name="moods", **options)(x, None)
        self.sow("intermediates", "embedding", jnp.moveaxis(hidden, 0, 1).reshape(x.shape[0], -1))
        return logits.T


class _Mood(nn.Module):
    """One class of `MusiCNNMoods`, as a step of a scan that passes the input on."""

    OPTIONS = ("hidden_units", "dropout", "width", "dtype", "axis_name")

    hidden_units: int
    dropout: float
    width: float
    dtype: Dtype
    axis_name: str | None
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Returns x, and logits (batch,) and hidden layer (batch, units), float32."""
        hidden = _penultimate(self, x, self.train)
        (units,) = scaled((self.hidden_units,), self.width)
        hidden = nn.relu(
            nn.Dense(units, kernel_init=glorot, dtype=self.dtype, name="hidden")(hidden)
        )
        kept = nn.Dropout(self.dropout, deterministic=not self.train)(hidden)
        logits = nn.Dense(1, kernel_init=glorot, dtype=self.dtype, name="logits")(kept)
        return x, (logits[:, 0].astype(jnp.float32), hidden.astype(jnp.float32))


def _penultimate(module: "MusiCNN | _Mood", x: jax.Array, train: bool) -> jax.Array:
    """Returns musicnn's penultimate layer, (batch, 200 * width), of x (batch, frames, bands).

    Call it from `module.__call__`, to which its layers belong.
    """
    bands = x.shape[2]
    timbral, temporal, mid, units = scaled((204, 51, 64, 200), module.width)
    norm = functools.partial(_norm, train, module.dtype, module.axis_name)
    x = norm("input_norm")(x.astype(module.dtype)[..., None])[..., 0]
    tall = [(7, max(1, tenths * bands // 10)) for tenths in (4, 7)]
    kernels = [*tall, (128, 1), (64, 1), (32, 1)]
    widths = [timbral, timbral, temporal, temporal, temporal]
    front = [
        BandPooledConv(features, kernel, module.dtype, module.axis_name, name=f"front_{index}")(
            x, train
        )
        for index, (kernel, features) in enumerate(zip(kernels, widths, strict=True))
    ]
    maps = [jnp.concatenate(front, axis=-1)]
    for index in range(3):
        conv = nn.Conv(mid, (7,), kernel_init=glorot, dtype=module.dtype, name=f"mid_{index}_conv")
        h = norm(f"mid_{index}_norm")(nn.relu(conv(maps[-1])))
        maps.append(h + maps[-1] if index else h)
    x = jnp.concatenate(maps, axis=-1)
    # The maxima and means of channels alternate, as in the package.
    x = jnp.stack([global_max(x), x.mean(axis=1)], axis=-1).reshape(x.shape[0], -1)
    x = nn.Dropout(module.dropout, deterministic=not train)(norm("pool_norm")(x))
    x = nn.Dense(units, kernel_init=glorot, dtype=module.dtype, name="dense")(x)
    x = norm("dense_norm")(nn.relu(x))
    return x


class BandPooledConv(nn.Module):
    """Convolution, "same" over frames and "valid" over bands; ReLU; norm; maximum over bands."""

    features: int
    kernel: tuple[int, int]  # frames, bands
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> (batch, frames, features).

        In inference, norm is an affine function, so the maximum is taken before it. Where its slope
        is negative, the minimum is needed: minus the maximum of the negated filter. There, sows
        what precedes ReLU as intermediates/convolved, float32 (batch, frames, features).
        """
        conv = nn.Conv(
            self.features,
            self.kernel,
            padding=(same_padding(self.kernel[0]), (0, 0)),
            kernel_init=glorot,
            dtype=self.dtype,
            name="conv",
        )
        norm = _norm(train, self.dtype, self.axis_name, "norm")
        if train or self.is_initializing():
            x = norm(nn.relu(conv(x[..., None])))
            return max_pool(x, (1, x.shape[2]))[:, :, 0]
        kernel, bias = (conv.variables["params"][name] for name in ("kernel", "bias"))
        sign = jnp.where(norm.variables["params"]["scale"] < 0, -1.0, 1.0)[None, None]
        highest = sign * band_maximum(x.astype(jnp.float32), kernel[:, :, 0] * sign)
        convolved = highest + bias[None, None]
        self.sow("intermediates", "convolved", convolved)
        return norm(nn.relu(convolved).astype(self.dtype))


class MusiCNNVgg(nn.Module):
    """Five 3 x 3 convolutions, each pooled: the baseline of the musicnn paper.

    605,748 parameters with 50 classes, 187 frames and 96 bands.
    """

    num_classes: int
    dropout: float = 0.5
    conv_dropout: float = 0.25  # after each convolution except the last
    width: float = 1.0  # multiplier of the published number of filters
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 66, bands >= 63. Sows the input of the last layer as intermediates/embedding.
        """
        (filters,) = scaled((128,), self.width)
        norm = functools.partial(_norm, train, self.dtype, self.axis_name)
        x = norm("input_norm")(x.astype(self.dtype)[..., None])
        for index, pool in enumerate(((4, 1), (2, 2), (2, 2), (2, 2), (4, 4))):
            if index:
                x = nn.Dropout(self.conv_dropout, deterministic=not train)(x)
            # The first pool overlaps in time and skips every second band. Only batch norm's
            # statistics, in training, need the skipped bands.
            skipping = index == 0 and not train
            conv = nn.Conv(
                filters,
                (3, 3),
                strides=(1, 2) if skipping else 1,
                padding=1,
                kernel_init=glorot,
                dtype=self.dtype,
                name=f"conv_{index}",
            )
            x = norm(f"norm_{index}")(nn.relu(conv(x)))
            if index:
                x = max_pool(x, pool)
            else:
                x = nn.max_pool(x, pool, strides=(2, 1) if skipping else (2, 2))
        return head(self, x.reshape(x.shape[0], -1), self.num_classes, self.dropout, train)


def _norm(train: bool, dtype: Dtype, axis_name: str | None, name: str) -> nn.BatchNorm:
    """Returns batch norm with TensorFlow's constants, used to train the package's weights."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.99,
        epsilon=1e-3,
        dtype=dtype,
        axis_name=axis_name if train else None,
        name=name,
    )

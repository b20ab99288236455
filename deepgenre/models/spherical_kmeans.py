"""Features learnt by spherical k-means, beside statistics of the spectrogram, and a linear head.

S. Dieleman and B. Schrauwen, "Multiscale approaches to music audio feature learning", ISMIR 2013,
after A. Coates and A. Ng, "Learning feature representations with k-means", 2012: filters are the
centroids of whitened patches, learnt without labels at several lengths of time, and a clip is what
they answer to it, pooled over time. Different here: answers are cosines above a threshold, pooled
to mean, deviation and the mean of the largest; one bank slides over the bands too; what summary
statistics say (MFCCs, rhythm) stands beside them; the head is linear.
"""

import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from deepgenre.models.layers import Dtype, head

THRESHOLD = 0.2  # of a cosine: below it a filter is silent
LARGEST = 8  # answers whose mean stands for the maximum
REGISTERS = 4  # parts of the band axis over which the bank of small patches is pooled
EPSILON = 1e-5
MFCCS = 24
GROUPS = 16  # of bands, for rhythm
LAGS = 40  # frames of autocorrelation


@dataclasses.dataclass(frozen=True)
class Bank:
    """Filters of one size."""

    name: str
    frames: int
    filters: int
    components: int  # of the whitening
    bands: int = 0  # 0: all of them
    centred: bool = True  # whether the mean of each band over time is taken away

    def patches(self, x: jax.Array) -> jax.Array:
        """Returns (batch, places in time, places in bands, values) of x (batch, frames, bands)."""
        x = x - x.mean(axis=1, keepdims=True) if self.centred else x
        count = x.shape[1] - self.frames + 1
        views = jnp.stack([x[:, i : i + count] for i in range(self.frames)], axis=2)
        if not self.bands:
            return views.reshape(*views.shape[:2], 1, -1)
        places = range(0, x.shape[2] - self.bands + 1, 6)
        cut = jnp.stack([views[:, ::3, :, p : p + self.bands] for p in places], axis=2)
        flat = cut.reshape(*cut.shape[:3], -1)
        return flat - flat.mean(axis=-1, keepdims=True)


BANKS = (
    Bank("frames_1", frames=1, filters=256, components=40, centred=False),
    Bank("frames_4", frames=4, filters=256, components=80),
    Bank("frames_8", frames=8, filters=256, components=120),
    Bank("patches", frames=8, filters=192, components=60, bands=32),
)


class SphericalKMeans(nn.Module):
    """Linear classifier of k-means answers and statistics.

    Only the head is trained by gradient: filters and whitening are no parameters but stand beside
    batch norm's statistics. `pretrain.with_kmeans` learns them; until then they are random.
    """

    num_classes: int
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # devices over which the features are standardised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 41, bands >= 32. Sows the standardised features as intermediates/embedding.
        """
        x = x.astype(jnp.float32)
        found = [band_statistics(x), rhythm_statistics(x)]
        for bank in BANKS:
            answers = nn.relu(self._cosines(bank, bank.patches(x)) - THRESHOLD)
            registers = jnp.array_split(answers, min(REGISTERS, answers.shape[2]), axis=2)
            found += [pooled(register.mean(axis=2)) for register in registers]
        features = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.98,
            use_bias=False,
            use_scale=False,
            axis_name=self.axis_name if train else None,
        )(jnp.concatenate(found, axis=-1))
        features = jnp.clip(features, -5, 5).astype(self.dtype)
        return head(self, features, self.num_classes, self.dropout, train)

    def _cosines(self, bank: Bank, patches: jax.Array) -> jax.Array:
        """Returns (batch, time, bands, filters): how alike patches and centroids are."""
        size = patches.shape[-1]
        components = min(size, bank.components)
        shapes = {
            "mean": (size,),
            "whitening": (size, components),
            "centroids": (components, bank.filters),
        }
        learnt = {
            name: self.variable(
                "batch_stats", f"{bank.name}_{name}", lambda s=shape: _random(self, s)
            ).value
            for name, shape in shapes.items()
        }
        white = (patches - learnt["mean"][None, None, None]) @ learnt["whitening"]
        return unit(white) @ unit(learnt["centroids"], axis=0)


def _random(module: nn.Module, shape: tuple[int, ...]) -> jax.Array:
    return 0.1 * jax.random.normal(module.make_rng("params"), shape)


def unit(x: jax.Array, axis: int = -1) -> jax.Array:
    """Returns x with length 1 along an axis; zeros stay zeros."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=axis, keepdims=True) + 1e-12)


def pooled(answers: jax.Array) -> jax.Array:
    """Returns (batch, 3 filters) of (batch, frames, filters): mean, deviation, the largest's."""
    largest = jax.lax.top_k(answers.swapaxes(1, 2), min(LARGEST, answers.shape[1]))[0]
    return jnp.concatenate([mean_and_deviation(answers), largest.mean(axis=-1)], axis=-1)


def mean_and_deviation(x: jax.Array) -> jax.Array:
    """Returns (batch, 2 features) of (batch, frames, features)."""
    return jnp.concatenate([x.mean(axis=1), jnp.sqrt(x.var(axis=1) + EPSILON)], axis=-1)


def band_statistics(x: jax.Array) -> jax.Array:
    """Returns (batch, 3 bands + 4 MFCCs): mean, deviation, deviation of change, skewness."""
    basis = np.asarray(scipy.fft.dct(np.eye(x.shape[2]), type=2, axis=1, norm="ortho"))
    mfcc = x @ jnp.asarray(basis[:, :MFCCS], jnp.float32)
    found = []
    for series in (x, mfcc):
        change = jnp.sqrt(jnp.diff(series, axis=1).var(axis=1) + EPSILON)
        found += [mean_and_deviation(series), change]
    third = ((mfcc - mfcc.mean(axis=1, keepdims=True)) ** 3).mean(axis=1)
    return jnp.concatenate([*found, third / (mfcc.std(axis=1) ** 3 + 1e-3)], axis=-1)


def rhythm_statistics(x: jax.Array) -> jax.Array:
    """Returns (batch, features): power of modulations, autocorrelation of onsets, and how groups
    of bands go together."""
    batch, frames, bands = x.shape
    groups = x[..., : bands // GROUPS * GROUPS].reshape(batch, frames, GROUPS, -1).mean(axis=-1)
    centred = groups - groups.mean(axis=1, keepdims=True)
    window = jnp.asarray(np.hanning(frames), jnp.float32)[None, :, None]
    power = jnp.square(jnp.abs(jnp.fft.rfft(centred * window, axis=1))) / frames
    edges = np.unique(np.geomspace(2, power.shape[1], 11).astype(int))
    bins = [power[:, a:b].mean(axis=1) for a, b in itertools.pairwise(edges)]
    onsets = nn.relu(jnp.diff(groups, axis=1))
    strength = jnp.stack([onsets[..., :4].sum(-1), onsets.sum(-1), onsets[..., 10:].sum(-1)], -1)
    strength = strength - strength.mean(axis=1, keepdims=True)
    length = strength.shape[1]
    lags = [(strength[:, : length - k] * strength[:, k:]).sum(axis=1) for k in range(LAGS)]
    autocorrelation = jnp.stack(lags[1:], axis=1) / (lags[0] + 1e-3)[:, None]
    together = jnp.einsum("bti,btj->bij", unit(centred, axis=1), unit(centred, axis=1))
    rows, columns = np.triu_indices(GROUPS, 1)
    found = [jnp.log1p(jnp.concatenate(bins, axis=-1)), autocorrelation, together[:, rows, columns]]
    return jnp.concatenate([part.reshape(batch, -1) for part in found], axis=-1)

"""What a spectrogram is changed towards: the textures of another one, or a class."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from deepgenre.synthesis.differentiable import Forward
from deepgenre.synthesis.optimisation import Loss

Textures = Mapping[str, jax.Array]  # by layer: (bands, channels, channels)
JITTER_FRAMES = 8
JITTER_BANDS = 2
NOISE_DB = 2.0


def textures(network: Forward, variables: Any, decibels: jax.Array) -> Textures:
    """Returns the Gram matrices of each layer's maps after ReLU: means over time of products.

    As in L. Gatys, A. Ecker and M. Bethge, "A neural algorithm of artistic style", 2015, but for
    each band separately: a texture may be moved in time, not in pitch (as D. Ulyanov and V.
    Lebedev, "Audio texture synthesis and style transfer", 2016, whose network has bands as
    channels).
    """
    return {name: _gram(map_) for name, map_ in network(variables, decibels).maps.items()}


def _gram(map_: jax.Array) -> jax.Array:
    active = jax.nn.relu(map_)
    if active.ndim == 3:  # (windows, frames, channels)
        active = active[:, :, None]
    count = active.shape[0] * active.shape[1]
    return jnp.einsum("wtbc,wtbd->bcd", active, active) / count


def style_loss(network: Forward, wanted: Textures) -> Loss:
    """Returns the mean over layers of the squared difference of textures, 1 for none at all.

    Each layer's is relative to the mean square of the wanted texture.
    """

    def loss(key: jax.Array, variables: Any, decibels: jax.Array) -> jax.Array:
        del key
        found = textures(network, variables, decibels)
        terms = [
            jnp.square(found[name] - gram).mean() / jnp.maximum(jnp.square(gram).mean(), 1e-12)
            for name, gram in wanted.items()
        ]
        return jnp.stack(terms).mean()

    return loss


def class_loss(network: Forward, index: int, *, multi_label: bool) -> Loss:
    """Returns the cross-entropy of a class, over a clip that is moved and disturbed at random.

    At each step anew: by up to JITTER_FRAMES frames and JITTER_BANDS bands, circularly, and by
    noise. What only works at one place, or only without noise, is then not rewarded (A. Mordvintsev
    et al., "Inceptionism", 2015).
    """

    def loss(key: jax.Array, variables: Any, decibels: jax.Array) -> jax.Array:
        of_frames, of_bands, of_noise = jax.random.split(key, 3)
        frames = jax.random.randint(of_frames, (), -JITTER_FRAMES, JITTER_FRAMES + 1)
        bands = jax.random.randint(of_bands, (), -JITTER_BANDS, JITTER_BANDS + 1)
        moved = jnp.roll(decibels, jnp.stack([frames, bands]), axis=(0, 1))
        disturbed = moved + NOISE_DB * jax.random.normal(of_noise, moved.shape)
        logits = network(variables, disturbed).logits.mean(axis=0)
        of_class = jax.nn.log_sigmoid(logits) if multi_label else jax.nn.log_softmax(logits)
        return -of_class[index]

    return loss

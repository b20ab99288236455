"""A network as a differentiable function of the mel spectrogram of a clip."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from deepgenre.audio.frontend import MAX_LEVEL, FrontEnd
from deepgenre.data.sampling import window_starts
from deepgenre.errors import UserError
from deepgenre.models.musicnn import BandPooledConv
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights, features_of

# Modules with a feature map: what an nn.Conv returns, and what a BandPooledConv sows, which
# computes its convolution together with the maximum over bands. What it returns is after ReLU,
# whose gradient is 0 for a channel that is not active.
LAYERS = (nn.Conv, BandPooledConv)
SOWN = "convolved"


class Outputs(NamedTuple):
    """What a network computes of the windows of a clip."""

    logits: jax.Array  # float32 (windows, classes)
    maps: Mapping[str, jax.Array]  # by name of the layer: (windows, frames, [bands,] channels)


# (variables, decibels (frames, n_mels)) -> outputs
Forward = Callable[[Any, jax.Array], Outputs]


def network_of(spec: Spec, loudest_db: float) -> Forward:
    """Returns a network as a function of variables and mel power in dB, (frames, n_mels).

    It may be differentiated and compiled. The clip is cut into windows as in inference; maps are
    the outputs of its convolutions, before the norm and activation that follow. loudest_db: of the
    clip, the reference of levels that are relative. Raises UserError for networks whose input is
    not a mel spectrogram.
    """
    if spec.frontend.kind == "waveform":
        raise UserError(
            f"--weights: {spec.model} takes a waveform; sound is synthesised from a mel "
            "spectrogram, give weights with such an input"
        )
    infer = maps_of(spec)

    def outputs(variables: Any, decibels: jax.Array) -> Outputs:
        levels = levels_of(decibels, spec.frontend, loudest_db)
        return infer(variables, windows_of(levels, spec))

    return outputs


def maps_of(spec: Spec, observe: Callable[[str], object] = lambda name: None) -> Forward:
    """Returns the function of variables and levels (windows, frames, bands) to the outputs.

    `observe` is called with the name of each layer when it is traced.
    """
    module = specs.build(spec)

    def is_layer(module: nn.Module, method: str) -> bool:
        if method != "__call__" or not isinstance(module, LAYERS):
            return False
        observe("/".join(module.path))
        return True

    def outputs(variables: Any, levels: jax.Array) -> Outputs:
        logits, state = module.apply(
            variables,
            features_of(levels, spec),
            train=False,
            mutable=["intermediates"],
            capture_intermediates=is_layer,
        )  # pyright: ignore[reportGeneralTypeIssues]
        kept: dict[tuple[str, ...], Any] = dict(traverse_util.flatten_dict(state["intermediates"]))
        returned, sown = (
            {"/".join(path[:-1]): values[-1] for path, values in kept.items() if path[-1] == name}
            for name in ("__call__", SOWN)
        )
        maps = {name: sown.get(name, map_) for name, map_ in returned.items()}
        return Outputs(logits, maps)

    return outputs


def layer_shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each map for one window, by name, in the order of computation.

    Raises UserError where the network has none. Those within a scan or another network's body are
    not read.
    """
    spec, order = weights.spec, list[str]()
    shape = (1, spec.window_frames, spec.frontend.stored_bands)
    levels = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
    maps = jax.eval_shape(maps_of(spec, order.append), weights.variables, levels).maps
    if not maps:
        raise UserError(
            f"--weights: {spec.model} has no convolution whose output can be read; give those of a "
            "convolutional network, e.g. mtt_musicnn (deepgenre import --source=musicnn)"
        )
    return {name: maps[name].shape for name in order}


def levels_of(decibels: jax.Array, frontend: FrontEnd, loudest_db: float) -> jax.Array:
    """Returns levels, not rounded, float32 (frames, n_mels), of mel power in dB.

    Below the dynamic range, the gradient is that without the limit: bands there could not become
    audible otherwise. Above `loudest_db`, it is 0.
    """
    if frontend.kind == "musicnn":
        largest = 10 * np.log10(np.finfo(np.float16).max)
        return 10 ** (jnp.minimum(decibels, largest) / 10)
    above_floor = jnp.minimum(decibels - loudest_db, 0.0) + frontend.dynamic_range_db
    limited = above_floor + jax.lax.stop_gradient(jnp.maximum(above_floor, 0.0) - above_floor)
    return limited * (MAX_LEVEL / frontend.dynamic_range_db)


def loudest(decibels: np.ndarray, frontend: FrontEnd) -> float:
    """Returns the level in dB that a change of a spectrogram must not exceed.

    Its maximum; for absolute levels the largest that can be stored.
    """
    if frontend.kind == "musicnn":
        return float(10 * np.log10(np.finfo(np.float16).max))
    return float(decibels.max())


def windows_of(levels: jax.Array, spec: Spec) -> jax.Array:
    """Returns the windows, (windows, window_frames, bands), that inference cuts a clip into."""
    missing = max(0, spec.window_frames - levels.shape[0])
    starts = window_starts(levels.shape[0], spec.window_frames, spec.hop_frames)
    padded = jnp.pad(levels, ((0, missing), (0, 0)))
    return jnp.stack([padded[start : start + spec.window_frames] for start in starts])

"""The functions of a network that other runtimes compute, and their graphs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.audio import device_frontend
from deepgenre.data.sampling import window_starts
from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.models import lowering
from deepgenre.runtimes import onnx_graph
from deepgenre.weights.spec import Spec, Weights

Outputs = dict[str, jax.Array]
LEVELS, WAVEFORM = "levels", "waveform"  # names of the inputs of the graphs
EPSILON = 1e-7  # scores are clipped to this distance from 0 and 1 before a logarithm


def of_windows(weights: Weights) -> tuple[Callable[[jax.Array], Outputs], jax.ShapeDtypeStruct]:
    """Returns the function of levels (batch, frames, bands) to all outputs, and its input."""
    spec, step = weights.spec, compile_infer_step(weights.spec)
    shape = (_batch(), spec.window_frames, spec.frontend.stored_bands)
    example = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
    return lambda levels: step(weights.variables, levels), example


def of_clips(weights: Weights) -> tuple[Callable[[jax.Array], Outputs], jax.ShapeDtypeStruct]:
    """Returns the function of waveforms (batch, samples) to scores and embedding, and its input.

    The waveforms are as long as a training clip: `num_samples`. 'scores' (batch, classes) and
    'embedding' (batch, features) are those of a song of this length: means over its windows.
    """
    spec, step = weights.spec, compile_infer_step(weights.spec)

    def infer(waveforms: jax.Array) -> Outputs:
        levels = jax.vmap(lambda one: device_frontend.whole_levels(one, spec.frontend))(waveforms)
        missing = max(0, spec.window_frames - levels.shape[1])
        levels = jnp.pad(levels, ((0, 0), (0, missing), (0, 0)))
        starts = window_starts(levels.shape[1], spec.window_frames, spec.hop_frames)
        cut = [levels[:, start : start + spec.window_frames] for start in starts]
        windows = jnp.stack(cut, axis=1).reshape(-1, *cut[0].shape[1:])
        outputs = step(weights.variables, windows)
        means = {
            name: outputs[name].reshape(-1, len(starts), outputs[name].shape[-1]).mean(axis=1)
            for name in ("scores", "embedding")
        }
        return {**means, "scores": _calibrated(means["scores"], spec)}

    return infer, jax.ShapeDtypeStruct((_batch(), num_samples(spec)), np.float32)


def num_samples(spec: Spec) -> int:
    """Returns the length of the waveforms of `of_clips`."""
    return round(spec.clip_seconds * spec.frontend.sample_rate_hz)


def _batch() -> Any:
    return jax.export.symbolic_shape("batch")[0]


def _calibrated(scores: jax.Array, spec: Spec) -> jax.Array:
    """Returns the scores at the temperature of the spec, as `evaluation.calibration`."""
    if spec.temperature == 1:
        return scores
    clipped = jnp.clip(scores, EPSILON, 1 - EPSILON)
    if spec.multi_label:
        return jax.nn.sigmoid(jnp.log(clipped / (1 - clipped)) / spec.temperature)
    return jax.nn.softmax(jnp.log(clipped) / spec.temperature)


def to_onnx(
    function: Callable[[jax.Array], Outputs], name: str, example: jax.ShapeDtypeStruct, model: str
) -> Any:
    """Returns the onnx.ModelProto of a function of this module.

    model: the network, for the message of the UserError where it cannot be expressed in ONNX.
    """
    require("onnx", "onnx")
    try:
        with lowering.plain():
            return onnx_graph.convert(function, name, example)
    except onnx_graph.UnsupportedError as error:
        raise UserError(
            f"{model}: cannot be expressed in ONNX: {error}; export to .stablehlo, or predict "
            "with --engine=jax"
        ) from error


def output_names(path: Path) -> list[str]:
    """Returns the names of the outputs of an ONNX file, in their order."""
    onnx = require("onnx", "onnx")
    return [output.name for output in onnx.load(str(path)).graph.output]


def to_stablehlo(function: Callable[[jax.Array], Outputs], example: jax.ShapeDtypeStruct) -> Any:
    """Returns the jax.export.Exported of a function of this module, for CPU, CUDA and TPU."""
    with lowering.plain():
        return jax.export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(example)


def require(module: str, extra: str) -> Any:
    """Returns an optional library; raises UserError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{module} is not installed; pip install 'deepgenre[{extra}]' ({error})"
        ) from error

"""YAMNet from its published TFLite file; neither TensorFlow nor an interpreter of TFLite needed.

TensorFlow Models, research/audioset/yamnet (Apache 2.0). Kernels are stored as int8 with a scale
per filter, here turned back into float32. TFLite also rounds activations to int8 while it computes,
and the matrices of its Fourier transform; this program computes both in float32.
"""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.models.yamnet import SAMPLE_RATE_HZ, SEPARABLE, SHORTEST_SAMPLES
from deepgenre.weights import published
from deepgenre.weights.spec import Weights

SOURCE = "yamnet"
LICENCE = (
    "YAMNet: Apache License 2.0, copyright The TensorFlow Authors "
    "(https://github.com/tensorflow/models/tree/master/research/audioset/yamnet)."
)
MODEL = "yamnet.tflite"
MODEL_SHA256 = "469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194"
CLASSES = "yamnet_class_map.csv"
CLASSES_SHA256 = "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2"
HOP_SAMPLES = 7680  # 0.48 s
CLIP_SECONDS = 10.0  # of AudioSet


def import_networks(folder: Path | None) -> dict[str, Weights]:
    """Returns the network by the name 'yamnet'.

    Raises UserError where a file is missing or is not the published one, or tflite is missing.
    """
    folder = published.check_folder(folder, SOURCE, f"{MODEL} and {CLASSES}")
    model = published.read(folder / MODEL, MODEL_SHA256, SOURCE)
    table = published.read(folder / CLASSES, CLASSES_SHA256, SOURCE).decode()
    spec = published.spec(
        "yamnet",
        [row["display_name"] for row in csv.DictReader(io.StringIO(table))],
        FrontEnd("waveform", SAMPLE_RATE_HZ),
        window_frames=SHORTEST_SAMPLES,
        hop_frames=HOP_SAMPLES,
        clip_seconds=CLIP_SECONDS,
    )
    variables = {"params": _params(tensors(model)), "batch_stats": {}}
    return {SOURCE: Weights(spec, variables, step=0, metrics={}, licence=LICENCE)}


def tensors(model: bytes) -> dict[str, np.ndarray]:
    """Returns the constants of a TFLite model by name, see `indexed_tensors`."""
    constants = indexed_tensors(model)
    named = zip(_names(model), constants, strict=True)
    return {name: constant for name, constant in named if constant is not None}


def indexed_tensors(model: bytes) -> list[np.ndarray | None]:
    """Returns the constants of a TFLite model, float32 or integers, dequantised; None: none.

    Raises UserError where the package tflite is missing.
    """
    try:
        import tflite
    except ImportError as error:
        raise UserError(
            "--source=yamnet: needs tflite; install it with pip install 'deepgenre[import]'"
        ) from error
    dtypes = {
        tflite.TensorType.FLOAT32: np.float32,
        tflite.TensorType.INT32: np.int32,
        tflite.TensorType.INT8: np.int8,
    }
    graph: Any = tflite.Model.GetRootAs(model, 0)
    main, constants = graph.Subgraphs(0), []
    for index in range(main.TensorsLength()):
        tensor = main.Tensors(index)
        buffer = graph.Buffers(tensor.Buffer())
        constants.append(None)
        if buffer.DataLength():
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            stored = buffer.DataAsNumpy().view(dtypes[tensor.Type()]).reshape(shape)
            constants[index] = _dequantised(stored, tensor.Quantization())
    return constants


def _names(model: bytes) -> list[str]:
    import tflite

    main: Any = tflite.Model.GetRootAs(model, 0).Subgraphs(0)
    return [main.Tensors(index).Name().decode() for index in range(main.TensorsLength())]


def _dequantised(stored: np.ndarray, quantization: Any) -> np.ndarray:
    """Returns (stored - zero point) * scale, which may differ along one axis."""
    if stored.dtype != np.int8:
        return stored
    shape = [1] * stored.ndim
    shape[quantization.QuantizedDimension()] = -1
    scale = quantization.ScaleAsNumpy().reshape(shape)
    zero = quantization.ZeroPointAsNumpy().reshape(shape)
    return ((stored.astype(np.int64) - zero) * scale).astype(np.float32)


def _params(constants: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the parameters of `models.yamnet.YAMNet`."""
    layers = {"layer_1": ("layer1/conv", (1, 2, 3, 0))}
    for number in range(2, len(SEPARABLE) + 2):
        layers[f"layer_{number}_depthwise"] = (f"layer{number}/depthwise_conv", (1, 2, 0, 3))
        layers[f"layer_{number}_pointwise"] = (f"layer{number}/pointwise_conv", (1, 2, 3, 0))
    params: dict[str, Any] = {}
    for name, (layer, axes) in layers.items():
        kernel = _find(constants, rf"/{layer}/", 4)
        params[name] = {
            "kernel": np.ascontiguousarray(kernel.transpose(axes)),
            "bias": _find(constants, rf"/{layer}/bn/FusedBatchNormV3", 1),
        }
    params["logits"] = {
        "kernel": np.ascontiguousarray(_find(constants, "/dense/MatMul", 2).T),
        "bias": _find(constants, "/dense/BiasAdd/.*", 1),
    }
    return params


def _find(constants: dict[str, np.ndarray], pattern: str, axes: int) -> np.ndarray:
    """Returns the only constant with so many axes whose first name matches the pattern."""
    (found,) = (
        constant
        for name, constant in constants.items()
        if constant.ndim == axes and re.match(rf"yamnet_frames{pattern}", name.split(";")[0])
    )
    return found

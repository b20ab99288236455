"""Published networks in NumPy, operation by operation as their files describe them.

They share no code with `deepgenre.models`: references for what importers make of the files.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


def run_tfjs(graph: bytes, constants: Mapping[str, np.ndarray], x: np.ndarray) -> Tensors:
    """Returns the outputs of all nodes of a TensorFlow.js graph model for its placeholder x."""
    values: Tensors = dict(constants)
    for node in json.loads(graph)["modelTopology"]["node"]:
        if node["op"] == "Placeholder":
            values[node["name"]] = x
        elif node["op"] != "Const":
            inputs = [values[name] for name in node["input"]]
            values[node["name"]] = _tfjs_operation(node["op"], inputs, node.get("attr", {}))
    return values


def _tfjs_operation(op: str, inputs: list[np.ndarray], attr: Mapping[str, Any]) -> np.ndarray:
    first, *rest = inputs
    keep = bool(attr.get("keep_dims", {}).get("b"))
    match op:
        case "ExpandDims":
            return np.expand_dims(first, int(rest[0]))
        case "Mul":
            return first * rest[0]
        case "Add" | "AddV2":
            return first + rest[0]
        case "Pad":
            return np.pad(first, rest[0])
        case "Squeeze":
            return first.squeeze(tuple(map(int, attr["squeeze_dims"]["list"]["i"])))
        case "ConcatV2":
            return np.concatenate(inputs[:-1], axis=int(inputs[-1]))
        case "Transpose":
            return first.transpose(rest[0])
        case "Max":
            return first.max(axis=tuple(np.atleast_1d(rest[0])), keepdims=keep)
        case "Mean":
            return first.mean(axis=tuple(np.atleast_1d(rest[0])), keepdims=keep)
        case "Shape":
            return np.array(first.shape)
        case "StridedSlice":
            return first[int(rest[0][0])]  # of a shape: one number
        case "Pack":
            return np.stack([np.asarray(value) for value in inputs])
        case "Reshape":
            return first.reshape(rest[0])
        case "Sigmoid":
            return 1 / (1 + np.exp(-first))
        case "MaxPool":
            size = tuple(map(int, attr["ksize"]["list"]["i"]))
            assert size == tuple(map(int, attr["strides"]["list"]["i"]))
            return max_pool(first, size[1:3])
        case "_FusedMatMul":
            return _fused(first @ rest[0], rest[1], attr)
        case "_FusedConv2D":
            padding = base64.b64decode(attr["padding"]["s"]).decode()
            return _fused(convolve(first, rest[0], padding), rest[1], attr)
    raise NotImplementedError(op)


def _fused(x: np.ndarray, bias: np.ndarray, attr: Mapping[str, Any]) -> np.ndarray:
    operations = [base64.b64decode(name) for name in attr["fused_ops"]["list"]["s"]]
    assert operations in ([b"BiasAdd"], [b"BiasAdd", b"Relu"])
    return np.maximum(x + bias, 0) if b"Relu" in operations else x + bias


def run_tflite(model: bytes, constants: list[np.ndarray | None], log_mel: np.ndarray) -> np.ndarray:
    """Returns the last output of YAMNet's graph, computed in float from its spectrogram on.

    constants: dequantised, by index; log_mel: float32 (1, 96, 64, 1), what its first Conv2D reads.
    """
    import tflite

    graph: Any = tflite.Model.GetRootAs(model, 0)
    main, values, started = graph.Subgraphs(0), dict(enumerate(constants)), False
    for number in range(main.OperatorsLength()):
        operator = main.Operators(number)
        code = graph.OperatorCodes(operator.OpcodeIndex())
        op = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if op == tflite.BuiltinOperator.CONV_2D and not started:
            started, values[operator.Inputs(0)] = True, log_mel
        if started:
            inputs: list[Any] = [values[operator.Inputs(i)] for i in range(operator.InputsLength())]
            values[operator.Outputs(0)] = _tflite_operation(op, inputs, operator)
    result = values[main.Outputs(0)]
    assert result is not None
    return result


def _tflite_operation(op: int, inputs: list[np.ndarray], operator: Any) -> np.ndarray:
    import tflite

    table = operator.BuiltinOptions()
    x = inputs[0]
    match op:
        case tflite.BuiltinOperator.DEQUANTIZE:
            return x
        case tflite.BuiltinOperator.CONV_2D:
            options = tflite.Conv2DOptions()
            options.Init(table.Bytes, table.Pos)
            kernel = inputs[1].transpose(1, 2, 3, 0)
            x = convolve(x, kernel, "SAME", options.StrideH()) + inputs[2]
        case tflite.BuiltinOperator.DEPTHWISE_CONV_2D:
            options = tflite.DepthwiseConv2DOptions()
            options.Init(table.Bytes, table.Pos)
            x = convolve_depthwise(x, inputs[1][0], options.StrideH()) + inputs[2]
        case tflite.BuiltinOperator.MEAN:
            return x.mean(axis=tuple(inputs[1]))
        case tflite.BuiltinOperator.FULLY_CONNECTED:
            return x @ inputs[1].T + inputs[2]
        case tflite.BuiltinOperator.LOGISTIC:
            return 1 / (1 + np.exp(-x))
        case _:
            raise NotImplementedError(op)
    assert options.FusedActivationFunction() == tflite.ActivationFunctionType.RELU
    return np.maximum(x, 0)


def run_keras_tagger(tensors: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Returns the probabilities, (batch, 50), of Choi's CNN or CRNN as Keras 1.0.6 computes them.

    x: standardised, (batch, 96 bands, 1366 frames). Backend: convolutions as TensorFlow's, batch
    norm in mode 0 as Theano's, in the test phase.
    """
    is_recurrent = "gru1/W_z" in tensors
    pools = ((2, 2), (3, 3), (4, 4), (4, 4))
    if is_recurrent:
        x = np.pad(x, ((0, 0), (0, 0), (37, 37)))
    else:
        pools = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))
    x = _keras_norm(x[..., None], tensors, "bn_0_freq", axis=2)
    for number, pool in enumerate(pools, 1):
        kernel = tensors[f"conv{number}/W"].transpose(2, 3, 1, 0)  # from "th" to TensorFlow's order
        x = convolve(x, kernel, "SAME") + tensors[f"conv{number}/b"]
        x = max_pool(elu(_keras_norm(x, tensors, f"bn{number}", axis=3)), pool)
    if is_recurrent:
        x = x[:, 0]  # (batch, 15 steps, 128)
        x = _keras_gru(_keras_gru(x, tensors, "gru1"), tensors, "gru2")[:, -1]
    else:
        x = x.reshape(x.shape[0], -1)
    return 1 / (1 + np.exp(-(x @ tensors["output/W"] + tensors["output/b"])))


def run_keras_features(tensors: Mapping[str, np.ndarray], decibels: np.ndarray) -> np.ndarray:
    """Returns the features, (batch, 32), of compact_cnn as Keras 1.2.1 computes each alone.

    decibels: (batch, 96 bands, 1360 frames). Batch norm in mode 2: statistics of the input.
    """
    features = []
    for x in decibels[:, None, :, :, None]:
        for number, pool in enumerate(((2, 4), (3, 4), (2, 5), (2, 4), (4, 4)), 1):
            prefix = "ConvBNEluDr/"
            kernel = tensors[f"{prefix}convolution2d_{number}_W"].transpose(2, 3, 1, 0)
            x = convolve(x, kernel, "SAME") + tensors[f"{prefix}convolution2d_{number}_b"]
            gamma = tensors[f"{prefix}batchnormalization_{number}_gamma"]
            beta = tensors[f"{prefix}batchnormalization_{number}_beta"]
            deviation = np.sqrt(x.var(axis=(0, 1, 2)) + 1e-3)
            x = (x - x.mean(axis=(0, 1, 2))) / deviation * gamma + beta
            x = max_pool(elu(x), pool)
        features.append(x.ravel())
    return np.stack(features)


def _keras_norm(
    x: np.ndarray, tensors: Mapping[str, np.ndarray], layer: str, axis: int
) -> np.ndarray:
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    mean, deviation, gamma, beta = (
        tensors[f"{layer}/{name}"].reshape(shape)
        for name in ("running_mean", "running_std", "gamma", "beta")
    )
    return (x - mean) * (gamma / (deviation + 1e-6)) + beta


def _keras_gru(x: np.ndarray, tensors: Mapping[str, np.ndarray], layer: str) -> np.ndarray:
    def weights(name: str) -> np.ndarray:
        return tensors[f"{layer}/{name}"]

    def gate(name: str, inputs: np.ndarray, state: np.ndarray) -> np.ndarray:
        return inputs @ weights(f"W_{name}") + state @ weights(f"U_{name}") + weights(f"b_{name}")

    state, states = np.zeros((x.shape[0], weights("U_z").shape[0])), []
    for inputs in np.moveaxis(x, 1, 0):
        update = np.clip(0.2 * gate("z", inputs, state) + 0.5, 0, 1)
        reset = np.clip(0.2 * gate("r", inputs, state) + 0.5, 0, 1)
        state = update * state + (1 - update) * np.tanh(gate("h", inputs, reset * state))
        states.append(state)
    return np.stack(states, axis=1)


def elu(x: np.ndarray) -> np.ndarray:
    """Returns x where it is positive, else exp(x) - 1."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def convolve(x: np.ndarray, kernel: np.ndarray, padding: str, stride: int = 1) -> np.ndarray:
    """Returns TensorFlow's conv2d; kernel: (rows, columns, in, out)."""
    windows = _windows(x, kernel.shape[:2], padding, stride)
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True)


def convolve_depthwise(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Returns TensorFlow's depthwise convolution, "SAME"; kernel: (rows, columns, channels)."""
    windows = _windows(x, kernel.shape[:2], "SAME", stride)
    return np.einsum("bhwcij,ijc->bhwc", windows, kernel, optimize=True)


def _windows(x: np.ndarray, sizes: tuple[int, ...], padding: str, stride: int) -> np.ndarray:
    if padding == "SAME":
        missing = [
            max((-(-size // stride) - 1) * stride + width - size, 0)
            for size, width in zip(x.shape[1:3], sizes, strict=True)
        ]
        x = np.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, sizes, axis=(1, 2))
    return windows[:, ::stride, ::stride]


def max_pool(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Returns the maxima of x (batch, rows, columns, channels) without overlap, "VALID"."""
    rows, columns = x.shape[1] // size[0], x.shape[2] // size[1]
    x = x[:, : rows * size[0], : columns * size[1]]
    return x.reshape(x.shape[0], rows, size[0], columns, size[1], -1).max(axis=(2, 4))

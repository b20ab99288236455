"""The operations of JAX that networks use, in ONNX, but for those of `onnx_elementwise`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepgenre.runtimes import fourier
from deepgenre.runtimes.onnx_graph import Graph, UnsupportedError, Value, evaluate, stack


def _shape(equation: Any, index: int = 0) -> tuple[Any, ...]:
    return equation.outvars[index].aval.shape


def _int64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


def _broadcast(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Only inserts axes of size 1, see `Value.is_full`."""
    (x, *_), shape = inputs, _shape(equation)
    x = graph.full(x)
    axes = equation.params["broadcast_dimensions"]
    sizes: list[Any] = [1] * len(shape)
    for axis, size in zip(axes, x.shape, strict=True):
        sizes[axis] = size
    inner = graph.reshaped(x, tuple(sizes)) if tuple(sizes) != x.shape else x
    return [Value(inner.of, shape, tuple(sizes) == shape)]


def _reshape(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,) = inputs
    order = equation.params.get("dimensions")  # of `reshape`: to transpose first
    if equation.primitive.name == "reshape" and order is not None:
        x = graph.transposed(x, order)
    return [graph.reshaped(x, _shape(equation))]


def _transpose(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    return [graph.transposed(inputs[0], equation.params["permutation"])]


def _slice(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    parameters, (x,) = equation.params, inputs
    starts, limits = parameters["start_indices"], parameters["limit_indices"]
    strides = parameters["strides"] or (1,) * len(starts)
    rows = [
        (start, limit, axis, stride)
        for axis, (start, limit, stride) in enumerate(zip(starts, limits, strides, strict=True))
        if not (start == 0 and stride == 1 and limit == x.shape[axis])
    ]
    if not rows:
        return [x]
    return [Value(graph.add("Slice", x, *map(_int64, zip(*rows, strict=True))), _shape(equation))]


def _split(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    sizes, axis = equation.params["sizes"], equation.params["axis"]
    names = graph.add("Split", *inputs, _int64(sizes), axis=axis, count=len(sizes))
    names = [names] if len(sizes) == 1 else names
    return [Value(name, _shape(equation, index)) for index, name in enumerate(names)]


def _pad(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x, filler), config = inputs, equation.params["padding_config"]
    if any(inner for *_, inner in config) or any(min(edge[:2]) < 0 for edge in config):
        raise UnsupportedError("padding between values, or less than none")
    pads = _int64([before for before, _, _ in config] + [after for _, after, _ in config])
    return [Value(graph.add("Pad", x, pads, filler, mode="constant"), _shape(equation))]


def _reverse(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    axes = equation.params["dimensions"]
    last, first, back = [-1] * len(axes), [np.iinfo(np.int64).min + 1] * len(axes), [-1] * len(axes)
    sliced = graph.add("Slice", *inputs, _int64(last), _int64(first), _int64(axes), _int64(back))
    return [Value(sliced, _shape(equation))]


def _concatenate(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    axis = equation.params["dimension"]
    return [Value(graph.add("Concat", *inputs, axis=axis), _shape(equation))]


def _stack(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    return [stack(graph, inputs, equation.params["axis"])]


def _unstack(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    axis, (x,) = equation.params["axis"], inputs
    return [
        Value(graph.add("Gather", x, np.int64(index), axis=axis), _shape(equation, index))
        for index in range(len(equation.outvars))
    ]


def _reduce(operation: str) -> Callable[[Graph, Any, list[Value]], list[Value]]:
    def apply(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
        axes = _int64(equation.params["axes"])
        return [Value(graph.add(operation, inputs[0], axes, keepdims=0), _shape(equation))]

    return apply


def _any(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from onnx import TensorProto

    numbers = graph.add("Cast", *inputs, to=TensorProto.INT32)
    largest = graph.add("ReduceMax", numbers, _int64(equation.params["axes"]), keepdims=0)
    return [Value(graph.add("Cast", largest, to=TensorProto.BOOL), _shape(equation))]


def _argmax(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from onnx import helper

    (axis,), dtype = equation.params["axes"], equation.outvars[0].aval.dtype
    index = graph.add("ArgMax", inputs[0], axis=axis, keepdims=0)
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return [Value(graph.add("Cast", index, to=kind), _shape(equation))]


def _top_k(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from onnx import helper

    shapes = [_shape(equation, index) for index in (0, 1)]
    axis = equation.params.get("axis", -1)
    values, indices = graph.add("TopK", *inputs, _int64([equation.params["k"]]), axis=axis, count=2)
    kind = helper.np_dtype_to_tensor_dtype(equation.outvars[1].aval.dtype)
    return [Value(values, shapes[0]), Value(graph.add("Cast", indices, to=kind), shapes[1])]


def _sort(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    axis = equation.params["dimension"]
    if len(inputs) > 1:
        raise UnsupportedError("a sort of several arrays")
    size = _int64([inputs[0].shape[axis]])
    values, _ = graph.add("TopK", *inputs, size, axis=axis, largest=0, count=2)
    return [Value(values, _shape(equation))]


def _product(sizes: Sequence[Any]) -> Any:
    return math.prod(sizes)


def _as_result(graph: Graph, equation: Any, value: Value) -> Value:
    """Returns a factor in the dtype of the product: JAX multiplies different dtypes, ONNX does not.

    Constants, such as weights stored as float16, are converted here; of other values of another
    dtype, ONNX would refuse the product.
    """
    if value.is_constant:
        return Value(jnp.asarray(value.of, equation.outvars[0].aval.dtype), value.shape)
    return value


def _dot_general(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """As MatMul of (batch, rows, sum) and (batch, sum, columns)."""
    (sum_left, sum_right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    left, right = (_as_result(graph, equation, value) for value in inputs)
    free_left = [a for a in range(len(left.shape)) if a not in (*sum_left, *batch_left)]
    free_right = [a for a in range(len(right.shape)) if a not in (*sum_right, *batch_right)]
    shape = _shape(equation)
    left = graph.transposed(left, [*batch_left, *free_left, *sum_left])
    right = graph.transposed(right, [*batch_right, *sum_right, *free_right])
    count = len(batch_left)
    if not count and len(sum_left) == 1 and len(free_right) == 1:  # a dense layer
        return [Value(graph.add("MatMul", left, right), shape)]
    split_left, split_right = count + len(free_left), count + len(sum_right)
    batch = left.shape[:count]
    rows, inner = _product(left.shape[count:split_left]), _product(left.shape[split_left:])
    columns = _product(right.shape[split_right:])
    left = graph.reshaped(left, (*batch, rows, inner))
    right = graph.reshaped(right, (*batch, inner, columns))
    product = Value(graph.add("MatMul", left, right), (*batch, rows, columns))
    return [graph.reshaped(product, shape)]


def _convolution(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    parameters = equation.params
    x, kernel = (_as_result(graph, equation, value) for value in inputs)
    if any(size != 1 for size in parameters["lhs_dilation"]) or parameters["batch_group_count"] > 1:
        raise UnsupportedError("a transposed convolution")
    numbers, pads = parameters["dimension_numbers"], parameters["padding"]
    name = graph.add(
        "Conv",
        graph.transposed(x, numbers.lhs_spec),
        graph.transposed(kernel, numbers.rhs_spec),
        strides=[*parameters["window_strides"]],
        pads=[before for before, _ in pads] + [after for _, after in pads],
        dilations=[*parameters["rhs_dilation"]],
        group=parameters["feature_group_count"],
    )
    shape = _shape(equation)
    channels_first = Value(name, tuple(shape[axis] for axis in numbers.out_spec))
    return [graph.transposed(channels_first, np.argsort(numbers.out_spec).tolist())]


def _window_maximum(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Of (batch, *spatial, channels)."""
    parameters, (x,) = equation.params, inputs
    window, strides = parameters["window_dimensions"], parameters["window_strides"]
    pads = parameters["padding"]
    dilated = (*parameters["base_dilation"], *parameters["window_dilation"])
    if window[0] != 1 or window[-1] != 1 or any(size != 1 for size in dilated):
        raise UnsupportedError("a pool over channels or clips, or a dilated one")
    last = len(window) - 1
    name = graph.add(
        "MaxPool",
        graph.transposed(x, [0, last, *range(1, last)]),
        kernel_shape=[*window[1:-1]],
        strides=[*strides[1:-1]],
        pads=[before for before, _ in pads[1:-1]] + [after for _, after in pads[1:-1]],
    )
    shape = _shape(equation)
    pooled = Value(name, (shape[0], shape[-1], *shape[1:-1]))
    return [graph.transposed(pooled, [0, *range(2, last + 1), 1])]


def _gather(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """A slice at one constant offset, or whole slices at indices along one axis.

    Or along adjacent axes, at constant indices.
    """
    (x, indices), numbers = inputs, equation.params["dimension_numbers"]
    axes, sizes = numbers.start_index_map, equation.params["slice_sizes"]
    if numbers.operand_batching_dims:
        raise UnsupportedError("a gather of another index per clip")
    if indices.is_constant and len(indices.shape) == 1:
        return [_window(graph, x, dict(zip(axes, np.asarray(indices.of), strict=True)), equation)]
    others = [size == x.shape[axis] for axis, size in enumerate(sizes) if axis not in axes]
    first, last = axes[0], axes[0] + len(axes)
    is_simple = [*axes] == [*range(first, last)] == [*numbers.collapsed_slice_dims] and all(others)
    if not is_simple or (len(axes) > 1 and not indices.is_constant):
        raise UnsupportedError("a gather along several axes")
    limits = x.shape[first:last]
    if indices.is_constant:
        parts = np.moveaxis(np.asarray(indices.of), -1, 0)
        flat: Any = np.ravel_multi_index(tuple(parts), limits, mode="clip").astype(np.int64)
    else:
        dtype = np.asarray(jnp.zeros((), equation.invars[1].aval.dtype)).dtype
        bounds = np.asarray(0, dtype), np.asarray(limits[0] - 1, dtype)
        flat = graph.add("Clip", graph.reshaped(indices, indices.shape[:-1]), *bounds)
    merged = (*x.shape[:first], math.prod(limits), *x.shape[last:])
    taken = graph.add("Gather", graph.reshaped(x, merged), flat, axis=first)
    rank = len(indices.shape) - 1
    order_of_indices = iter(range(first, first + rank))
    order_of_slices = iter([*range(first), *range(first + rank, rank + len(merged) - 1)])
    shape = _shape(equation)
    order = [
        next(order_of_slices if axis in numbers.offset_dims else order_of_indices)
        for axis in range(len(shape))
    ]
    source_shape = tuple(shape[axis] for axis in np.argsort(order))
    return [graph.transposed(Value(taken, source_shape), order)]


def _window(graph: Graph, x: Value, starts: Mapping[int, int], equation: Any) -> Value:
    """Returns the slice of a gather whose offset is constant."""
    sizes = equation.params["slice_sizes"]
    rows = []
    for axis, start in starts.items():
        start = min(max(int(start), 0), x.shape[axis] - sizes[axis])
        rows.append((start, start + sizes[axis], axis))
    name = graph.add("Slice", x, *map(_int64, zip(*rows, strict=True)))
    return graph.reshaped(Value(name, sizes), _shape(equation))


def _fft(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Over the last axes, forwards; see `fourier`."""
    lengths, kind, (x,) = equation.params["fft_lengths"], equation.params["fft_type"], inputs
    last, is_real = len(x.shape) - 1, kind == lax.FftType.RFFT
    axes = range(last + 1 - len(lengths), last + 1)
    if kind not in (lax.FftType.FFT, lax.FftType.RFFT) or x.shape[axes[0] :] != tuple(lengths):
        raise UnsupportedError(f"the Fourier transform of kind {kind}")

    def transform(numbers: jax.Array) -> jax.Array:
        numbers = numbers[..., None] if is_real else numbers
        for axis in reversed(axes):
            numbers = fourier.transform(numbers, axis)
            if is_real and axis == last:
                numbers = numbers[..., : lengths[-1] // 2 + 1, :]
        return numbers

    shape = x.shape if is_real else (*x.shape, 2)
    closed = jax.make_jaxpr(transform)(jax.ShapeDtypeStruct(shape, np.float32))
    (result,) = evaluate(graph, closed, [Value(x.of, shape)])
    return [Value(graph.full(result).of, _shape(equation))]


def _part(index: int) -> Callable[[Graph, Any, list[Value]], list[Value]]:
    def apply(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
        return [Value(graph.add("Gather", *inputs, np.int64(index), axis=-1), _shape(equation))]

    return apply


OF_COMPLEX = ("abs", "fft", "imag", "real", "transpose")  # operations that accept complex numbers
OPERATORS: Mapping[str, Callable[[Graph, Any, list[Value]], list[Value]]] = {
    "argmax": _argmax,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dot_general": _dot_general,
    "expand_dims": _reshape,
    "fft": _fft,
    "gather": _gather,
    "imag": _part(1),
    "pad": _pad,
    "real": _part(0),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _any,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_window_max": _window_maximum,
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "sort": _sort,
    "split": _split,
    "squeeze": _reshape,
    "stack": _stack,
    "top_k": _top_k,
    "transpose": _transpose,
    "unstack": _unstack,
}

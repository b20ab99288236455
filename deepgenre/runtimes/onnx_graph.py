"""A JAX function as an ONNX graph: its jaxpr, operation by operation.

Values that do not depend on the inputs are computed here, with JAX. Functions within functions are
inlined and scans unrolled. `onnx_elementwise` and `onnx_operators` hold the operations; one
that they lack raises `UnsupportedError`, with its name.

Not jax2onnx, 0.17.1: it replaces functions of JAX and Flax while it traces, some by ones of other
signatures, accesses internals that jax 0.12 has no more, and excludes current Orbax versions.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OPSET = 20
IR_VERSION = 10  # of ONNX 1.16: the runtimes of 2024 and later read it
INLINED = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters of operations that hold a function


class UnsupportedError(Exception):
    """An operation that cannot be expressed in ONNX."""


@dataclasses.dataclass(frozen=True)
class Value:
    """A constant, or the name of a tensor of the graph.

    is_full: whether it has its shape; without, axes of size 1 stand for axes to broadcast to,
    which elementwise operations do by themselves.
    is_complex: complex numbers are a last axis of size 2 (1: real parts only) in the graph.
    """

    of: Any
    shape: tuple[Any, ...]  # sizes, of the batch symbolic
    is_full: bool = True
    is_complex: bool = False

    @property
    def is_constant(self) -> bool:
        """Returns whether the value is known."""
        return not isinstance(self.of, str)


Operator = Callable[["Graph", Any, list[Value]], list[Value]]


class Graph:
    """A graph in construction: nodes, constants, and the names given so far."""

    def __init__(self, batch_source: str) -> None:
        """batch_source: an input, whose first axis is the batch."""
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self._constants: dict[Any, str] = {}
        self._batch_source = batch_source
        self._batch_size = ""

    def add(self, operation: str, *inputs: Any, count: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, a list where `count` > 1.

        inputs: values, names of tensors, or arrays.
        """
        from onnx import helper

        names = [self.name_of(value) for value in inputs]
        outputs = [f"{operation}_{len(self.nodes)}_{index}" for index in range(count)]
        self.nodes.append(helper.make_node(operation, names, outputs, **attributes))
        return outputs[0] if count == 1 else outputs

    def name_of(self, value: Any) -> str:
        """Returns the name of a tensor; stores a constant, once."""
        value = value.of if isinstance(value, Value) else value
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self.initializers)}"
            self.initializers[self._constants[key]] = array
        return self._constants[key]

    def full(self, value: Value) -> Value:
        """Returns the value with its shape."""
        if value.is_full:
            return value
        if value.is_constant and all(isinstance(size, int) for size in value.shape):
            return Value(jnp.broadcast_to(value.of, value.shape), value.shape)
        return Value(self.add("Expand", value, self.sizes(value.shape)), value.shape)

    def sizes(self, shape: Sequence[Any]) -> Any:
        """Returns a shape as an int64 tensor; a symbolic size is that of the input's batch."""
        if all(isinstance(size, int) for size in shape):
            return np.array(shape, np.int64)
        if not self._batch_size:
            self._batch_size = self.add("Shape", self._batch_source, start=0, end=1)
        return self.add("Concat", *map(self._size, shape), axis=0)

    def _size(self, size: Any) -> Any:
        if isinstance(size, int):
            return np.array([size], np.int64)
        if str(size).isidentifier():  # the batch itself, not a multiple of it
            return self._batch_size
        raise UnsupportedError(f"broadcasting to a size of {size}")

    def reshaped(self, value: Value, shape: tuple[Any, ...]) -> Value:
        """Returns the value in another shape, of at most one symbolic size."""
        if shape == value.shape:
            return value
        if value.is_constant:
            return Value(jnp.reshape(value.of, shape), shape)
        symbolic = [not isinstance(size, int) for size in shape]
        if sum(symbolic) > 1:
            raise UnsupportedError(f"a shape of {shape}")
        if value.is_complex:
            raise UnsupportedError("reshaping complex numbers")
        target = [size if isinstance(size, int) else -1 for size in shape]
        return Value(self.add("Reshape", value, np.array(target, np.int64)), shape)

    def transposed(self, value: Value, order: Sequence[int]) -> Value:
        """Returns the value with its axes in another order."""
        shape = tuple(value.shape[axis] for axis in order)
        if [*order] == [*range(len(order))]:
            return value
        if value.is_constant:
            return Value(jnp.transpose(value.of, order), shape)
        if value.is_complex:
            order = [*order, len(order)]
        return Value(
            self.add("Transpose", value, perm=[*order]), shape, is_complex=value.is_complex
        )


def convert(
    function: Callable[..., Mapping[str, jax.Array]], name: str, example: jax.ShapeDtypeStruct
) -> Any:
    """Returns the onnx.ModelProto of a function of one array to arrays by name.

    name: of the input. example: its shape and dtype; the first size may be symbolic
    (`jax.export.symbolic_shape`). Raises `UnsupportedError`.
    """
    from onnx import helper, numpy_helper

    closed, outputs = jax.make_jaxpr(function, return_shape=True)(example)
    graph = Graph(name)
    values = evaluate(graph, closed, [Value(name, example.shape)])
    names = [*outputs]  # a dict's leaves are in the order of its keys, sorted
    for output, value in zip(sorted(names), values, strict=True):
        result = helper.make_node("Identity", [graph.name_of(graph.full(value))], [output])
        graph.nodes.append(result)
    infos = [_info(output, outputs[output]) for output in sorted(names)]
    initializers = [numpy_helper.from_array(a, key) for key, a in graph.initializers.items()]
    built = helper.make_graph(graph.nodes, "network", [_info(name, example)], infos, initializers)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        built, opset_imports=[opset], ir_version=IR_VERSION, producer_name="deepgenre"
    )


def _info(name: str, like: Any) -> Any:
    from onnx import helper

    sizes = [size if isinstance(size, int) else str(size) for size in like.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(like.dtype), sizes)


def evaluate(graph: Graph, closed: Any, inputs: Sequence[Value]) -> list[Value]:
    """Returns the outputs of a closed jaxpr; adds its operations to the graph."""
    values: dict[Any, Value] = {}

    def read(variable: Any) -> Value:
        if hasattr(variable, "val"):  # a literal
            return Value(np.asarray(variable.val, variable.aval.dtype), variable.aval.shape)
        return values[variable]

    jaxpr = closed.jaxpr
    constants = [Value(constant, np.shape(constant)) for constant in closed.consts]
    values.update(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        outputs = _apply(graph, equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _apply(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from deepgenre.runtimes import onnx_operators

    name, parameters = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(graph, parameters, inputs)
    for parameter in INLINED:
        if hasattr(parameters.get(parameter), "consts"):
            return evaluate(graph, parameters[parameter], inputs)
    results = _operation(graph, equation, inputs)
    is_complex = [_is_complex(variable) for variable in equation.outvars]
    if any(map(_is_complex, equation.invars)) and name not in onnx_operators.OF_COMPLEX:
        raise UnsupportedError(f"the operation {name!r} of complex numbers")
    pairs = zip(results, is_complex, strict=True)
    return [dataclasses.replace(value, is_complex=is_one) for value, is_one in pairs]


def _is_complex(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.complexfloating)


def _operation(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from deepgenre.runtimes import onnx_elementwise, onnx_operators

    name, parameters = equation.primitive.name, equation.params
    shapes = [variable.aval.shape for variable in equation.outvars]
    is_known = all(isinstance(size, int) for shape in shapes for size in shape)
    if is_known and all(value.is_constant for value in inputs):
        full = [graph.full(value).of for value in inputs]
        results = equation.primitive.bind(*full, **parameters)
        results = results if equation.primitive.multiple_results else [results]
        return [Value(result, shape) for result, shape in zip(results, shapes, strict=True)]
    if name in onnx_elementwise.ELEMENTWISE:
        of = onnx_elementwise.ELEMENTWISE[name](graph, equation, inputs)
        is_full = any(value.is_full and value.shape == shapes[0] for value in inputs)
        return [Value(of, shapes[0], is_full or not shapes[0])]
    if name not in onnx_operators.OPERATORS:
        raise UnsupportedError(f"the operation {name!r}")
    if name != "broadcast_in_dim":
        inputs = [graph.full(value) for value in inputs]
    return onnx_operators.OPERATORS[name](graph, equation, inputs)


def _scan(graph: Graph, parameters: Mapping[str, Any], inputs: list[Value]) -> list[Value]:
    """Unrolls a scan: its body once per step."""
    num_constants, num_carried = _scan_counts(parameters)
    constants, carried = inputs[:num_constants], inputs[num_constants:][:num_carried]
    sequences = [graph.full(value) for value in inputs[num_constants + num_carried :]]
    steps = [*range(parameters["length"])]
    stacked: dict[int, list[Value]] = {}
    for step in reversed(steps) if parameters["reverse"] else steps:
        of_step = [_item(graph, sequence, step) for sequence in sequences]
        results = evaluate(graph, parameters["jaxpr"], [*constants, *carried, *of_step])
        carried, stacked[step] = results[:num_carried], results[num_carried:]
    columns = zip(*(stacked[step] for step in steps), strict=True)
    return [*carried, *(stack(graph, list(column), 0) for column in columns)]


def _scan_counts(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """Returns the number of constants and of carried values among the inputs of a scan."""
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    constants, carried, _ = parameters["ft_in"].unpack()  # since jax 0.12
    return len(constants), len(carried)


def _item(graph: Graph, sequence: Value, index: int) -> Value:
    if sequence.is_constant:
        return Value(sequence.of[index], sequence.shape[1:])
    return Value(graph.add("Gather", sequence, np.int64(index), axis=0), sequence.shape[1:])


def stack(graph: Graph, values: Sequence[Value], axis: int) -> Value:
    """Returns the values, of one shape, along a new axis."""
    values = [graph.full(value) for value in values]
    shape = values[0].shape
    stacked_shape = (*shape[:axis], len(values), *shape[axis:])
    if all(value.is_constant for value in values):
        return Value(jnp.stack([value.of for value in values], axis), stacked_shape)
    rows = [graph.add("Unsqueeze", value, np.array([axis], np.int64)) for value in values]
    return Value(graph.add("Concat", *rows, axis=axis), stacked_shape)

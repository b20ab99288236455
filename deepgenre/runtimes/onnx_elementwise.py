"""The operations of JAX whose operands and result have one shape, in ONNX."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepgenre.runtimes.onnx_graph import Graph, UnsupportedError, Value

Elementwise = Callable[[Graph, Any, list[Value]], str]  # returns the name of the result
LAST_AXIS = np.array([-1], np.int64)


def _same(operation: str) -> Elementwise:
    return lambda graph, _, inputs: graph.add(operation, *inputs)


def _then(*operations: str) -> Elementwise:
    def apply(graph: Graph, _: Any, inputs: list[Value]) -> str:
        name = graph.name_of(inputs[0])
        for operation in operations:
            name = graph.add(operation, name)
        return name

    return apply


def _maximum(graph: Graph, _: Any, inputs: list[Value]) -> str:
    first, second = inputs
    if second.is_constant and not np.any(second.of):
        return graph.add("Relu", first)
    return graph.add("Max", first, second)


def _integer_pow(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    power, (x,) = equation.params["y"], inputs
    name = graph.name_of(x)
    for _ in range(abs(power) - 1):
        name = graph.add("Mul", name, x)
    return graph.add("Reciprocal", name) if power < 0 else name


def _cast(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    from onnx import helper

    dtype = np.dtype(equation.params["new_dtype"])
    if np.issubdtype(dtype, np.complexfloating):
        real = graph.add("Unsqueeze", *inputs, LAST_AXIS)
        return graph.add("Concat", real, graph.add("Sub", real, real), axis=-1)
    (x,) = inputs
    given = np.dtype(equation.invars[0].aval.dtype)
    is_small = np.issubdtype(dtype, np.integer) and dtype.itemsize <= 2
    if is_small and np.issubdtype(given, np.floating):  # JAX saturates; ONNX leaves it open
        limits = np.iinfo(dtype)
        x = graph.add("Clip", x, given.type(limits.min), given.type(limits.max))
    return graph.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(dtype))


def _select(graph: Graph, _: Any, inputs: list[Value]) -> str:
    which, *cases = inputs
    if len(cases) != 2:
        raise UnsupportedError(f"a selection of {len(cases)}")
    return graph.add("Where", which, cases[1], cases[0])


def _less_by(number: float, operation: str) -> Elementwise:
    """Returns operation(x) - number."""
    return lambda graph, equation, inputs: graph.add(
        "Sub", graph.add(operation, *inputs), _like(equation, number)
    )


def _erfc(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    return graph.add("Sub", _like(equation, 1), graph.add("Erf", *inputs))


def _log1p(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    return graph.add("Log", graph.add("Add", *inputs, _like(equation, 1)))


def _is_finite(graph: Graph, _: Any, inputs: list[Value]) -> str:
    return graph.add(
        "Not", graph.add("Or", graph.add("IsInf", *inputs), graph.add("IsNaN", *inputs))
    )


def _round(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    if equation.params["rounding_method"] != lax.RoundingMethod.TO_NEAREST_EVEN:
        raise UnsupportedError("rounding away from zero")
    return graph.add("Round", *inputs)


def _magnitude(graph: Graph, equation: Any, inputs: list[Value]) -> str:
    """Of real or complex numbers."""
    if jnp.issubdtype(equation.invars[0].aval.dtype, jnp.complexfloating):
        return graph.add("ReduceL2", *inputs, LAST_AXIS, keepdims=0)
    return graph.add("Abs", *inputs)


def _like(equation: Any, number: float) -> np.ndarray:
    return np.asarray(number, equation.outvars[0].aval.dtype)


ELEMENTWISE: Mapping[str, Elementwise] = {
    "abs": _magnitude,
    "add": _same("Add"),
    "add_any": _same("Add"),
    "and": _same("And"),
    "ceil": _same("Ceil"),
    "clamp": lambda graph, _, inputs: graph.add(
        "Min", graph.add("Max", inputs[1], inputs[0]), inputs[2]
    ),
    "convert_element_type": _cast,
    "copy": _then(),
    "copy_p": _then(),
    "cos": _same("Cos"),
    "div": _same("Div"),
    "eq": _same("Equal"),
    "erf": _same("Erf"),
    "erfc": _erfc,
    "exp": _same("Exp"),
    "expm1": _less_by(1, "Exp"),
    "floor": _same("Floor"),
    "ge": _same("GreaterOrEqual"),
    "gt": _same("Greater"),
    "integer_pow": _integer_pow,
    "is_finite": _is_finite,
    "le": _same("LessOrEqual"),
    "log": _same("Log"),
    "log1p": _log1p,
    "logistic": _same("Sigmoid"),
    "lt": _same("Less"),
    "lt_to": _same("Less"),
    "max": _maximum,
    "min": _same("Min"),
    "mul": _same("Mul"),
    "ne": lambda graph, _, inputs: graph.add("Not", graph.add("Equal", *inputs)),
    "neg": _same("Neg"),
    "not": _same("Not"),
    "or": _same("Or"),
    "pow": _same("Pow"),
    "round": _round,
    "rsqrt": _then("Sqrt", "Reciprocal"),
    "select_n": _select,
    "sign": _same("Sign"),
    "sin": _same("Sin"),
    "sqrt": _same("Sqrt"),
    "square": lambda graph, _, inputs: graph.add("Mul", inputs[0], inputs[0]),
    "stop_gradient": _then(),
    "sub": _same("Sub"),
    "tanh": _same("Tanh"),
}

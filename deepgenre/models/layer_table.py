"""The layers of a network: kinds, output shapes, parameters, and which layer feeds which.

Nothing is computed: the network is traced with abstract values.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.extend.core import Literal

INPUT = -1  # source of the layers that read the network's input
# Fields of a module that describe a layer, and how they are shown. Of two names of one quantity,
# the first is that of this package's blocks, the second that of linen's layers.
_OPTIONS = (
    (("features", "units"), "{}"),
    (("kernel", "kernel_size"), "kernel {}"),
    (("stride", "strides"), "stride {}"),
    (("pool",), "pool {}"),
)
_TRIVIAL = (None, 0, 1, (), (1,), (1, 1))  # values of an option that has no effect


@dataclasses.dataclass(frozen=True)
class Layer:
    """A direct child of a network, or the parameters that the network has itself."""

    name: str
    kind: str  # the module's class
    options: str  # e.g. '256, kernel 4, stride 2, pool 2'
    shape: tuple[int, ...]  # of the output, without the axis of the batch
    num_parameters: int
    sources: tuple[int, ...]  # indices of the layers whose outputs it reads, or INPUT


def layers(module: nn.Module, frames: int, bands: int) -> list[Layer]:
    """Returns the layers of a network for input (frames, bands), in the order of computation.

    Dropout, which has no effect on trained networks, is left out. Operations between layers, such
    as a sum or concatenation, are not listed: `sources` tells which outputs they combine.
    Parameters that belong to no layer are the last row, without a shape.
    """
    features = jax.ShapeDtypeStruct((1, frames, bands), np.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), features)
    kept = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
    calls: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
    within: dict[str, str] = {}  # layers that another one calls, such as the cell of an RNN
    active: list[str] = []

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        path = context.module.path
        if len(path) != 1 or context.method_name != "__call__":
            return call(*args, **kwargs)
        if active:
            within[path[0]] = active[0]
        active.append(path[0])
        try:
            result = call(*args, **kwargs)
        finally:
            active.pop()
        calls.setdefault(path[0], (context.module, _output_shape(result)))
        return result

    with nn.intercept_methods(record):
        graph = jax.make_jaxpr(lambda v, x: module.apply(v, x, train=False))(kept, features)
    names = [name for name, (called, _) in calls.items()
             if name not in within and not isinstance(called, nn.Dropout)]  # fmt: skip
    sources = _sources(graph.jaxpr, names)
    params = kept.get("params", {})
    rows = []
    for name in names:
        called, shape = calls[name]
        inner = [one for one, outer in within.items() if outer == name]
        parts = [called, *(calls[one][0] for one in inner)]
        rows.append(
            Layer(
                name=name,
                kind=" of ".join(type(part).__name__ for part in parts),
                options=", ".join(filter(None, map(_options, parts))),
                shape=shape,
                num_parameters=_count({one: params.get(one, {}) for one in (name, *inner)}),
                sources=tuple(sorted(names.index(s) if s else INPUT for s in sources[name])),
            )
        )
    own = _count({name: leaf for name, leaf in params.items() if name not in calls})
    if own:
        rows.append(Layer("", type(module).__name__, "own parameters", (), own, ()))
    return rows


def _sources(jaxpr: Any, names: Iterable[str]) -> dict[str, set[str]]:
    """Returns, per layer, the layers whose outputs it reads; '' is the network's input.

    An operation belongs to the layer in whose scope it was traced; those outside every layer pass
    the sources of their operands on.
    """
    known = set(names)
    found: dict[str, set[str]] = {name: set() for name in known}
    reads: dict[Any, frozenset[str]] = {jaxpr.invars[-1]: frozenset([""])}
    for equation in jaxpr.eqns:
        scopes = str(equation.source_info.name_stack).split("/")
        layer = next((scope for scope in scopes if scope in known), None)
        operands = [v for v in equation.invars if not isinstance(v, Literal)]
        sources = frozenset().union(*(reads.get(v, frozenset()) for v in operands))
        if layer is not None:
            found[layer] |= sources - {layer}
            sources = frozenset([layer]) if sources else sources  # none: of parameters alone
        reads.update(dict.fromkeys(equation.outvars, sources))
    return found


def _output_shape(result: Any) -> tuple[int, ...]:
    """Returns the shape, without the batch, of a layer's output; of several, of the last array."""
    arrays = [leaf for leaf in jax.tree.leaves(result) if hasattr(leaf, "shape")]
    return tuple(arrays[-1].shape[1:]) if arrays else ()


def _options(module: nn.Module) -> str:
    shown = []
    for fields, pattern in _OPTIONS:
        value = next((getattr(module, name) for name in fields if hasattr(module, name)), None)
        if value not in _TRIVIAL or (fields[0] == "features" and value):
            shown.append(pattern.format(_sizes(value)))
    return ", ".join(shown)


def _sizes(value: Any) -> str:
    return " × ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _count(params: Mapping[str, Any]) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))

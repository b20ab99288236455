"""Which of two implementations of an operation is traced: by platform, or always the plain one."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
from jax import lax

Result = TypeVar("Result")  # an array, or a tree of arrays

_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within it, networks are traced by XLA's own operations only, for any platform.

    For exporting: other runtimes recognise convolutions and pools, not what computes them fast in
    XLA on a CPU. Does not affect functions that are compiled already.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Returns whether XLA's own operations are to be traced."""
    return _plain.get()


def by_platform(
    *operands: jax.Array, cpu: Callable[..., Result], default: Callable[..., Result]
) -> Result:
    """Returns `cpu(*operands)` on a CPU, else `default(*operands)`, the plain implementation."""
    if is_plain():
        return default(*operands)
    return lax.platform_dependent(*operands, cpu=cpu, default=default)

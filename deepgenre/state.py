"""What training changes, and nothing else."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

PyTree = Any


@struct.dataclass
class State:
    """The state of a run after `step` steps. Randomness is not in it: it follows from the step."""

    step: jax.Array  # int32 scalar: finished steps
    params: PyTree
    batch_stats: PyTree  # running statistics of batch norm; {} without
    opt_state: optax.OptState


def initial_state(
    module: nn.Module, tx: optax.GradientTransformation, input_shape: tuple[int, ...], seed: int
) -> State:
    """Returns step 0 of a network for features of `input_shape`, float32 (1, frames, bands)."""

    def init() -> State:
        variables = module.init(jax.random.key(seed), jnp.zeros(input_shape), train=False)
        params = variables["params"]
        return State(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=tx.init(params),
        )

    return jax.jit(init)()


def num_parameters(params: PyTree) -> int:
    """Returns how many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))

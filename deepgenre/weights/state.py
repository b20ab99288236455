"""The training state."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

PyTree = Any


@struct.dataclass
class State:
    """The state of a run after `step` steps; random numbers are derived from the step."""

    step: jax.Array  # int32 scalar: number of finished steps
    params: PyTree
    batch_stats: PyTree  # running statistics of batch norm; {} without batch norm
    opt_state: optax.OptState
    averages: PyTree  # running means of params and batch_stats; {} unless inference uses them


def initial_state(
    module: nn.Module,
    tx: optax.GradientTransformation,
    input_shape: tuple[int, ...],
    *,
    seed: int,
    averaged: bool = False,
) -> State:
    """Returns the state at step 0 for features of `input_shape`, float32 (1, frames, bands)."""

    def init() -> State:
        variables = module.init(jax.random.key(seed), jnp.zeros(input_shape), train=False)
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        return State(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=tx.init(params),
            averages={"params": params, "batch_stats": batch_stats} if averaged else {},
        )

    return jax.jit(init)()


def with_weights(state: State, params: PyTree, batch_stats: PyTree) -> State:
    """Returns the state with other weights; running means restart from them."""
    weights = {"params": params, "batch_stats": batch_stats}
    averages = jax.tree.map(jnp.copy, weights) if state.averages else {}  # a step donates both
    return dataclasses.replace(state, params=params, batch_stats=batch_stats, averages=averages)


def inference_variables(state: State) -> dict[str, PyTree]:
    """Returns the variables for validation and inference: the running means, if there are any."""
    return state.averages or {"params": state.params, "batch_stats": state.batch_stats}


def num_parameters(params: PyTree) -> int:
    """Returns the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))

"""Start a network from another one's weights: what fits is taken over, the rest stays fresh."""

import dataclasses
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax

from deepgenre import spec as specs
from deepgenre.errors import UserError
from deepgenre.restored import Restored
from deepgenre.spec import Spec
from deepgenre.state import State, with_weights

PyTree = Any


def start_from(state: State, donor: Restored, spec: Spec) -> tuple[State, frozenset[str]]:
    """Returns the fresh `state` with the donor's weights, and the paths of the params taken over.

    The head stays fresh unless donor and `spec` have the same classes in the same order. Raises
    UserError where no kernel fits: a bias alone may fit by chance.
    """
    skip = () if donor.spec.classes == spec.classes else head_paths(spec)
    params, loaded = transfer(state.params, donor.variables["params"], skip)
    if not any(leaf.ndim > 1 for path, leaf in _leaves(params) if path in loaded):
        raise UserError(
            f"config.init_from: no kernel of the weights ({donor.spec.model}) fits {spec.model} by "
            "name and shape; choose weights of the same network and front end"
        )
    batch_stats, _ = transfer(state.batch_stats, donor.variables["batch_stats"])
    return with_weights(state, params, batch_stats), loaded


def transfer(
    fresh_params: PyTree, donor_params: PyTree, skip: Collection[str] = ()
) -> tuple[PyTree, frozenset[str]]:
    """Returns the fresh params with the donor's where path and shape are equal, and those paths.

    Paths are like 'block_0/Conv_0/kernel'; those in `skip` stay fresh. Dtypes stay as they are.
    Batch statistics are transferred in the same way.
    """
    donated = dict(_leaves(donor_params))
    loaded = frozenset(
        path
        for path, leaf in _leaves(fresh_params)
        if path in donated and path not in skip and jnp.shape(donated[path]) == jnp.shape(leaf)
    )

    def choose(key_path: Any, leaf: Any) -> Any:
        path = _name(key_path)
        return jnp.asarray(donated[path], leaf.dtype) if path in loaded else leaf

    return jax.tree_util.tree_map_with_path(choose, fresh_params), loaded


def head_paths(spec: Spec) -> frozenset[str]:
    """Returns the paths of the params whose shape depends on the number of classes.

    Nothing is computed: the network is only shaped, with its classes and with one more.
    """
    shapes = _param_shapes(spec)
    wider = _param_shapes(dataclasses.replace(spec, classes=(*spec.classes, "one more")))
    return frozenset(path for path, shape in shapes.items() if wider[path] != shape)


def frozen_mask(params: PyTree, loaded_paths: Collection[str]) -> PyTree:
    """Returns the params' tree with True where the path is among `loaded_paths`, else False."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path) in loaded_paths, params)


def freeze(tx: optax.GradientTransformation, mask: PyTree) -> optax.GradientTransformation:
    """Returns `tx` for the params that `mask` does not freeze; the frozen stay bit for bit.

    Neither weight decay nor the norm by which gradients are clipped counts the frozen ones. Batch
    statistics are no params: they go on following the data, so that batch norm fits it.
    """
    labels = jax.tree.map(lambda is_frozen: "frozen" if is_frozen else "trained", mask)
    return optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, labels)


def _param_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    module = specs.build(spec)
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    variables = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros(shape), train=False)
    )
    return {path: leaf.shape for path, leaf in _leaves(variables["params"])}


def _leaves(tree: PyTree) -> list[tuple[str, Any]]:
    return [(_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")

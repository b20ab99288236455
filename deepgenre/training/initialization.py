"""Where a run starts: its own latest checkpoint, somebody else's weights, or fresh ones."""

import dataclasses
import json
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax

from deepgenre import log
from deepgenre.config import Config
from deepgenre.errors import UserError
from deepgenre.training import initialization, pretrain
from deepgenre.training.plan import Plan
from deepgenre.weights import loading
from deepgenre.weights import spec as specs
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.state import State, initial_state, with_weights

# Fields that a continued run may change: they do not change a number of it.
FREE_FIELDS = (
    "num_workers",
    "prepare_workers",
    "log_every_steps",
    "store_dir",
    "max_unreadable_fraction",
)


def first_state(
    plan: Plan, config: Config, tx: optax.GradientTransformation, checkpoints: Checkpoints
) -> tuple[State, optax.GradientTransformation]:
    """Returns the state to go on from, and the optimiser, less what is frozen.

    The first there is of: (1) the latest checkpoint of this run, (2) the weights that
    `config.init_from` names, as far as they fit, (3) what is learnt without labels, where
    `config.pretrain_epochs` asks for that, (4) fresh weights. Raises UserError where the
    checkpoint is of another run, or damaged.
    """
    spec = plan.spec
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    averaged = config.ema_decay > 0
    state = initial_state(specs.build(spec), tx, shape, seed=config.seed, averaged=averaged)
    if config.init_from:
        state, taken = initialization.start_from(state, loading.load(config.init_from), spec)
        log.info("started from %s: %d arrays of it fit", config.init_from, len(taken))
        if config.freeze:
            tx = initialization.freeze(tx, initialization.frozen_mask(state.params, taken))
            state = dataclasses.replace(state, opt_state=tx.init(state.params))
    if config.pretrain_epochs and not config.init_from and checkpoints.latest_step() is None:
        state = pretrain.without_labels(state, plan, config)
    if checkpoints.latest_step() is not None:
        _check_same_run(checkpoints.latest_spec(), spec)
        state = checkpoints.restore_latest(state)
        log.info("resumed at step %d", int(state.step))
    return state, tx


def _check_same_run(old: Spec, new: Spec) -> None:
    before, after = json.loads(json.dumps([specs.to_json(old), specs.to_json(new)]))
    for side in (before, after):
        side["config"] = {k: v for k, v in side["config"].items() if k not in FREE_FIELDS}
    changed = specs.differences(before, after)
    if changed:
        raise UserError(
            f"--workdir holds a run with other settings or data ({'; '.join(changed[:3])}); "
            "give a new --workdir, or the settings of that run"
        )


PyTree = Any


def start_from(state: State, donor: Weights, spec: Spec) -> tuple[State, frozenset[str]]:
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

"""The state that training starts from: a checkpoint, transferred, pretrained or fresh weights."""

import dataclasses
import json
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax

from deepgenre import log
from deepgenre.config import Config, get_config
from deepgenre.errors import UserError
from deepgenre.training import pretrain
from deepgenre.training.plan import Plan
from deepgenre.weights import loading
from deepgenre.weights import spec as specs
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.state import State, initial_state, with_weights

PyTree = Any

# Config fields that may differ when a run is resumed: they do not affect its results.
UNCHECKED_FIELDS = (
    "num_workers",
    "prepare_workers",
    "log_every_steps",
    "store_dir",
    "max_unreadable_fraction",
)


def starting_state(
    plan: Plan, config: Config, tx: optax.GradientTransformation, checkpoints: Checkpoints
) -> tuple[State, optax.GradientTransformation]:
    """Returns the state that training starts from, and the optimiser, without frozen params.

    The state is the first available of: (1) the latest checkpoint of this run, (2) the weights
    named by `config.init_from`, where they match, (3) pretrained weights, if
    `config.pretrain_epochs` is set, (4) fresh weights. Raises UserError if the checkpoint belongs
    to another run or is damaged.
    """
    spec = plan.spec
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    averaged = config.ema_decay > 0
    state = initial_state(specs.build(spec), tx, shape, seed=config.seed, averaged=averaged)
    if config.init_from:
        state, loaded = with_donor_weights(state, loading.load(config.init_from), spec)
        log.info("initialised from %s: %d matching arrays", config.init_from, len(loaded))
        if config.freeze:
            tx = freeze(tx, frozen_mask(state.params, loaded))
            state = dataclasses.replace(state, opt_state=tx.init(state.params))
    if config.pretrain_epochs and not config.init_from and checkpoints.latest_step() is None:
        state = pretrain.pretrain(state, plan, config)
    if checkpoints.latest_step() is not None:
        _check_same_run(checkpoints.latest_spec(), spec)
        state = checkpoints.restore_latest(state)
        log.info("resumed at step %d", int(state.step))
    return state, tx


def _check_same_run(old: Spec, new: Spec) -> None:
    before, after = json.loads(json.dumps([specs.to_json(old), specs.to_json(new)]))
    defaults = get_config().to_dict()  # of fields that the run's version did not have
    for fields in (before, after):
        config = {**defaults, **fields["config"]}
        fields["config"] = {k: v for k, v in config.items() if k not in UNCHECKED_FIELDS}
    changed = specs.differences(before, after)
    if changed:
        raise UserError(
            f"--workdir holds a run with other settings or data ({'; '.join(changed[:3])}); "
            "use a new --workdir, or the settings of that run"
        )


def with_donor_weights(state: State, donor: Weights, spec: Spec) -> tuple[State, frozenset[str]]:
    """Returns the fresh `state` with the donor's weights, and the paths of the loaded params.

    The head stays fresh unless donor and `spec` have the same classes in the same order. Raises
    UserError if no kernel matches: a bias alone may match by chance.
    """
    skip = () if donor.spec.classes == spec.classes else head_paths(spec)
    params, loaded = transfer(state.params, donor.variables["params"], skip)
    if not any(leaf.ndim > 1 for path, leaf in _leaves(params) if path in loaded):
        raise UserError(
            f"config.init_from: no kernel of the weights ({donor.spec.model}) matches "
            f"{spec.model} by name and shape; choose weights of the same network and front end"
        )
    batch_stats, _ = transfer(state.batch_stats, donor.variables["batch_stats"])
    return with_weights(state, params, batch_stats), loaded


def transfer(
    fresh_params: PyTree, donor_params: PyTree, skip: Collection[str] = ()
) -> tuple[PyTree, frozenset[str]]:
    """Returns the fresh params with the donor's where path and shape match, and those paths.

    Paths are like 'block_0/Conv_0/kernel'; those in `skip` stay fresh. Dtypes stay those of the
    fresh params. Also applies to batch statistics.
    """
    donor_leaves = dict(_leaves(donor_params))
    loaded = frozenset(
        path
        for path, leaf in _leaves(fresh_params)
        if path in donor_leaves
        and path not in skip
        and jnp.shape(donor_leaves[path]) == jnp.shape(leaf)
    )

    def choose(key_path: Any, leaf: Any) -> Any:
        path = _name(key_path)
        return jnp.asarray(donor_leaves[path], leaf.dtype) if path in loaded else leaf

    return jax.tree_util.tree_map_with_path(choose, fresh_params), loaded


def head_paths(spec: Spec) -> frozenset[str]:
    """Returns the paths of the params whose shape depends on the number of classes.

    Compares the shapes with those for one more class; no array is computed.
    """
    shapes = _param_shapes(spec)
    wider = _param_shapes(dataclasses.replace(spec, classes=(*spec.classes, "one more")))
    return frozenset(path for path, shape in shapes.items() if wider[path] != shape)


def frozen_mask(params: PyTree, loaded_paths: Collection[str]) -> PyTree:
    """Returns the params' tree with True where the path is in `loaded_paths`, else False."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path) in loaded_paths, params)


def freeze(tx: optax.GradientTransformation, mask: PyTree) -> optax.GradientTransformation:
    """Returns `tx` for the params where `mask` is False; the others stay bit-identical.

    Frozen params are excluded from weight decay and from the gradient norm for clipping. Batch
    statistics are not params: they are still updated, so that batch norm adapts to the data.
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

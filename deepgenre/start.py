"""Where a run starts: its own latest checkpoint, somebody else's weights, or fresh ones."""

import dataclasses
import json

import optax

from deepgenre import log, pretrain, transfer, weights
from deepgenre import spec as specs
from deepgenre.checkpoint import Checkpoints
from deepgenre.config import Config
from deepgenre.errors import UserError
from deepgenre.plan import Plan
from deepgenre.spec import Spec
from deepgenre.state import State, initial_state

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
        state, taken = transfer.start_from(state, weights.load(config.init_from), spec)
        log.say("started from %s: %d arrays of it fit", config.init_from, len(taken))
        if config.freeze:
            tx = transfer.freeze(tx, transfer.frozen_mask(state.params, taken))
            state = dataclasses.replace(state, opt_state=tx.init(state.params))
    if config.pretrain_epochs and not config.init_from and checkpoints.latest_step() is None:
        state = pretrain.without_labels(state, plan, config)
    if checkpoints.latest_step() is not None:
        _check_same_run(checkpoints.latest_spec(), spec)
        state = checkpoints.restore_latest(state)
        log.say("resumed at step %d", int(state.step))
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

"""What may differ between a run and the one that its workdir holds, and what then changes."""

import json
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from deepgenre import log
from deepgenre.config import Config, complete
from deepgenre.errors import UserError
from deepgenre.training.optimizer import make_schedule
from deepgenre.weights import run_record
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

# Fields that the weights after a given step do not depend on, with what does.
SAFE_FIELDS = {
    "num_workers": "how data is read",
    "prepare_workers": "how data is prepared",
    "loggers": "where metrics are sent",
    "log_every_steps": "how often the loss is logged",
    "max_unreadable_fraction": "which data a run refuses",
    "early_stop_epochs": "where the run ends",
    "num_epochs": "where the run ends",
    "store_dir": "where the prepared data is",
}
CHECKED_STEPS = 2000  # of the finished ones, evenly spaced: their learning rates


def check_same_run(
    old: Spec, new: Spec, workdir: Path, *, steps: int, steps_per_epoch: int
) -> None:
    """Logs the safe changes of the settings of a run of which `steps` steps are finished.

    Raises UserError where settings or data differ that the finished steps depend on: another number
    of epochs is such a setting where the schedule spreads over the whole run.
    """
    before, after = (json.loads(json.dumps(specs.to_json(spec))) for spec in (old, new))
    # Checkpoints have no locations, and those of earlier versions lack the newest fields.
    record = run_record.locations(workdir)
    before["config"] = _plain({**complete(before["config"]).to_dict(), **record})
    after["config"] = _plain(complete(after["config"]).to_dict())
    if not before["division"]:  # an earlier version did not record it
        after["division"] = ""
    safe_before, safe_after = (
        {name: fields["config"].pop(name) for name in SAFE_FIELDS} for fields in (before, after)
    )
    changed = specs.differences(before, after)
    if changed:
        raise UserError(
            f"--workdir holds a run with other settings or data ({'; '.join(changed[:3])}); "
            "use a new --workdir, or the settings of that run"
        )
    if safe_before["num_epochs"] != safe_after["num_epochs"]:
        _check_schedule(complete(old.config), complete(new.config), steps, steps_per_epoch)
    for change in specs.differences(safe_before, safe_after):
        log.info("changed: %s (%s)", change, SAFE_FIELDS[change.partition(":")[0]])


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return json.loads(json.dumps(fields))


def _check_schedule(old: Config, new: Config, steps: int, steps_per_epoch: int) -> None:
    """Raises UserError where a finished step had another learning rate than it would have now."""
    finished = np.unique(np.linspace(0, max(0, steps - 1), CHECKED_STEPS).astype(int))
    rates = []
    for config in (old, new):
        schedule = make_schedule(config, steps_per_epoch, config.num_epochs * steps_per_epoch)
        rates.append(np.broadcast_to(np.asarray(schedule(jnp.asarray(finished))), finished.shape))
    if not np.allclose(*rates, rtol=1e-5, atol=0):
        raise UserError(
            f"config.num_epochs: {old.num_epochs} -> {new.num_epochs} changes the learning rates "
            f"of finished steps, as config.schedule {new.schedule!r} spreads over the whole run; "
            "use a new --workdir, there with --config.init_from=WORKDIR to begin with these weights"
        )

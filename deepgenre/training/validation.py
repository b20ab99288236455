"""Validation during training: metrics, learning rate after plateaus, and checkpoints."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data import pipeline
from deepgenre.errors import UserError
from deepgenre.evaluation import metrics, scoring
from deepgenre.evaluation.metrics import Metrics
from deepgenre.training.optimizer import Schedule, plateau_scale
from deepgenre.training.plan import Plan
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.state import State, used_variables

DIVERGED = (
    "the last good checkpoint is kept; train in a new --workdir with a lower "
    "--config.learning_rate or with --config.clip_norm=1"
)


@dataclasses.dataclass
class Validation:
    """What is said of a run as it goes: training loss, validation, checkpoints."""

    plan: Plan
    config: Config
    schedule: Schedule
    checkpoints: Checkpoints
    write: Callable[..., None]  # (step, split, scalars)
    losses: list[float]  # of the validations so far

    def __post_init__(self) -> None:
        """Compiles scoring, and encodes the validation labels once."""
        spec, rows = self.plan.spec, self.plan.parts["valid"]
        self._score = scoring.compile_score_step(spec)
        self._labels = pipeline.encode_labels(rows, spec.classes, spec.multi_label)
        # What cannot choose the best checkpoint is said now, not after an epoch.
        guesses = np.full((len(rows), len(spec.classes)), 0.5)
        self._merit(metrics.evaluate(guesses, self._labels, multi_label=spec.multi_label))

    def is_due(self, step: int) -> bool:
        """Whether `step` ends an epoch that is validated, or the run."""
        interval = self.plan.steps_per_epoch * self.config.eval_every_epochs
        return step % interval == 0 or step == self.plan.total_steps

    def rate_scale(self) -> float:
        """Returns the share of the schedule's learning rate that plateaus have left."""
        patience = num_validations(self.config.plateau_epochs, self.config)
        return plateau_scale(self.losses, patience, self.config.plateau_factor)

    def log_training(self, step: int, losses: list[jax.Array]) -> float:
        """Returns the mean of the losses up to `step`, and logs it; one read of the device.

        Raises UserError naming the first step whose loss is not finite.
        """
        values = np.array(jax.device_get(losses))
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise UserError(
                f"the loss is {values[bad[0]]} at step {step - len(values) + 1 + int(bad[0])}; "
                f"{DIVERGED}"
            )
        loss = float(values.mean())
        rate = float(self.schedule(step - 1)) * self.rate_scale()
        epoch = step / self.plan.steps_per_epoch
        self.write(step, "train", {"epoch": epoch, "loss": loss, "learning_rate": rate})
        return loss

    def validate(self, step: int, state: State) -> None:
        """Scores the validation part, logs its metrics and saves a checkpoint with them."""
        spec = self.plan.spec
        scores = scoring.clip_scores(
            self._score,
            used_variables(state),
            spec,
            self.plan.store,
            self.plan.parts["valid"],
            batch_size=self.config.batch_size,
        )
        if not np.isfinite(scores).all():  # the step's loss was fine, what it made of it is not
            raise UserError(f"the scores are not finite after step {step}; {DIVERGED}")
        found = metrics.evaluate(scores, self._labels, multi_label=spec.multi_label)
        self.losses.append(found["loss"])
        epoch = step / self.plan.steps_per_epoch
        self.write(step, "valid", {"epoch": epoch, **found})
        shown = metrics.summary(found, ("loss", "accuracy", "roc_auc", "average_precision"))
        log.info("epoch %g of %d: validation %s", round(epoch, 2), self.config.num_epochs, shown)
        self.checkpoints.save(state, spec, {**found, "merit": self._merit(found)})

    def _merit(self, found: Metrics) -> float:
        """Returns the number, higher is better, by which the best checkpoint is chosen."""
        name = merit_name(self.config, self.plan.spec.multi_label)
        if name not in found:
            raise UserError(f"config.select_by: no metric {name!r}; known: {', '.join(found)}")
        if np.isnan(found[name]):  # no tag that some clips have and others lack
            raise UserError(
                f"config.select_by: {name} means nothing on these {found['clips']} validation "
                "clips; choose another split, or --config.select_by=loss"
            )
        return -found[name] if name == "loss" else found[name]


def merit_name(config: Config, multi_label: bool) -> str:
    """Returns the name of the validation metric that chooses the best checkpoint."""
    return config.select_by or ("roc_auc" if multi_label else "accuracy")


def num_validations(epochs: int, config: Config) -> int:
    """Returns how many validations there are in so many epochs, rounded up."""
    return -(-epochs // config.eval_every_epochs)

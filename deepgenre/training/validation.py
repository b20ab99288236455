"""Validation during training: metrics, plateaus of the loss, and checkpoints."""

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
from deepgenre.evaluation.steps import compile_score_step
from deepgenre.training.optimizer import Schedule, plateau_scale
from deepgenre.training.plan import Plan
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import merit_name
from deepgenre.weights.state import State, inference_variables

DIVERGED_ADVICE = (
    "the last good checkpoint is kept; train in a new --workdir with a lower "
    "--config.learning_rate or with --config.clip_norm=1"
)


@dataclasses.dataclass
class Validation:
    """Logs the training loss, scores the validation part and saves checkpoints."""

    plan: Plan
    config: Config
    schedule: Schedule
    checkpoints: Checkpoints
    write: Callable[..., None]  # (step, split, scalars)
    losses: list[float]  # validation losses so far

    def __post_init__(self) -> None:
        """Compiles the score step and encodes the validation labels.

        Raises UserError if `config.select_by` cannot select the best checkpoint on this data.
        """
        spec, rows = self.plan.spec, self.plan.parts["valid"]
        self._score = compile_score_step(spec)
        self._labels = pipeline.encode_labels(rows, spec.classes, spec.multi_label)
        # Checked on dummy scores now rather than after the first epoch.
        dummy_scores = np.full((len(rows), len(spec.classes)), 0.5)
        self._merit(metrics.evaluate(dummy_scores, self._labels, multi_label=spec.multi_label))

    def is_due(self, step: int) -> bool:
        """Returns whether `step` ends the run or an epoch with validation."""
        interval = self.plan.steps_per_epoch * self.config.eval_every_epochs
        return step % interval == 0 or step == self.plan.total_steps

    def rate_scale(self) -> float:
        """Returns the factor on the learning rate after the plateaus so far."""
        patience = num_validations(self.config.plateau_epochs, self.config)
        return plateau_scale(self.losses, patience, self.config.plateau_factor)

    def log_training(self, step: int, scalars: list[dict[str, jax.Array]]) -> float:
        """Logs loss and accuracy over the steps up to `step`; returns the mean loss.

        The accuracy is that of training: of augmented crops, with dropout. It has the name of the
        validation metric that it is to be compared with. Raises UserError with the first step that
        has a loss that is not finite.
        """
        on_host = jax.device_get(scalars)
        values = np.array([one["loss"] for one in on_host])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise UserError(
                f"the loss is {values[bad[0]]} at step {step - len(values) + 1 + int(bad[0])}; "
                f"{DIVERGED_ADVICE}"
            )
        loss = float(values.mean())
        rate = float(self.schedule(step - 1)) * self.rate_scale()
        epoch = step / self.plan.steps_per_epoch
        hits, evaluated = (
            sum(float(one[name]) for one in on_host) for name in ("hits", "evaluated")
        )
        name = "argmax_accuracy" if self.plan.spec.multi_label else "accuracy"
        accuracy = {name: hits / evaluated} if evaluated else {}  # no clip has a tag
        self.write(step, "train", {"epoch": epoch, "loss": loss, **accuracy, "learning_rate": rate})
        return loss

    def validate(self, step: int, state: State) -> None:
        """Scores the validation part, logs its metrics and saves a checkpoint with them."""
        spec = self.plan.spec
        scores = scoring.shared_clip_scores(
            self._score,
            inference_variables(state),
            spec,
            self.plan.store,
            self.plan.parts["valid"],
            batch_size=self.config.batch_size,
        )
        if not np.isfinite(scores).all():  # the loss was computed before the update
            raise UserError(f"the scores are not finite after step {step}; {DIVERGED_ADVICE}")
        results = metrics.evaluate(scores, self._labels, multi_label=spec.multi_label)
        self.losses.append(results["loss"])
        epoch = step / self.plan.steps_per_epoch
        self.write(step, "valid", {"epoch": epoch, **results})
        summary = metrics.summary(results, ("loss", "accuracy", "roc_auc", "average_precision"))
        log.info("epoch %g of %d: validation %s", round(epoch, 2), self.config.num_epochs, summary)
        self.checkpoints.save(state, spec, {**results, "merit": self._merit(results)})

    def _merit(self, results: Metrics) -> float:
        """Returns the value that selects the best checkpoint; higher is better."""
        name = merit_name(self.plan.spec)
        if np.isnan(results[name]):  # no tag has both positive and negative clips
            raise UserError(
                f"config.select_by: {name} is undefined on these {results['clips']} validation "
                "clips; choose another split, or --config.select_by=loss"
            )
        return -results[name] if name == "loss" else results[name]


def num_validations(epochs: int, config: Config) -> int:
    """Returns the number of validations in this number of epochs, rounded up."""
    return -(-epochs // config.eval_every_epochs)

"""The training loop: steps, logs, validation, checkpoints; resumable at any step."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

from deepgenre import devices, evaluate, log, metrics, pipeline
from deepgenre import spec as specs
from deepgenre.augment import Augmentation
from deepgenre.checkpoint import Checkpoints
from deepgenre.config import Config
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.feed import feeding
from deepgenre.interrupt import stop_requests
from deepgenre.log import MetricsLog
from deepgenre.metrics import Metrics
from deepgenre.optim import Schedule, make_optimizer, make_schedule, plateau_scale
from deepgenre.order import Order
from deepgenre.plan import Plan
from deepgenre.spec import Spec
from deepgenre.start import first_state
from deepgenre.state import State, num_parameters, used_variables
from deepgenre.step import Recipe, compile_score_step, compile_train_step
from deepgenre.store import Records, replacing

DIVERGED = (
    "the last good checkpoint is kept; train in a new --workdir with a lower "
    "--config.learning_rate or with --config.clip_norm=1"
)
RUN_AHEAD = 2  # steps that the host is ahead of the device: keeps it busy, and the rate honest


def fit(plan: Plan, config: Config, workdir: Path) -> None:
    """Trains to the plan's last step from wherever the workdir's latest checkpoint left off.

    Raises UserError where a loss is not finite or the workdir holds another run, and
    InterruptedRunError when asked to stop; either way the last checkpoint is whole.
    """
    schedule = make_schedule(config, plan.steps_per_epoch, plan.total_steps)
    tx = make_optimizer(config, schedule)
    with Checkpoints(workdir) as checkpoints:
        state, tx = first_state(plan, config, tx, checkpoints)
        start = int(state.step)
        if start >= plan.total_steps or _has_stalled(_past_losses(workdir, start), config):
            log.say("already trained, to step %d; a new --workdir trains anew", start)
            return
        _write_config(workdir, plan.spec)
        log.say(
            "network: %s, %d parameters; %d steps of %d clips; device: %d x %s",
            plan.spec.model,
            num_parameters(state.params),
            plan.total_steps,
            config.batch_size,
            jax.device_count(),
            jax.devices()[0].device_kind,
        )
        with _metrics_log(workdir, start) as write:
            judge = Judge(plan, config, schedule, checkpoints, write, _past_losses(workdir, start))
            _loop(state, plan, config, judge, tx)


def _write_config(workdir: Path, spec: Spec) -> None:
    if devices.is_main_process():
        with replacing(workdir / "config.json") as path:
            path.write_text(json.dumps(specs.to_json(spec), indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _metrics_log(workdir: Path, step: int) -> Iterator[Callable[..., None]]:
    """Yields the function that logs scalars: to files in the main process, nowhere in others."""
    if not devices.is_main_process():
        yield lambda step, split, scalars: None
        return
    with contextlib.closing(MetricsLog(workdir, step=step)) as metrics_log:
        yield metrics_log.write


def _loop(
    state: State, plan: Plan, config: Config, judge: "Judge", tx: optax.GradientTransformation
) -> None:
    """Runs the steps that are left. The device is read only when the judge logs."""
    start = int(state.step)
    step = compile_train_step(plan.spec, tx, recipe_of(config), num_devices=jax.device_count())
    if jax.device_count() > 1:
        state = devices.replicate(state)
    with (
        contextlib.closing(_batches(plan, config, start)) as batches,
        log.progress(
            None,
            total=plan.total_steps * config.batch_size,
            initial=start * config.batch_size,
            unit="clip",
            title="train",
        ) as bar,
        _stop_requests() as stops_after,
    ):
        waiting: list[jax.Array] = []  # losses that are still on the device
        rate_scale = judge.rate_scale()
        for number in range(start + 1, plan.total_steps + 1):
            state, scalars = step(state, next(batches), rate_scale)
            waiting.append(scalars["loss"])
            if len(waiting) > RUN_AHEAD:
                jax.block_until_ready(waiting[-1 - RUN_AHEAD])
            bar.update(config.batch_size)
            validating = judge.is_due(number)
            stopping = stops_after(number)
            if validating or stopping or number % config.log_every_steps == 0:
                loss = judge.log_training(number, waiting)
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                waiting = []
            if validating:
                judge.validate(number, state)
                rate_scale = judge.rate_scale()
                if _has_stalled(judge.losses, config):
                    log.say("stopped early: no better loss for %d epochs", config.early_stop_epochs)
                    return
            elif stopping:
                judge.checkpoints.save(state, plan.spec, None)
            if stopping and number < plan.total_steps:
                raise InterruptedRunError(f"stopped at step {number}; the same command goes on")


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[int], bool]]:
    """Yields a function that says whether to stop after a step, the same in all processes.

    JAX lets several processes agree on the step once any of them gets a SIGTERM.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
    else:
        with stop_requests() as requested:
            yield lambda step: requested()


def _past_losses(workdir: Path, step: int) -> list[float]:
    """Returns the validation losses up to `step`, of the run that goes on."""
    if not step or not (workdir / "metrics.jsonl").exists():
        return []
    lines = log.read_metrics(workdir)
    return [line["loss"] for line in lines if line["split"] == "valid" and line["step"] <= step]


def _has_stalled(losses: list[float], config: Config) -> bool:
    """Whether the best validation loss lies `early_stop_epochs` epochs back."""
    if not config.early_stop_epochs or not losses:
        return False
    stale = len(losses) - 1 - int(np.argmin(losses))
    return stale >= _validations(config.early_stop_epochs, config)


def _validations(epochs: int, config: Config) -> int:
    """Returns how many validations there are in so many epochs, rounded up."""
    return -(-epochs // config.eval_every_epochs)


def recipe_of(config: Config) -> Recipe:
    """Returns what a training step of this config does, beside the optimiser's work."""
    return Recipe(
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        ema_decay=config.ema_decay,
        augmentation=Augmentation(**config.augment),
    )


def _batches(plan: Plan, config: Config, start: int) -> Generator[dict[str, Any]]:
    """Yields the batches of the training step, from number `start` on."""
    spec, rows = plan.spec, plan.parts["train"]
    records = Records(plan.store, rows, spec.frontend.stored_dtype)
    order = Order(records.frames, plan.input_frames, config.batch_size, config.seed)
    read, feed = feeding(records, plan.input_frames)
    batches = pipeline.training_batches(
        order,
        pipeline.encode_labels(rows, spec.classes, spec.multi_label),
        read,
        first_batch=start,
        num_workers=config.num_workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with contextlib.closing(batches):
        yield from map(feed, batches)


@dataclasses.dataclass
class Judge:
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
        self._score = compile_score_step(spec)
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
        patience = _validations(self.config.plateau_epochs, self.config)
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
        scores = evaluate.clip_scores(
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
        log.say("epoch %g of %d: validation %s", round(epoch, 2), self.config.num_epochs, shown)
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

"""The training loop: steps, logs, validation, checkpoints; resumable at any step."""

import contextlib
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

from deepgenre import devices, log, models
from deepgenre.config import Config
from deepgenre.data import pipeline
from deepgenre.data.augmentation import Augmentation
from deepgenre.data.balance import balanced
from deepgenre.data.device_feed import choose_feed, host_feed
from deepgenre.data.sampling import Order
from deepgenre.data.store import Records
from deepgenre.errors import InterruptedRunError
from deepgenre.interrupt import STOPPED, stop_requests
from deepgenre.log import MetricsLog
from deepgenre.training import loggers
from deepgenre.training.fixed_features import ReadFeatures, read_features
from deepgenre.training.initialization import starting_state
from deepgenre.training.losses import LOSSES, ClassWeights, balanced_weights
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.plan import Plan
from deepgenre.training.solve import solve
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.training.validation import Validation, num_validations
from deepgenre.weights import run_record
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import Spec
from deepgenre.weights.state import State, num_parameters

RUN_AHEAD = 2  # steps that the host may be ahead: keeps the device busy, and the rate accurate


def fit(plan: Plan, config: Config, workdir: Path, data_dir: Path) -> None:
    """Trains up to the plan's last step, starting from the workdir's latest checkpoint, if any.

    data_dir: noted in the record of the run.

    Raises UserError if a loss is not finite or the workdir holds another run, and
    InterruptedRunError after a stop request; in both cases the last checkpoint is complete.
    """
    schedule = make_schedule(config, plan.steps_per_epoch, plan.total_steps)
    tx = make_optimizer(config, schedule)
    with Checkpoints(workdir) as checkpoints:
        state, tx = starting_state(plan, config, tx, checkpoints, workdir)
        start = int(state.step)
        if start >= plan.total_steps or _has_stalled(_past_losses(workdir, start), config):
            log.info(
                "already trained to step %d; raise --config.num_epochs to train on, or use a new "
                "--workdir to train again",
                start,
            )
            return
        if devices.is_main_process():
            run_record.write(workdir, plan.spec, data_dir)
        log.info(
            "network: %s, %d parameters; %d steps of %d clips; device: %d x %s",
            plan.spec.model,
            num_parameters(state.params),
            plan.total_steps,
            config.batch_size,
            jax.device_count(),
            jax.devices()[0].device_kind,
        )
        with _metrics_log(workdir, plan.spec, start) as write:
            if models.network(plan.spec.model).solved:
                solve(state, plan, config, checkpoints, write)
                return
            validation = Validation(
                plan, config, schedule, checkpoints, write, _past_losses(workdir, start)
            )
            _loop(state, plan, config, validation, tx)


@contextlib.contextmanager
def _metrics_log(workdir: Path, spec: Spec, step: int) -> Iterator[loggers.Write]:
    """Yields the function that logs scalars; in all processes but the main one it does nothing."""
    if not devices.is_main_process():
        yield lambda step, split, scalars: None
        return
    with (
        contextlib.closing(MetricsLog(workdir, step=step)) as metrics_log,
        loggers.opened(spec.config["loggers"], workdir, spec.config, step=step) as send,
    ):

        def write(step: int, split: str, scalars: Mapping[str, Any]) -> None:
            metrics_log.write(step, split, scalars)
            send(step, split, scalars)

        yield write


def _loop(
    state: State,
    plan: Plan,
    config: Config,
    validation: "Validation",
    tx: optax.GradientTransformation,
) -> None:
    """Runs the remaining steps. Results are read from the device only for logging."""
    start = int(state.step)
    recipe = recipe_of(config, _class_weights(plan, config))
    step = compile_train_step(plan.spec, tx, recipe, num_devices=jax.device_count())
    records = Records(plan.store, plan.parts["train"], plan.spec.frontend.stored_dtype)
    fixed = read_features(state, plan, config, records)
    if jax.device_count() > 1:
        state = devices.replicate(state)
    with (
        contextlib.closing(_batches(plan, config, start, records, fixed)) as batches,
        log.progress(
            None,
            total=plan.total_steps * config.batch_size,
            initial=start * config.batch_size,
            unit="clip",
            title="train",
        ) as bar,
        _stop_requests() as stops_after,
    ):
        pending: list[dict[str, jax.Array]] = []  # scalars that are still on the device
        rate_scale = validation.rate_scale()
        for number in range(start + 1, plan.total_steps + 1):
            state, scalars = step(state, next(batches), rate_scale)
            pending.append(scalars)
            if len(pending) > RUN_AHEAD:
                jax.block_until_ready(pending[-1 - RUN_AHEAD]["loss"])
            bar.update(config.batch_size)
            validating = validation.is_due(number)
            stop_code = stops_after(number)
            stopping = stop_code is not None
            if validating or stopping or number % config.log_every_steps == 0:
                loss = validation.log_training(number, pending)
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                pending = []
            if validating:
                validation.validate(number, state)
                rate_scale = validation.rate_scale()
                if _has_stalled(validation.losses, config):
                    log.info(
                        "stopped early: no better loss for %d epochs", config.early_stop_epochs
                    )
                    return
            elif stopping:
                validation.checkpoints.save(state, plan.spec, None)
            if stopping and number < plan.total_steps:
                raise InterruptedRunError(
                    f"stopped at step {number}; the same command resumes", stop_code or 0
                )


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[int], int | None]]:
    """Yields a function of a step: the exit code with which to stop after it, None to go on.

    The same in all processes: after a SIGTERM to any of several processes, JAX chooses the step at
    which all of them stop. SIGTERM comes from a scheduler, which starts the run again: code 0.
    """
    if jax.process_count() > 1:
        yield lambda step: 0 if multihost_utils.reached_preemption_sync_point(step) else None
    else:
        codes = {0: None, signal.SIGTERM: 0}
        with stop_requests() as requested:
            yield lambda step: codes.get(requested(), STOPPED)


def _past_losses(workdir: Path, step: int) -> list[float]:
    """Returns the validation losses up to `step` of the run that is resumed."""
    if not step or not (workdir / "metrics.jsonl").exists():
        return []
    lines = log.read_metrics(workdir)
    return [line["loss"] for line in lines if line["split"] == "valid" and line["step"] <= step]


def _has_stalled(losses: list[float], config: Config) -> bool:
    """Returns whether the best validation loss is `early_stop_epochs` or more epochs old."""
    if not config.early_stop_epochs or not losses:
        return False
    stale = len(losses) - 1 - int(np.argmin(losses))
    return stale >= num_validations(config.early_stop_epochs, config)


def _labels(plan: Plan) -> np.ndarray:
    spec = plan.spec
    return pipeline.encode_labels(plan.parts["train"], spec.classes, spec.multi_label)


def _class_weights(plan: Plan, config: Config) -> ClassWeights | None:
    if config.class_weights == "none":
        return None
    spec = plan.spec
    return balanced_weights(_labels(plan), len(spec.classes), multi_label=spec.multi_label)


def recipe_of(config: Config, class_weights: ClassWeights | None = None) -> Recipe:
    """Returns the options of the training step for this config."""
    return Recipe(
        focus=LOSSES[config.loss](config),
        class_weights=class_weights,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        ema_decay=config.ema_decay,
        augmentation=Augmentation(**config.augment),
        batch_shares=config.batch_shares,
    )


def _batches(
    plan: Plan, config: Config, start: int, records: Records, fixed: ReadFeatures | None
) -> Generator[dict[str, Any]]:
    """Yields the batches of the training steps, starting with index `start`."""
    labels = _labels(plan)
    balance = balanced(labels) if config.sampling == "balanced" else None
    order = Order(records.frames, plan.input_frames, config.batch_size, config.seed, balance)
    read, feed = (fixed, host_feed()) if fixed else choose_feed(records, plan.input_frames)
    batches = pipeline.training_batches(
        order,
        labels,
        read,
        first_batch=start,
        num_workers=config.num_workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with contextlib.closing(batches):
        yield from map(feed, batches)

"""The training loop: steps, logs, validation, checkpoints; resumable at any step."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import jax
import numpy as np
import optax

from deepgenre import devices, evaluate, log, metrics, pipeline
from deepgenre import spec as specs
from deepgenre.checkpoint import Checkpoints
from deepgenre.config import Config
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.interrupt import stop_requests
from deepgenre.log import MetricsLog
from deepgenre.metrics import Metrics
from deepgenre.optim import Schedule, make_optimizer, make_schedule
from deepgenre.plan import Plan
from deepgenre.spec import Spec
from deepgenre.state import State, initial_state, num_parameters
from deepgenre.step import compile_score_step, compile_train_step
from deepgenre.store import Records, replacing

# Fields that a continued run may change: they do not change a number of it.
FREE_FIELDS = (
    "num_workers",
    "prepare_workers",
    "log_every_steps",
    "store_dir",
    "max_unreadable_fraction",
)


def fit(plan: Plan, config: Config, workdir: Path) -> None:
    """Trains to the plan's last step from wherever the workdir's latest checkpoint left off.

    Raises UserError where a loss is not finite or the workdir holds another run, and
    InterruptedRunError when asked to stop; either way the last checkpoint is whole.
    """
    schedule = make_schedule(config, plan.steps_per_epoch, plan.total_steps)
    tx = make_optimizer(config, schedule)
    with Checkpoints(workdir) as checkpoints:
        state = _first_state(plan, config, tx, checkpoints)
        start = int(state.step)
        if start >= plan.total_steps:
            log.say("already trained to step %d, the last; a new --workdir trains anew", start)
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
            _loop(state, plan, config, Judge(plan, config, schedule, checkpoints, write), tx)


def _first_state(
    plan: Plan, config: Config, tx: optax.GradientTransformation, checkpoints: Checkpoints
) -> State:
    """Returns the state to go on from: (1) the latest checkpoint of this run, (2) fresh weights."""
    spec = plan.spec
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    fresh = initial_state(specs.build(spec), tx, shape, config.seed)
    if checkpoints.latest_step() is None:
        return fresh
    _check_same_run(checkpoints.latest_spec(), spec)
    state = checkpoints.restore_latest(fresh)
    log.say("resumed at step %d", int(state.step))
    return state


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
    step = compile_train_step(plan.spec, tx, seed=config.seed, num_devices=jax.device_count())
    with (
        contextlib.closing(_batches(plan, config, start)) as batches,
        log.progress(
            None,
            total=plan.total_steps * config.batch_size,
            initial=start * config.batch_size,
            unit="clip",
            title="train",
        ) as bar,
        stop_requests() as stop_requested,
    ):
        waiting: list[jax.Array] = []  # losses that are still on the device
        for number in range(start + 1, plan.total_steps + 1):
            state, scalars = step(state, next(batches))
            waiting.append(scalars["loss"])
            bar.update(config.batch_size)
            validating = judge.is_due(number)
            stopping = jax.process_count() == 1 and stop_requested()
            if validating or stopping or number % config.log_every_steps == 0:
                loss = judge.log_training(number, waiting)
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                waiting = []
            if validating:
                judge.validate(number, state)
            elif stopping:
                judge.checkpoints.save(state, plan.spec, None)
            if stopping and number < plan.total_steps:
                raise InterruptedRunError(f"stopped at step {number}; the same command goes on")


def _batches(plan: Plan, config: Config, start: int) -> Generator[dict[str, np.ndarray]]:
    """Yields batches from `start` on, laid over this process's devices where there are several."""
    spec, rows = plan.spec, plan.parts["train"]
    batches = pipeline.training_batches(
        Records(plan.store, rows, spec.frontend.stored_dtype),
        pipeline.encode_labels(rows, spec.classes, spec.multi_label),
        window_frames=spec.window_frames,
        batch_size=config.batch_size,
        seed=config.seed,
        first_batch=start,
        num_workers=config.num_workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with contextlib.closing(batches):
        for batch in batches:
            several = jax.device_count() > 1
            yield devices.shard(batch, jax.local_device_count()) if several else batch


@dataclasses.dataclass
class Judge:
    """What is said of a run as it goes: training loss, validation, checkpoints."""

    plan: Plan
    config: Config
    schedule: Schedule
    checkpoints: Checkpoints
    write: Callable[..., None]  # (step, split, scalars)

    def __post_init__(self) -> None:
        """Compiles scoring, and encodes the validation labels once."""
        spec, rows = self.plan.spec, self.plan.parts["valid"]
        self._score = compile_score_step(spec)
        self._labels = pipeline.encode_labels(rows, spec.classes, spec.multi_label)

    def is_due(self, step: int) -> bool:
        """Whether `step` ends an epoch that is validated, or the run."""
        interval = self.plan.steps_per_epoch * self.config.eval_every_epochs
        return step % interval == 0 or step == self.plan.total_steps

    def log_training(self, step: int, losses: list[jax.Array]) -> float:
        """Returns the mean of the losses up to `step`, and logs it; one read of the device.

        Raises UserError naming the first step whose loss is not finite.
        """
        values = np.array(jax.device_get(losses))
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise UserError(
                f"the loss is {values[bad[0]]} at step {step - len(values) + 1 + int(bad[0])}; "
                "the last good checkpoint is kept; train in a new --workdir with a lower "
                "--config.learning_rate or with --config.clip_norm=1"
            )
        loss, rate = float(values.mean()), float(self.schedule(step - 1))
        epoch = step / self.plan.steps_per_epoch
        self.write(step, "train", {"epoch": epoch, "loss": loss, "learning_rate": rate})
        return loss

    def validate(self, step: int, state: State) -> None:
        """Scores the validation part, logs its metrics and saves a checkpoint with them."""
        spec = self.plan.spec
        scores = evaluate.clip_scores(
            self._score,
            {"params": state.params, "batch_stats": state.batch_stats},
            spec,
            self.plan.store,
            self.plan.parts["valid"],
            batch_size=self.config.batch_size,
        )
        found = metrics.evaluate(scores, self._labels, multi_label=spec.multi_label)
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
        return -found[name] if name == "loss" else found[name]


def merit_name(config: Config, multi_label: bool) -> str:
    """Returns the name of the validation metric that chooses the best checkpoint."""
    return config.select_by or ("roc_auc" if multi_label else "accuracy")

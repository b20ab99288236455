"""Orbax checkpoints: the latest and the best of a run, each with the spec needed to use it.

Beside the spec stands a digest of state, spec and metrics, which is compared whenever a checkpoint
is read, and one of the metrics alone, which is compared whenever the best is chosen. No other
module imports Orbax.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from deepgenre import devices, log
from deepgenre.errors import UserError, one_line
from deepgenre.files import parse_json
from deepgenre.weights import spec as specs
from deepgenre.weights.digest import checkpoint_digest
from deepgenre.weights.spec import Spec, Weights, without_paths
from deepgenre.weights.state import State

# Keys beside the spec; checkpoints of earlier versions lack them.
DIGEST = "sha256"
METRICS_DIGEST = "metrics_sha256"


class Checkpoints:
    """The checkpoints of one run, in `<workdir>/checkpoints/<finished steps>`; a context manager.

    Two are kept: the latest, for resuming, and the one with the highest metric `merit`, for
    inference. Saving is asynchronous; a checkpoint gets its final name only when it is complete.
    """

    def __init__(self, workdir: Path) -> None:
        """Opens the folder, which may already contain checkpoints.

        Damaged ones are moved aside, with a warning. Raises UserError where none is intact.
        """
        keep = policies.AnyPreservationPolicy(
            [
                policies.LatestN(1),
                policies.BestN(get_metric_fn=_merit, n=1, keep_checkpoints_without_metrics=False),
            ]
        )
        self._folder = _folder(workdir)
        _set_aside_damaged(self._folder)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep, best_fn=_merit, cleanup_tmp_directories=True
            ),
        )

    def __enter__(self) -> "Checkpoints":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until pending checkpoints are on disk; raises UserError where that fails."""
        with _writing(self._folder):
            self._manager.close()

    def latest_step(self) -> int | None:
        """Returns the number of finished steps of the latest checkpoint, or None without one."""
        return self._manager.latest_step()

    def save(self, state: State, spec: Spec, metrics: Mapping[str, float] | None) -> None:
        """Saves the state under its step.

        `metrics` of validation include `merit` (higher is better); None between validations.
        """
        host_state = jax.device_get(state)  # Orbax refuses the host-local arrays that pmap returns
        record = specs.to_json(without_paths(spec))
        if metrics is not None:
            record[METRICS_DIGEST] = _metrics_digest(metrics)
        record[DIGEST] = checkpoint_digest(host_state, record, metrics or {})
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(host_state), spec=ocp.args.JsonSave(record)
        )
        saved_metrics = None if metrics is None else dict(metrics)
        with _writing(self._folder):
            self._manager.save(int(host_state.step), args=args, metrics=saved_metrics, force=True)

    def restore_latest(self, template: State) -> State:
        """Returns the latest state, with the shapes of `template`; UserError if it is damaged."""
        step = self._manager.latest_step()
        assert step is not None
        try:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(jax.device_get(template)))
            return self._manager.restore(step, args=args)["state"]
        except Exception as error:  # Orbax, TensorStore and JSON raise unrelated types
            raise _damaged(self._folder / str(step), error) from error

    def latest_spec(self) -> Spec:
        """Returns the spec of the latest checkpoint, without reading any weights."""
        step = self._manager.latest_step()
        assert step is not None
        try:
            args = ocp.args.Composite(spec=ocp.args.JsonRestore())
            record = self._manager.restore(step, args=args)["spec"]
            return _spec(record)
        except UserError:
            raise
        except Exception as error:  # as above
            raise _damaged(self._folder / str(step), error) from error


def restore(weights: Path) -> Weights:
    """Returns the best checkpoint of a workdir, or the one in a checkpoint's own folder.

    Raises UserError if it is missing or damaged.
    """
    if (weights / "_CHECKPOINT_METADATA").exists() and weights.name.isdigit():
        folder, step = weights.parent, int(weights.name)
    else:
        folder, step = _folder(weights), None
    if not folder.is_dir():
        raise UserError(
            f"{weights}: contains no checkpoints; set --weights to the --workdir of a finished run"
        )
    step = _best_step(folder) if step is None else step
    if step is None:
        raise UserError(f"{folder}: contains no complete checkpoint; train first")
    return _read(folder.absolute() / str(step))


def _read(path: Path) -> Weights:
    """Returns the weights in a checkpoint's own folder; raises UserError where it is damaged."""
    try:
        with ocp.StandardCheckpointer() as reader:
            state = reader.restore(path / "state")
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            record = reader.restore(path / "spec")
        metrics = _read_metrics(path.parent, int(path.name)) or {}
        stated = record.pop(DIGEST, None)
        if stated not in (None, checkpoint_digest(state, record, metrics)):
            raise ValueError("its content does not match its SHA-256")
        variables = state["averages"] or {name: state[name] for name in ("params", "batch_stats")}
        return Weights(_spec(record), variables, int(path.name), metrics)
    except UserError:
        raise
    except Exception as error:  # Orbax, TensorStore and JSON raise unrelated types
        raise _damaged(path, error) from error


def _spec(record: Mapping[str, Any]) -> Spec:
    """Returns the spec in what is stored with it; raises UserError of `specs.from_json`."""
    digests = (DIGEST, METRICS_DIGEST)
    return specs.from_json({name: value for name, value in record.items() if name not in digests})


def _set_aside_damaged(folder: Path) -> None:
    """Moves damaged checkpoints to `damaged-checkpoints` where one is intact.

    Raises UserError where all are damaged.
    """
    found: dict[int, UserError] = {}
    kept = 0
    for step in sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()):
        try:
            kept = _read(folder / str(step)).step
        except UserError as error:
            found[step] = error
    if found and not kept:
        raise found[max(found)]
    devices.wait_for_all("checkpoints read")
    for step, error in found.items() if devices.is_main_process() else ():
        aside = folder.with_name("damaged-checkpoints") / str(step)
        aside.parent.mkdir(exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        (folder / str(step)).rename(aside)
        log.warning("%s; moved to %s, training continues from step %d", error, aside, kept)
    devices.wait_for_all("damaged checkpoints moved")


def _merit(metrics: Any) -> float:
    return metrics["merit"]


def _best_step(folder: Path) -> int | None:
    """Returns the step with the highest saved `merit`, or the latest if none has metrics."""
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    merits = {}
    for step in steps:
        metrics = _read_metrics(folder, step)
        if metrics is not None:
            merits[step] = _merit(metrics)
    if merits:
        return max(merits, key=lambda step: (merits[step], step))
    return max(steps, default=None)


def _read_metrics(folder: Path, step: int) -> dict[str, float] | None:
    """Returns the metrics of a checkpoint, None without any; UserError where they are damaged."""
    path, spec = (folder / str(step) / name for name in ("metrics/metrics", "spec/metadata"))
    stated = None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # found where it is read
        stated = parse_json(spec.read_bytes()).get(METRICS_DIGEST)
    try:
        metrics = parse_json(path.read_bytes()) if path.exists() else None
        if stated is not None and _metrics_digest(metrics or {}) != stated:
            raise ValueError("its metrics do not match their SHA-256")
        return metrics
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(folder / str(step), error) from error


def _metrics_digest(metrics: Mapping[str, float]) -> str:
    text = json.dumps({name: float(value) for name, value in metrics.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _folder(workdir: Path) -> Path:
    return (workdir / "checkpoints").absolute()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raises UserError for errors of Orbax's background writing, e.g. a full disk."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{folder}: a checkpoint could not be written ({_reason(error)}); the last "
            "complete one is kept; the same command resumes from it"
        ) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: the checkpoint is damaged or was not written by deepgenre ({_reason(error)}); "
        "use another one"
    )


def _reason(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-100:]}"

"""Services that a run's metrics are sent to, beside its own files: Weights & Biases, MLflow.

`config.loggers` names them. Where they send to is set by their own environment variables, such as
WANDB_PROJECT, WANDB_MODE, MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME. A service works in a
thread of its own: neither its failure nor its delay stops a run. A resumed run continues its run
there, whose id `loggers.json` in the workdir holds.
"""

import contextlib
import dataclasses
import importlib.util
import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from deepgenre import log
from deepgenre.config import leaves
from deepgenre.errors import InterruptedRunError, UserError, look_up
from deepgenre.files import parse_json, replacing

IDS = "loggers.json"
PROJECT = "deepgenre"  # where the environment names none
CLOSE_SECONDS = 20.0  # the longest that a run waits at its end for a service
MLFLOW_BATCH = 100  # parameters in one request, the most that it accepts
Write = Callable[[int, str, Mapping[str, Any]], None]  # (step, split, scalars)


@dataclasses.dataclass(frozen=True)
class About:
    """A run, as a service shows it."""

    name: str
    workdir: Path
    fields: Mapping[str, Any]  # of the config, by full name
    run_id: str  # of the run to continue; '' for a new one


class Service(Protocol):
    """A run of a service, which exists when the object is made; all calls are in one thread."""

    run_id: str

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends values of one step by name, as 'valid/loss'."""
        ...

    def close(self, status: str) -> None:
        """Ends the run: 'FINISHED', 'KILLED' (it will be resumed) or 'FAILED'."""
        ...


class Wandb:
    """A run of Weights & Biases."""

    def __init__(self, about: About) -> None:
        """Starts or continues the run."""
        import wandb  # pyright: ignore[reportMissingImports]

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=about.name,
            dir=os.environ.get("WANDB_DIR") or str(about.workdir),
            config=dict(about.fields),
            id=about.run_id or None,
            resume="allow",
        )
        # Its own step must grow, and that of a resumed run goes back to the last checkpoint.
        self._run.define_metric("*", step_metric="step")
        self.run_id: str = self._run.id

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends values of one step."""
        self._run.log({"step": step, **values})

    def close(self, status: str) -> None:
        """Ends the run."""
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


class MLflow:
    """A run of MLflow."""

    def __init__(self, about: About) -> None:
        """Starts or continues the run."""
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        self._client = MlflowClient()
        if about.run_id:
            self.run_id = about.run_id
            self._client.update_run(self.run_id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self.run_id = self._client.create_run(place, run_name=about.name).info.run_id
        fields = [Param(name, str(value)) for name, value in about.fields.items()]
        for start in range(0, len(fields), MLFLOW_BATCH):
            self._client.log_batch(self.run_id, params=fields[start : start + MLFLOW_BATCH])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends values of one step."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def close(self, status: str) -> None:
        """Ends the run."""
        self._client.set_terminated(self.run_id, status)


@dataclasses.dataclass(frozen=True)
class Logger:
    """A row of the table: a service and the package that it needs."""

    start: Callable[[About], Service]
    package: str


LOGGERS: Mapping[str, Logger] = {
    "wandb": Logger(Wandb, "wandb"),
    "mlflow": Logger(MLflow, "mlflow"),
}


def chosen(loggers: str) -> list[str]:
    """Returns the names in `config.loggers`; raises UserError naming one that cannot be used."""
    names = [name.strip() for name in loggers.split(",")] if loggers else []
    for name in names:
        package = look_up(LOGGERS, name, "config.loggers").package
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"config.loggers: {name!r} needs the package {package}, which is not installed; "
                f"pip install 'deepgenre[{name}]', or leave it out"
            )
    return names


@contextlib.contextmanager
def opened(loggers: str, workdir: Path, fields: Mapping[str, Any], *, step: int) -> Iterator[Write]:
    """Yields the function that sends scalars to the services; at the end, waits for them.

    fields: the config of the run. step: with which it begins; above 0 it continues a run.
    """
    ids = _read_ids(workdir) if step else {}
    threads = []
    for name in chosen(loggers):
        about = About(str(workdir), workdir, leaves(fields), ids.get(name, ""))
        threads.append(_Thread(name, about, LOGGERS[name].start))
    status = "FAILED"
    try:
        yield lambda step, split, scalars: _write(threads, step, split, scalars)
        status = "FINISHED"
    except (InterruptedRunError, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        for thread in threads:
            thread.close(status)


def _write(threads: Sequence["_Thread"], step: int, split: str, scalars: Mapping[str, Any]) -> None:
    values = {
        f"{split}/{name}": float(value)
        for name, value in scalars.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    for thread in threads:
        thread.write(step, values)


class _Thread:
    """The thread of a service; after its first failure it does nothing more."""

    def __init__(self, name: str, about: About, start: Callable[[About], Service]) -> None:
        self._name, self._about, self._start = name, about, start
        self._calls: queue.SimpleQueue[Callable[[Service], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._calls.put(lambda service: service.write(step, values))

    def close(self, status: str) -> None:
        self._calls.put(lambda service: service.close(status))
        self._calls.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning(
                "config.loggers: %s has not sent everything after %g s; the run ends without it",
                *(self._name, CLOSE_SECONDS),
            )

    def _run(self) -> None:
        try:
            service = self._start(self._about)
            _record_id(self._about.workdir, self._name, service.run_id)
            while call := self._calls.get():
                call(service)
        except Exception as error:  # of a library or network; a run must not depend on them
            log.warning(
                "config.loggers: %s failed, and the run goes on without it (%s)",
                *(self._name, " ".join(f"{type(error).__name__}: {error}".split())),
            )


_ids = threading.Lock()  # of the file that all services share


def _record_id(workdir: Path, name: str, run_id: str) -> None:
    with _ids, replacing(workdir / IDS) as path:
        path.write_text(json.dumps({**_read_ids(workdir), name: run_id}) + "\n", encoding="utf-8")


def _read_ids(workdir: Path) -> dict[str, str]:
    """Returns the id of the run by service; {} where none is known."""
    try:
        return dict(parse_json((workdir / IDS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # a new run in the service is then begun
        return {}

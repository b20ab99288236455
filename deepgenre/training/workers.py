"""Trains several runs at the same time, each in a process of its own on a GPU of its own."""

import contextlib
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import deepgenre
from deepgenre import devices, log
from deepgenre.config import Config
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation import run_commands

NAP_SECONDS = 0.2
CHILD = "from deepgenre.training import workers; workers.main()"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, for `train.train`."""

    folder: str
    config: Config
    data_dir: Path
    workdir: Path
    parts: Sequence[str]


def run(
    jobs: Sequence[Job], gpus: Sequence[str], stop_requested: Callable[[], int]
) -> Generator[tuple[str, dict[str, Any] | UserError]]:
    """Yields (folder, results or error) of each job as it ends; at most one job per GPU at a time.

    gpus: as CUDA_VISIBLE_DEVICES names them. After a stop request the processes save their state
    and end, and no others start. Processes end with this one.
    """
    waiting, free = deque(jobs), deque(gpus)
    running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}  # by GPU
    try:
        while running or (waiting and not stop_requested()):
            while waiting and free and not stop_requested():
                gpu, job = free.popleft(), waiting.popleft()
                log.info("GPU %s: %s", gpu, job.folder)
                running[gpu] = job, _start(job, gpu)
            for gpu, (job, process) in [*running.items()]:
                if stop_requested():
                    process.terminate()  # once more has no effect
                if process.poll() is not None:
                    del running[gpu]
                    free.append(gpu)
                    if outcome := _outcome(process):
                        log.info("GPU %s: %s ended", gpu, job.folder)
                        yield job.folder, outcome
            time.sleep(NAP_SECONDS)
    finally:
        for _, process in running.values():
            process.kill()


def _start(job: Job, gpu: str) -> subprocess.Popen[bytes]:
    """Starts the process of a job; it ends with this one, which holds its standard input open."""
    package = str(Path(deepgenre.__file__).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches this process alone, which asks the others to stop
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((job, sys.argv, run_commands.is_from_python())))
    process.stdin.flush()
    return process


def _outcome(process: subprocess.Popen[bytes]) -> dict[str, Any] | UserError | None:
    """Returns what an ended process has printed last; None where it was stopped."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    try:
        outcome = json.loads(lines[-1])
    except (IndexError, ValueError):
        return UserError(
            f"its process ended with code {process.returncode} (out of memory?); the same command "
            "resumes it"
        )
    if "stopped" in outcome:
        return None
    return UserError(outcome["error"]) if "error" in outcome else outcome["results"]


def main() -> None:
    """Runs the job that standard input describes; prints its outcome as a line of JSON."""
    from deepgenre.training import train

    # The record of the run names the command.
    job, sys.argv[:], is_from_python = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.quieten_libraries()
    log.set_quiet(True)
    devices.set_up()
    as_given = run_commands.from_python() if is_from_python else contextlib.nullcontext()
    try:
        with as_given:
            workdir = job.workdir / job.folder
            results = train.train(job.config, job.data_dir, workdir, parts=job.parts)
        outcome: dict[str, Any] = {"results": results}
    except UserError as error:
        outcome = {"error": str(error)}
    except InterruptedRunError as stop:
        outcome = {"stopped": str(stop)}
    print(json.dumps(outcome))


def _end_with_parent() -> None:
    """Ends this process when standard input ends: its parent has ended, even by SIGKILL."""
    while os.read(0, 1):
        pass
    os._exit(1)

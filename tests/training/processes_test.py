"""Several processes train the same weights as one, in spite of kills and stops."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from deepgenre import processes
from deepgenre.log import read_metrics
from deepgenre.processes import local
from deepgenre.weights import checkpoint

LAST_STEP = 24
# SGD: Adam divides by the gradient's magnitude, which amplifies rounding of small gradients. Of
# three validation clips, two processes score two and one, four processes one or none.
SETTINGS = (
    "--config.optimizer=sgd",
    "--config.learning_rate=0.001",
    "--config.num_epochs=8",
    "--config.batch_shares=4",
    "--config.augment.gain_db=3",
    "--config.model=paper_1d",  # the batch norm of a share of two clips amplifies rounding
)


def launch(run: list[str], workdir: Path, count: int) -> subprocess.Popen[str]:
    """Starts `launch.sh --processes=COUNT train`, less its installation, on four devices in all."""
    return subprocess.Popen(
        [sys.executable, "-m", "deepgenre.processes.local", f"--processes={count}", "train",
         *run, f"--workdir={workdir}", "--heartbeat_seconds=10"],
        cwd=workdir.parent,
        env=tiny.environment(4 // count),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_checkpoint(workdir: Path, launched: subprocess.Popen[str], after: int = -1) -> None:
    while max(steps(workdir), default=-1) <= after:
        assert launched.poll() is None, launched.communicate()
        time.sleep(0.02)


def steps(workdir: Path) -> list[int]:
    return [int(p.name) for p in (workdir / "checkpoints").glob("[0-9]*") if p.name.isdigit()]


def check_equal(alone: Path, together: Path) -> None:
    one, other = (list(read_metrics(workdir)) for workdir in (alone, together))
    assert [(a["step"], a["split"]) for a in one] == [(b["step"], b["split"]) for b in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
        if a["split"] == "valid":  # scored in shares, without padding
            assert [a["clips"], b["clips"]] == [3, 3]
            assert a["accuracy"] == b["accuracy"]
    a, b = (
        checkpoint.restore(workdir / "checkpoints" / str(LAST_STEP))
        for workdir in (alone, together)
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), a.variables, b.variables)


@pytest.fixture(scope="module")
def alone(tones: Path) -> Path:
    """The workdir of a run of one process with four devices."""
    workdir = tones.parent / "alone"
    run = tiny.start(
        "train", *tiny.settings(tones, *SETTINGS), f"--workdir={workdir}", cwd=tones.parent,
        num_devices=4,
    )  # fmt: skip
    assert tiny.finish(run)[0] == 0
    return workdir


def test_two_processes_die_stop_resume_and_train_as_one(tones, alone, tmp_path):
    run, workdir = tiny.settings(tones, *SETTINGS), tmp_path / "together"
    launched = launch(run, workdir, 2)
    wait_for_checkpoint(workdir, launched)
    started = tiny.children(launched.pid)
    (last,) = [pid for pid in started if "--process_id=1" in arguments(pid)]
    kill_time = time.monotonic()
    os.kill(last, signal.SIGKILL)
    code, _, errors = tiny.finish(launched)
    assert time.monotonic() - kill_time < 60
    assert code == 128 + signal.SIGKILL
    assert errors.count(processes.LOST) == 1  # of process 0
    assert "stack trace" not in errors
    killed_at = max(steps(workdir))

    launched = launch(run, workdir, 2)
    wait_for_checkpoint(workdir, launched, after=killed_at)
    launched.send_signal(signal.SIGTERM)
    code, _, errors = tiny.finish(launched)
    assert code == 0, errors
    assert f"resumed at step {killed_at}" in errors
    stopped_at = max(steps(workdir))
    if stopped_at < LAST_STEP:
        # Both stopped at the same step.
        assert errors.count(f"deepgenre: stopped at step {stopped_at}") == 2

    rest = tiny.start("train", *run, f"--workdir={workdir}", cwd=tmp_path, num_devices=4)
    code, output, errors = tiny.finish(rest)
    assert code == 0, errors
    assert f"step {stopped_at}" in errors  # another number of processes, the same step
    assert json.loads(output.splitlines()[-1])["last_epoch"]["step"] == LAST_STEP
    check_equal(alone, workdir)


def arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


@pytest.mark.drill
@pytest.mark.parametrize("count", [2, 4])
def test_processes_train_as_one_without_interruption(tones, alone, tmp_path, count):
    launched = launch(tiny.settings(tones, *SETTINGS), tmp_path / "together", count)
    code, output, errors = tiny.finish(launched)
    assert code == 0, errors
    assert output.count("best_step") == 1  # only process 0 prints the report
    check_equal(alone, tmp_path / "together")


def test_a_mistake_that_all_report_ends_all(tones, tmp_path):
    run = tiny.settings(tones, "--config.batch_size=9")
    code, _, errors = tiny.finish(launch(run, tmp_path / "run", 2))
    assert code == 1
    assert errors.count("deepgenre: config.batch_size: 9 cannot be divided among 4 devices") == 2
    assert processes.LOST not in errors
    assert local.END_SECONDS > processes.GRACE_SECONDS

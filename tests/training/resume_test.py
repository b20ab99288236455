"""Runs in subprocesses that are terminated or killed, and resumed."""

import json
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from deepgenre.log import read_metrics
from deepgenre.weights import checkpoint

EPOCHS, STEPS_PER_EPOCH = 6, 3
LAST = EPOCHS * STEPS_PER_EPOCH


def checkpoints_of(workdir: Path) -> list[int]:
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def wait_for_checkpoint(process, workdir: Path, after: int) -> None:
    """Returns once the running process has saved a checkpoint of a step later than `after`."""
    deadline = time.monotonic() + 240
    while not any(step > after for step in checkpoints_of(workdir)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory):
    """Results of an uninterrupted run, and of one that is terminated, resumed, killed, resumed."""
    folder = tmp_path_factory.mktemp("resume")
    settings = tiny.settings(tones, f"--config.num_epochs={EPOCHS}", "--config.log_every_steps=2")
    patched = pytest.MonkeyPatch()
    assert tiny.call(patched, *settings, "--mode=prepare") == 0
    patched.undo()
    uninterrupted, interrupted = folder / "uninterrupted", folder / "interrupted"
    results = {"uninterrupted_dir": uninterrupted, "interrupted_dir": interrupted}

    reference_process = tiny.start(*settings, f"--workdir={uninterrupted}", cwd=folder)
    process = tiny.start(*settings, f"--workdir={interrupted}", cwd=folder)
    wait_for_checkpoint(process, interrupted, after=0)
    process.send_signal(signal.SIGTERM)
    results["terminated"] = tiny.finish(process)
    results["saved_by_sigterm"] = checkpoints_of(interrupted)

    workers = "--config.num_workers=1"
    process = tiny.start(*settings, f"--workdir={interrupted}", workers, cwd=folder)
    wait_for_checkpoint(process, interrupted, after=max(results["saved_by_sigterm"]))
    results["workers"] = tiny.children(process.pid)
    process.kill()
    # Not communicate(), which would wait for surviving workers.
    results["killed"] = process.wait(60)
    results["logged_when_killed"] = (interrupted / "metrics.jsonl").read_text()

    process = tiny.start(*settings, f"--workdir={interrupted}", cwd=folder)
    results["resumed"] = tiny.finish(process)
    results["uninterrupted"] = tiny.finish(reference_process)
    return results


def test_sigterm_saves_and_exits_0(runs):
    code, output, errors = runs["terminated"]
    assert code == 0 and not output
    last = errors.splitlines()[-1]
    assert last.startswith("deepgenre: stopped at step ")
    step = int(last.split("step ")[1].split(";")[0])
    assert step < LAST
    assert max(runs["saved_by_sigterm"]) == step


def test_run_was_killed_before_its_last_step(runs):
    assert runs["killed"] == -signal.SIGKILL
    lines = [json.loads(line) for line in runs["logged_when_killed"].splitlines()]
    assert max(line["step"] for line in lines) < LAST


def test_workers_end_with_their_run(runs):
    assert runs["workers"]
    tiny.wait_for_end(runs["workers"])


def test_resumed_run_equals_uninterrupted_run(runs):
    assert runs["resumed"][0] == runs["uninterrupted"][0] == 0
    assert "resumed at step" in runs["resumed"][2]
    last = [
        folder / "checkpoints" / str(LAST)
        for folder in (runs["interrupted_dir"], runs["uninterrupted_dir"])
    ]
    interrupted, uninterrupted = map(checkpoint.restore, last)
    assert interrupted.step == uninterrupted.step == LAST
    jax.tree.map(np.testing.assert_array_equal, interrupted.variables, uninterrupted.variables)
    assert interrupted.metrics == uninterrupted.metrics


def test_metrics_have_no_repeated_and_no_missing_step(runs):
    interrupted, uninterrupted = (
        read_metrics(runs["interrupted_dir"]),
        read_metrics(runs["uninterrupted_dir"]),
    )
    for lines in (interrupted, uninterrupted):
        keys = [(line["step"], line["split"]) for line in lines]
        assert len(set(keys)) == len(keys)
        assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    valid = [line for line in interrupted if line["split"] == "valid"]
    assert valid == [line for line in uninterrupted if line["split"] == "valid"]
    assert [line["step"] for line in valid] == list(range(STEPS_PER_EPOCH, LAST + 1, 3))


def test_latest_and_best_checkpoints_are_kept(runs):
    best = checkpoint.restore(runs["uninterrupted_dir"])
    valid = {
        line["step"]: line["accuracy"]
        for line in read_metrics(runs["uninterrupted_dir"])
        if line["split"] == "valid"
    }
    assert valid[best.step] == max(valid.values())
    assert set(checkpoints_of(runs["uninterrupted_dir"])) == {best.step, LAST}


def test_report_is_one_json_object_on_the_last_line(runs):
    for name in ("resumed", "uninterrupted"):
        report = json.loads(runs[name][1].splitlines()[-1])
        assert report["last_epoch"]["step"] == LAST
        assert {"valid", "test", "best_step"} <= report.keys()

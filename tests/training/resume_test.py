"""Real runs in processes of their own, stopped the hard way."""

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
def story(tones, tmp_path_factory):
    """A run that is stopped by SIGTERM, goes on, is killed, and goes on; and one left in peace."""
    folder = tmp_path_factory.mktemp("resume")
    settings = tiny.settings(tones, f"--config.num_epochs={EPOCHS}", "--config.log_every_steps=2")
    patched = pytest.MonkeyPatch()
    assert tiny.call(patched, *settings, "--mode=prepare") == 0
    patched.undo()
    peaceful, stormy = folder / "peaceful", folder / "stormy"
    seen = {"peaceful": peaceful, "stormy": stormy}

    undisturbed = tiny.start(*settings, f"--workdir={peaceful}", cwd=folder)
    process = tiny.start(*settings, f"--workdir={stormy}", cwd=folder)
    wait_for_checkpoint(process, stormy, after=0)
    process.send_signal(signal.SIGTERM)
    seen["terminated"] = tiny.finish(process)
    seen["saved_by_sigterm"] = checkpoints_of(stormy)

    workers = "--config.num_workers=1"
    process = tiny.start(*settings, f"--workdir={stormy}", workers, cwd=folder)
    wait_for_checkpoint(process, stormy, after=max(seen["saved_by_sigterm"]))
    seen["workers"] = tiny.children(process.pid)
    process.kill()
    seen["killed"] = process.wait(60)  # not communicate(): it would wait for a worker that lives on
    seen["logged_when_killed"] = (stormy / "metrics.jsonl").read_text()

    process = tiny.start(*settings, f"--workdir={stormy}", cwd=folder)
    seen["finished"] = tiny.finish(process)
    seen["undisturbed"] = tiny.finish(undisturbed)
    return seen


def test_sigterm_saves_and_exits_130(story):
    code, output, errors = story["terminated"]
    assert code == 130 and not output
    last = errors.splitlines()[-1]
    assert last.startswith("deepgenre: stopped at step ")
    step = int(last.split("step ")[1].split(";")[0])
    assert step < LAST
    assert max(story["saved_by_sigterm"]) == step


def test_a_killed_run_was_in_the_middle(story):
    assert story["killed"] == -signal.SIGKILL
    lines = [json.loads(line) for line in story["logged_when_killed"].splitlines()]
    assert max(line["step"] for line in lines) < LAST


def test_workers_die_with_their_run(story):
    assert story["workers"]
    tiny.wait_for_end(story["workers"])


def test_weights_are_those_of_an_undisturbed_run(story):
    assert story["finished"][0] == story["undisturbed"][0] == 0
    assert "resumed at step" in story["finished"][2]
    last = [folder / "checkpoints" / str(LAST) for folder in (story["stormy"], story["peaceful"])]
    stormy, peaceful = map(checkpoint.restore, last)
    assert stormy.step == peaceful.step == LAST
    jax.tree.map(np.testing.assert_array_equal, stormy.variables, peaceful.variables)
    assert stormy.metrics == peaceful.metrics


def test_metrics_hold_no_step_twice_and_no_gap(story):
    stormy, peaceful = read_metrics(story["stormy"]), read_metrics(story["peaceful"])
    for lines in (stormy, peaceful):
        places = [(line["step"], line["split"]) for line in lines]
        assert len(set(places)) == len(places)
        assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    valid = [line for line in stormy if line["split"] == "valid"]
    assert valid == [line for line in peaceful if line["split"] == "valid"]
    assert [line["step"] for line in valid] == list(range(STEPS_PER_EPOCH, LAST + 1, 3))


def test_the_latest_and_the_best_are_kept(story):
    best = checkpoint.restore(story["peaceful"])
    valid = {
        line["step"]: line["accuracy"]
        for line in read_metrics(story["peaceful"])
        if line["split"] == "valid"
    }
    assert valid[best.step] == max(valid.values())
    assert set(checkpoints_of(story["peaceful"])) == {best.step, LAST}


def test_the_report_is_one_json_object_on_the_last_line(story):
    for name in ("finished", "undisturbed"):
        found = json.loads(story[name][1].splitlines()[-1])
        assert found["last_epoch"]["step"] == LAST
        assert {"valid", "test", "best_step"} <= found.keys()

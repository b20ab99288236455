"""Several runs at the same time, in processes of their own, with pretended GPUs."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import tiny

from deepgenre import devices
from deepgenre.training import workers

# In place of training: does what the name of the folder says. A GPU is a file that must be free.
CHILD = """
import json, os, pathlib, pickle, signal, sys, time
job, argv, is_from_python = pickle.load(sys.stdin.buffer)
def stop(*_):
    print(json.dumps({"stopped": "at step 3"}), flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
gpu = job.workdir / os.environ["CUDA_VISIBLE_DEVICES"]
gpu.touch(exist_ok=False)
(job.workdir / job.folder).touch()
while "long" in job.folder or ("meets" in job.folder and len([*job.workdir.glob("meets*")]) < 2):
    time.sleep(0.05)
gpu.unlink()
if "dies" in job.folder:
    os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({"error": "the loss is nan"} if "wrong" in job.folder else {"results": gpu.name}))
"""


def jobs(workdir: Path, *folders: str) -> list[workers.Job]:
    return [workers.Job(folder, None, Path("music"), workdir, ()) for folder in folders]


@pytest.fixture
def light(monkeypatch):
    monkeypatch.setattr(workers, "CHILD", CHILD)


def test_a_run_per_gpu_at_the_same_time_and_failures_are_results(light, tmp_path):
    several = jobs(tmp_path, "meets 1", "wrong", "dies", "meets 2")
    outcomes = dict(workers.run(several, ["0", "GPU-7"], lambda: 0))
    assert str(outcomes["wrong"]) == "the loss is nan"
    assert "ended with code -9" in str(outcomes["dies"])
    assert sorted(str(outcomes[f"meets {number}"]) for number in (1, 2)) == ["0", "GPU-7"]


def test_stop_request_reaches_the_processes_and_starts_no_others(light, tmp_path):
    def stop_requested() -> int:
        return signal.SIGTERM if len([*tmp_path.glob("long*")]) == 2 else 0

    several = jobs(tmp_path, "long 1", "a", "long 2", "b")
    outcomes = list(workers.run(several, ["0", "1"], stop_requested))
    assert outcomes == [("a", "1")]  # the long ones saved their state
    assert not (tmp_path / "b").exists()


def test_processes_end_with_an_abandoned_run(light, tmp_path):
    before = {*tiny.children(os.getpid())}
    ended = workers.run(jobs(tmp_path, "long", "a"), ["0", "1"], lambda: 0)
    next(ended)
    (left,) = {*tiny.children(os.getpid())} - before
    ended.close()
    tiny.wait_for_end([left])


def test_a_process_trains_and_reports_like_this_one(tones, tmp_path, monkeypatch):
    for name, value in tiny.environment().items():
        monkeypatch.setenv(name, value)
    config = tiny.config(tones)
    job = workers.Job("seed-0", config, tones, tmp_path, ("valid",))
    ((folder, outcome),) = workers.run([job], ["0"], lambda: 0)
    assert folder == "seed-0"
    assert isinstance(outcome, dict), outcome
    saved = json.loads((tmp_path / "seed-0" / "eval-valid" / "metrics.json").read_text())
    assert outcome["valid"]["accuracy"] == saved["accuracy"]
    assert not (tmp_path / "seed-0" / "eval-test").exists()
    record = json.loads((tmp_path / "seed-0" / "run.json").read_text())
    assert record["commands"][0]["command"][1:] == sys.argv[1:]


def test_a_process_ends_with_its_parent(monkeypatch, tmp_path):
    code = "from deepgenre.training import workers; workers._end_with_parent()"
    monkeypatch.setattr(workers, "CHILD", code)
    process = workers._start(jobs(tmp_path, "a")[0], "0")
    assert process.stdin is not None
    process.stdin.close()  # as the system does when the parent is killed
    assert process.wait(60) == 1


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [("", 3, ["0", "1", "2"]), ("4,GPU-5", 2, ["4", "GPU-5"]), ("4", 1, ["4"]), ("", 0, [])],
)
def test_gpus_are_named_as_the_environment_names_them(visible, count, expected, monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(devices, "COUNT_GPUS", f"print('a note'); print({count})")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.gpus_to_share() == expected


def test_machines_without_gpus_start_no_process(monkeypatch):
    monkeypatch.setattr(devices, "COUNT_GPUS", "raise SystemExit('must not run')")
    monkeypatch.setattr(devices.subprocess, "run", None)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert devices.gpus_to_share() == []

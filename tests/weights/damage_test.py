"""Damaged files: rejected with a one-line message, or harmless."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.weights import checkpoint
from deepgenre.weights.state import State


def read_output(capfd) -> tuple[str, str]:
    """Returns standard output, and the last line of standard error."""
    captured = capfd.readouterr()
    return captured.out, captured.err.splitlines()[-1]


def truncate(path: Path) -> None:
    """Keeps the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_checkpoint_with_truncated_file_is_rejected_or_predicts_the_same(
    monkeypatch, capfd, tones, trained, tmp_path
):
    predict = ["--mode=predict", tones / "low" / "000.wav"]
    assert tiny.call(monkeypatch, *predict, f"--weights={trained}") == 0
    expected, _ = read_output(capfd)
    files = [path for path in (trained / "checkpoints" / "6").rglob("*") if path.is_file()]
    rejected = []
    for number, file in enumerate(files):
        run = tmp_path / str(number)
        shutil.copytree(trained / "checkpoints", run / "checkpoints")
        truncate(run / file.relative_to(trained))
        code = tiny.call(monkeypatch, *predict, f"--weights={run}")
        output, last = read_output(capfd)
        if code == 0:
            assert output == expected
        else:
            assert last.startswith(f"deepgenre: {run}/checkpoints/6: the checkpoint is damaged")
            assert output == ""
            rejected.append(file.relative_to(trained / "checkpoints" / "6").parts[0])
    assert {"state", "spec", "metrics"} <= set(rejected)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_eval_and_train_reject_damaged_weights(monkeypatch, capfd, tones, trained, tmp_path, mode):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    largest = max((run / "checkpoints").rglob("*"), key=lambda path: path.stat().st_size)
    truncate(largest)
    arguments = {
        "eval": ["--mode=eval", f"--weights={run}", f"--data_dir={tones}"],
        "train": tiny.settings(tones, f"--workdir={run}"),
    }[mode]
    assert tiny.call(monkeypatch, *arguments, f"--workdir={run}") == 1
    output, last = read_output(capfd)
    assert last.startswith(f"deepgenre: {run}/checkpoints/6: the checkpoint is damaged or ")
    assert output == ""


@pytest.fixture
def stored(monkeypatch, tones, tmp_path) -> list[str]:
    """The flags of a prepared store, in `tmp_path`/store."""
    flags = [*tiny.settings(tones), f"--config.store_dir={tmp_path / 'store'}"]
    assert tiny.call(monkeypatch, *flags, "--mode=prepare") == 0
    return flags


@pytest.mark.parametrize("damage", ["truncated", "deleted"])
def test_training_rebuilds_a_damaged_shard(monkeypatch, capfd, stored, tmp_path, damage):
    (shard,) = tmp_path.glob("store/*/shards/*.arrayrecord")
    truncate(shard) if damage == "truncated" else shard.unlink()
    capfd.readouterr()
    assert tiny.call(monkeypatch, *stored, f"--workdir={tmp_path / 'run'}") == 0
    assert shard.stem in capfd.readouterr().err


def test_a_flipped_bit_is_found_when_the_record_is_read(monkeypatch, capfd, stored, tmp_path):
    (shard,) = tmp_path.glob("store/*/shards/*.arrayrecord")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    capfd.readouterr()
    assert tiny.call(monkeypatch, *stored, f"--workdir={tmp_path / 'run'}") == 1
    _, last = read_output(capfd)
    assert last.startswith(f"deepgenre: {shard.parents[1]}/shards/{shard.name}: ")
    assert "deepgenre prepare" in last
    assert tiny.call(monkeypatch, *stored, "--mode=prepare") == 0
    assert tiny.call(monkeypatch, *stored, f"--workdir={tmp_path / 'run'}") == 0


def test_prepare_rebuilds_damaged_index(monkeypatch, stored, tmp_path):
    (index,) = tmp_path.glob("store/*/index.jsonl")
    complete = index.read_text()
    truncate(index)
    assert tiny.call(monkeypatch, *stored, "--mode=prepare") == 0
    assert index.read_text() == complete


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 5 MB, too small for a checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root and a permissive system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_run_on_full_disk_reports_it(tones, tmp_path, disk):
    run = tiny.settings(tones, "--config.num_epochs=1", f"--workdir={disk / 'run'}")
    _, errors = (process := tiny.start(*run, cwd=tmp_path)).communicate(timeout=240)
    assert process.returncode == 1
    # Threads of TensorStore and TensorBoard also print to stderr and cannot be silenced.
    assert f"deepgenre: {disk}/run/checkpoints: a checkpoint could not be written (" in errors
    assert "No space left on device" in errors


def test_predict_on_full_disk_leaves_no_file(monkeypatch, capfd, tones, trained, disk):
    with contextlib.suppress(OSError):
        (disk / "filling").write_bytes(bytes(6_000_000))
    output = disk / "predictions.csv"
    predict = ["--mode=predict", f"--weights={trained}", f"--output={output}", tones / "low"]
    assert tiny.call(monkeypatch, *predict) == 1
    _, last = read_output(capfd)
    assert last == f"deepgenre: {output}: No space left on device"
    assert [path.name for path in disk.iterdir()] == ["filling"]


def test_training_continues_from_the_last_intact_checkpoint(monkeypatch, capfd, tones, tmp_path):
    run = tmp_path / "run"
    flags = tiny.settings(tones, f"--workdir={run}", "--config.schedule=exponential")
    assert tiny.call(monkeypatch, *flags, "--config.num_epochs=1") == 0
    (first,) = (path for path in (run / "checkpoints").iterdir() if path.name.isdigit())
    shutil.copytree(first, tmp_path / "first")
    longer = [*flags, "--config.num_epochs=2"]
    assert tiny.call(monkeypatch, *longer) == 0
    expected, _ = read_output(capfd)
    if not first.exists():
        shutil.copytree(tmp_path / "first", first)
    latest = max((path for path in first.parent.iterdir() if path.name.isdigit()), key=_step)
    assert latest != first
    record = json.loads((latest / "spec" / "metadata").read_text())
    (latest / "spec" / "metadata").write_text(json.dumps({**record, "temperature": 2.0}))
    assert tiny.call(monkeypatch, *longer) == 0
    output, errors = capfd.readouterr()
    aside = run / "damaged-checkpoints" / latest.name
    assert f"{latest}: the checkpoint is damaged" in errors
    assert f"moved to {aside}, training continues from step {first.name}" in errors
    assert aside.is_dir()
    assert output.splitlines()[-1] == expected.splitlines()[-1]


def _step(path: Path) -> int:
    return int(path.name)


@pytest.fixture
def two_checkpoints(trained, tmp_path) -> Path:
    """A workdir whose best checkpoint is step 1, and the latest step 2."""
    with checkpoint.Checkpoints(trained) as finished:
        spec = finished.latest_spec()
    with checkpoint.Checkpoints(tmp_path / "run") as checkpoints:
        for step, merit in ((1, 0.9), (2, 0.5)):
            params = {"kernel": np.full(3, step, np.float32)}
            state = State(np.int32(step), params, {}, {}, {})  # pyright: ignore[reportArgumentType]
            checkpoints.save(state, spec, {"merit": merit})
    assert checkpoint.restore(tmp_path / "run").step == 1
    return tmp_path / "run"


@pytest.mark.parametrize(("step", "old", "new"), [(1, "0.9", "0.1"), (2, "0.5", "4.5")])
def test_changed_merit_never_makes_another_checkpoint_the_best(two_checkpoints, step, old, new):
    metrics = two_checkpoints / "checkpoints" / str(step) / "metrics" / "metrics"
    metrics.write_text(metrics.read_text().replace(old, new))
    with pytest.raises(UserError, match=rf"checkpoints/{step}: the checkpoint is damaged"):
        checkpoint.restore(two_checkpoints)
    with checkpoint.Checkpoints(two_checkpoints) as checkpoints:
        assert checkpoints.latest_step() == 3 - step
    assert checkpoint.restore(two_checkpoints).step == 3 - step
    assert (two_checkpoints / "damaged-checkpoints" / str(step)).is_dir()


def test_best_checkpoint_with_metrics_that_are_no_json_does_not_end_training(two_checkpoints):
    (two_checkpoints / "checkpoints" / "1" / "metrics" / "metrics").write_text('{"merit": 0')
    with checkpoint.Checkpoints(two_checkpoints) as checkpoints:
        spec = checkpoints.latest_spec()
        state = State(np.int32(3), {"kernel": np.ones(3)}, {}, {}, {})  # pyright: ignore[reportArgumentType]
        checkpoints.save(state, spec, {"merit": 0.7})
    assert checkpoint.restore(two_checkpoints).step == 3

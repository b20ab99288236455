"""Files that a crash, a full disk or a bad copy left damaged: refused in one line, or harmless."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny


def said_by(capfd) -> tuple[str, str]:
    """Returns standard output, and the last line of standard error."""
    said = capfd.readouterr()
    return said.out, said.err.splitlines()[-1]


def cut(path: Path) -> None:
    """Keeps the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_checkpoint_with_any_file_cut_is_refused_or_predicts_the_same(
    monkeypatch, capfd, tones, trained, tmp_path
):
    predict = ["--mode=predict", tones / "low" / "000.wav"]
    assert tiny.call(monkeypatch, *predict, f"--weights={trained}") == 0
    expected, _ = said_by(capfd)
    files = [path for path in (trained / "checkpoints" / "6").rglob("*") if path.is_file()]
    refused = []
    for number, file in enumerate(files):
        run = tmp_path / str(number)
        shutil.copytree(trained / "checkpoints", run / "checkpoints")
        cut(run / file.relative_to(trained))
        code = tiny.call(monkeypatch, *predict, f"--weights={run}")
        output, last = said_by(capfd)
        if code == 0:
            assert output == expected
        else:
            assert last.startswith(f"deepgenre: {run}/checkpoints/6: the checkpoint is damaged")
            assert output == ""
            refused.append(file.relative_to(trained / "checkpoints" / "6").parts[0])
    assert {"state", "spec", "metrics"} <= set(refused)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_damaged_weights_stop_eval_and_train(monkeypatch, capfd, tones, trained, tmp_path, mode):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    largest = max((run / "checkpoints").rglob("*"), key=lambda path: path.stat().st_size)
    cut(largest)
    arguments = {
        "eval": ["--mode=eval", f"--weights={run}", f"--data_dir={tones}"],
        "train": tiny.settings(tones, f"--workdir={run}"),
    }[mode]
    assert tiny.call(monkeypatch, *arguments, f"--workdir={run}") == 1
    output, last = said_by(capfd)
    assert last.startswith(f"deepgenre: {run}/checkpoints/6: the checkpoint is damaged or foreign")
    assert output == ""


@pytest.fixture
def stored(monkeypatch, tones, tmp_path) -> list[str]:
    """The flags of a run on a prepared store of its own, in `tmp_path`/store."""
    flags = [*tiny.settings(tones), f"--config.store_dir={tmp_path / 'store'}"]
    assert tiny.call(monkeypatch, *flags, "--mode=prepare") == 0
    return [*flags, f"--workdir={tmp_path / 'run'}"]


@pytest.mark.parametrize("left", ["half", "one bit less", "nothing"])
def test_a_damaged_shard_is_named(monkeypatch, capfd, stored, tmp_path, left):
    (shard,) = tmp_path.glob("store/*/shards/*.arrayrecord")
    if left == "half":
        cut(shard)
    elif left == "nothing":
        shard.unlink()
    else:
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    capfd.readouterr()
    assert tiny.call(monkeypatch, *stored) == 1
    _, last = said_by(capfd)
    assert last.startswith(f"deepgenre: {shard.parents[1]}: a shard is missing or damaged (")


def test_a_damaged_index_is_written_again(monkeypatch, stored, tmp_path):
    (index,) = tmp_path.glob("store/*/index.jsonl")
    whole = index.read_text()
    cut(index)
    assert tiny.call(monkeypatch, *stored, "--mode=prepare") == 0
    assert index.read_text() == whole


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 5 MB: too little for a checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_run_on_a_full_disk_says_so(tones, tmp_path, disk):
    run = tiny.settings(tones, "--config.num_epochs=1", f"--workdir={disk / 'run'}")
    _, errors = (process := tiny.start(*run, cwd=tmp_path)).communicate(timeout=240)
    assert process.returncode == 1
    # Among what the threads of TensorStore and TensorBoard say, which cannot be silenced.
    assert f"deepgenre: {disk}/run/checkpoints: a checkpoint could not be written (" in errors
    assert "No space left on device" in errors


def test_predictions_on_a_full_disk_are_not_there(monkeypatch, capfd, tones, trained, disk):
    with contextlib.suppress(OSError):
        (disk / "filling").write_bytes(bytes(6_000_000))
    output = disk / "heard.csv"
    predict = ["--mode=predict", f"--weights={trained}", f"--output={output}", tones / "low"]
    assert tiny.call(monkeypatch, *predict) == 1
    _, last = said_by(capfd)
    assert last == f"deepgenre: {output}: No space left on device"
    assert [path.name for path in disk.iterdir()] == ["filling"]

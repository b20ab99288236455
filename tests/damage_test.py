"""Files that a crash, a full disk or a bad copy left damaged: refused in one line, or harmless."""

import os
import shutil
import subprocess
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


@pytest.mark.parametrize("size", ["16k", "5m"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_run_on_a_full_disk_ends_in_one_line(monkeypatch, capfd, tones, tmp_path, size):
    """16k is too little for the logs, 5m for a checkpoint."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts no disks")
    try:
        run = tiny.settings(tones, "--config.num_epochs=1", f"--workdir={disk / 'run'}")
        assert tiny.call(monkeypatch, *run) == 1
        _, last = said_by(capfd)
        assert last.startswith("deepgenre: ")
        assert "No space left on device" in last
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # TensorBoard's stream stays open

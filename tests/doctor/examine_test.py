"""`deepgenre doctor` on good and damaged machines, weights, datasets and runs."""

import dataclasses
import os
import shutil

import jax
import numpy as np
import pytest
import tiny

from deepgenre.audio import ffmpeg
from deepgenre.doctor import machine
from deepgenre.files import updating
from deepgenre.weights import loading, weight_file


def _doctor(monkeypatch, capsys, *arguments: str) -> tuple[int, list[str]]:
    """Returns the exit code and the lines of a `doctor` that was asked about these things."""
    code = tiny.call(monkeypatch, "--mode=doctor", *arguments)
    return code, capsys.readouterr().out.splitlines()


def _with(lines: list[str], state: str, subject: str) -> str:
    """Returns the findings of this state and subject as one text."""
    return "\n".join(line for line in lines if line.split()[:2] == [state, subject])


def test_a_good_run_has_no_fault(monkeypatch, capsys, tones, trained):
    code, lines = _doctor(monkeypatch, capsys, *tiny.settings(tones), f"--workdir={trained}")
    assert code == 0
    assert lines[-1] == "0 faults"
    assert "all checksums match" in _with(lines, "ok", "store")
    assert "metrics up to step" in _with(lines, "ok", "workdir")
    assert _with(lines, "ok", "weights").count(str(trained)) >= 1  # its checkpoints


def test_damage_is_named_with_advice(monkeypatch, capsys, tones, trained, tmp_path):
    run, store = tmp_path / "run", tmp_path / "store"
    shutil.copytree(trained, run)
    assert tiny.call(
        monkeypatch, "--mode=prepare", *tiny.settings(tones), f"--config.store_dir={store}"
    ) == 0  # fmt: skip
    shard = next(store.rglob("*.arrayrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (run / "metrics.jsonl").write_text("{]\n")
    capsys.readouterr()
    code, lines = _doctor(
        monkeypatch, capsys, *tiny.settings(tones), f"--config.store_dir={store}",
        f"--workdir={run}",
    )  # fmt: skip
    assert code == 1
    assert str(shard) in _with(lines, "fault", "store")
    assert any("deepgenre prepare rebuilds" in line for line in lines)
    assert "metrics.jsonl: line 1 is damaged" in _with(lines, "fault", "workdir")


def test_a_folder_without_a_run_and_a_run_in_use(monkeypatch, capsys, trained, tmp_path):
    code, lines = _doctor(monkeypatch, capsys, f"--workdir={tmp_path}")
    assert code == 1
    assert "contains no run" in _with(lines, "fault", "workdir")
    with updating(trained):
        _, lines = _doctor(monkeypatch, capsys, f"--workdir={trained}")
    assert f"is being updated by process {os.getpid()}" in _with(lines, "note", "workdir")


def test_weights_that_are_not_finite_are_a_fault(monkeypatch, capsys, trained, tmp_path):
    weights = loading.load(str(trained))
    path = tmp_path / "nan.safetensors"
    first, *others = jax.tree.leaves(weights.variables)
    spoilt = [np.full_like(first, np.nan), *others]
    variables = jax.tree.unflatten(jax.tree.structure(weights.variables), spoilt)
    weight_file.write(path, dataclasses.replace(weights, variables=variables), dtype="float32")
    code, lines = _doctor(monkeypatch, capsys, f"--weights={path}")
    assert code == 1
    assert f"{first.size} are NaN" in _with(lines, "fault", "weights")


def test_unknown_weights_and_a_missing_dataset(monkeypatch, capsys, tmp_path):
    code, lines = _doctor(
        monkeypatch, capsys, "--weights=gtzam", "--config=gtzan", f"--data_dir={tmp_path / 'no'}"
    )
    assert code == 1
    assert "did you mean 'gtzan'" in _with(lines, "fault", "weights")
    assert str(tmp_path / "no") in _with(lines, "fault", "dataset")


def test_a_machine_without_ffmpeg_and_with_old_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(ffmpeg, "is_installed", lambda: False)
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda name: ["numpy>=99", "nope"])
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path / "new" / "folder"))
    found = {finding.subject: finding for finding in machine.findings()}
    assert found["ffmpeg"].state == "note"
    assert "m4a" in found["ffmpeg"].detail
    assert found["packages"].state == "fault"
    assert "nope is missing" in found["packages"].detail
    assert ">=99" in found["packages"].detail
    assert found["weights"].state == "ok"
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path / "weights"))
    found = {finding.subject: finding for finding in machine.findings()}
    assert found["weights"].state == "note"
    assert "DEEPGENRE_WEIGHTS" in found["weights"].advice

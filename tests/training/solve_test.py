"""Kernel ridge regression from the command line: training, export, prediction, embedding."""

import json

import numpy as np
import pytest
import tiny

from deepgenre.log import read_metrics
from deepgenre.training import solve
from deepgenre.weights import checkpoint, loading

KERNEL = (
    "--config.model=kernel_ridge",
    "--config.network.feature_set=basic",
    "--config.network.rank=5",
    "--config.pretrain_epochs=2",
    "--config.frontend.n_mels=32",
)


@pytest.fixture(scope="module")
def workdir(tones, tmp_path_factory):
    """Returns the workdir of a trained kernel machine."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        assert tiny.call(patch, *tiny.settings(tones, *KERNEL, f"--workdir={folder}")) == 0
    return folder


def test_run_writes_one_checkpoint_and_metrics_out_of_fold(workdir):
    weights = checkpoint.restore(workdir)
    assert weights.step == 1
    lines = {line["split"]: line for line in read_metrics(workdir)}
    assert lines.keys() == {"out_of_fold", "valid"}
    assert lines["out_of_fold"]["clips"] == weights.spec.network["num_clips"]
    assert lines["valid"]["accuracy"] == weights.metrics["accuracy"] == 1
    assert weights.metrics["out_of_fold_accuracy"] == lines["out_of_fold"]["accuracy"] == 1
    assert (workdir / "eval-valid" / "confusion.png").exists()


def test_same_command_does_not_train_again(workdir, tones, monkeypatch, capfd):
    before = checkpoint.restore(workdir).variables["params"]["dual"]
    assert tiny.call(monkeypatch, *tiny.settings(tones, *KERNEL, f"--workdir={workdir}")) == 0
    assert "already trained" in capfd.readouterr().err
    np.testing.assert_array_equal(checkpoint.restore(workdir).variables["params"]["dual"], before)


def test_exported_weights_predict_and_embed(workdir, tones, tmp_path, monkeypatch):
    exported = tmp_path / "kernel.safetensors"
    flags = [f"--weights={workdir}", f"--output={exported}", "--dtype=float16"]
    assert tiny.call(monkeypatch, "--mode=export", *flags) == 0
    assert loading.load(str(exported)).spec.model == "kernel_ridge"
    song, scores = tones / "high" / "001.wav", []
    for source in (workdir, exported):
        output = tmp_path / f"{source.name}.jsonl"
        predict = ["--mode=predict", f"--weights={source}", f"--output={output}", str(song)]
        assert tiny.call(monkeypatch, *predict) == 0
        scores.append(json.loads(output.read_text())["scores"])
    assert max(scores[0], key=scores[0].get) == "high"
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    index = tmp_path / "songs.npz"
    embed = ["--mode=embed", f"--weights={exported}", f"--output={index}", str(song)]
    assert tiny.call(monkeypatch, *embed) == 0


def test_unfamiliar_songs_are_unknown(workdir, tones, tmp_path, monkeypatch, capfd):
    noise = tmp_path / "noise.wav"
    tiny.soundfile.write(noise, 0.1 * np.random.default_rng(0).normal(size=44_100), tiny.RATE_HZ)
    songs = [str(tones / "high" / "001.wav"), str(noise)]
    tags = {}
    for below in (0, 1):
        output = tmp_path / f"{below}.jsonl"
        flags = [f"--weights={workdir}", f"--output={output}", f"--unfamiliar_below={below}"]
        assert tiny.call(monkeypatch, "--mode=predict", *flags, *songs) == 0
        lines = map(json.loads, output.read_text().splitlines())
        tags[below] = [line["tags"] for line in lines]
    assert tags[0][0] == ["high"] and ["unknown"] not in tags[0]
    assert tags[1][1] == ["unknown"]  # less familiar than the most familiar training clip


def test_familiarity_needs_a_network_that_compares(trained, tones, monkeypatch, capfd):
    flags = [f"--weights={trained}", "--unfamiliar_below=0.1", str(tones / "high" / "001.wav")]
    assert tiny.call(monkeypatch, "--mode=predict", *flags) == 1
    assert "--unfamiliar_below: 'paper_1d" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--config.pretrain_epochs=0", "config.pretrain_epochs: 'kernel_ridge' needs filters"),
        ("--config.network.feature_set=larg", "config.network.feature_set: 'larg'"),
    ],
)
def test_mistakes_are_one_line(tones, tmp_path, monkeypatch, capfd, change, message):
    arguments = tiny.settings(tones, *KERNEL, change, f"--workdir={tmp_path}")
    assert tiny.call(monkeypatch, *arguments) == 1
    assert message in capfd.readouterr().err.splitlines()[-1]


def test_too_many_clips_are_rejected(tones, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(solve, "MAX_CLIPS", 3)
    assert tiny.call(monkeypatch, *tiny.settings(tones, *KERNEL, f"--workdir={tmp_path}")) == 1
    assert "at most 3, and the data has" in capfd.readouterr().err

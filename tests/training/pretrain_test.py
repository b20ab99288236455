"""Restricted Boltzmann machines start a network from the command line."""

import jax
import numpy as np
import tiny

from deepgenre.log import read_metrics
from deepgenre.weights import checkpoint


def weights_of(monkeypatch, tones, workdir, *others):
    """Returns a dbn's params after one epoch that moves none of them."""
    arguments = tiny.settings(
        tones,
        f"--workdir={workdir}",
        "--config.model=dbn",
        "--config.network.hidden_units=(12,8)",
        "--config.num_epochs=1",
        "--config.learning_rate=1e-30",
        *others,
    )
    assert tiny.call(monkeypatch, *arguments) == 0
    return checkpoint.restore(workdir).variables["params"]


def test_hidden_layers_start_from_what_was_learnt_without_labels(monkeypatch, tones, tmp_path):
    fresh = weights_of(monkeypatch, tones, tmp_path / "fresh")
    learnt = weights_of(monkeypatch, tones, tmp_path / "rbm", "--config.pretrain_epochs=3")
    again = weights_of(monkeypatch, tones, tmp_path / "again", "--config.pretrain_epochs=3")
    jax.tree.map(np.testing.assert_array_equal, learnt, again)
    for name in ("hidden_0", "hidden_1"):
        assert np.abs(learnt[name]["kernel"] - fresh[name]["kernel"]).max() > 0.01
    np.testing.assert_array_equal(learnt["logits"]["kernel"], fresh["logits"]["kernel"])


def test_a_resumed_run_is_not_pretrained_again(monkeypatch, capfd, tones, tmp_path):
    settings = ("--config.pretrain_epochs=3", "--config.num_epochs=2")
    weights_of(monkeypatch, tones, tmp_path, *settings)
    assert "without labels, 3 epochs" in capfd.readouterr().err
    weights_of(monkeypatch, tones, tmp_path, *settings)
    assert "without labels" not in capfd.readouterr().err
    assert [line["epoch"] for line in read_metrics(tmp_path) if line["split"] == "valid"] == [1, 2]


def test_other_networks_learn_nothing_without_labels(monkeypatch, capfd, tones, tmp_path):
    arguments = tiny.settings(tones, f"--workdir={tmp_path}", "--config.pretrain_epochs=3")
    assert tiny.call(monkeypatch, *arguments) == 1
    said = capfd.readouterr().err
    assert "config.pretrain_epochs: config.model" in said and "dbn" in said


def test_filters_are_learnt_without_labels_and_stay_so(monkeypatch, tones, tmp_path):
    def statistics(workdir, *others):
        arguments = tiny.settings(
            tones,
            f"--workdir={workdir}",
            "--config.model=spherical_kmeans",
            "--config.frontend.n_mels=32",
            "--config.num_epochs=1",
            "--config.ema_decay=0.9",
            *others,
        )
        assert tiny.call(monkeypatch, *arguments) == 0
        return checkpoint.restore(workdir).variables["batch_stats"]

    fresh = statistics(tmp_path / "fresh")
    learnt = statistics(tmp_path / "learnt", "--config.pretrain_epochs=2")
    names = [name for name in learnt if name.endswith("_centroids")]
    assert len(names) == 2
    for name in names:
        # Of length 1 as k-means left them: the steps of training did not touch them.
        np.testing.assert_allclose(np.linalg.norm(learnt[name], axis=0), 1, atol=1e-3)
        assert np.abs(learnt[name] - fresh[name]).max() > 0.1

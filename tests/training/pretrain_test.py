"""Unsupervised pretraining from the command line."""

import jax
import numpy as np
import tiny

from deepgenre.log import read_metrics
from deepgenre.weights import checkpoint


def trained_variables(monkeypatch, tones, workdir, *fields):
    """Returns the variables of a network after one epoch with these fields of the config."""
    flags = [f"--config.{field}" for field in ("num_epochs=1", *fields)]
    assert tiny.call(monkeypatch, *tiny.settings(tones, f"--workdir={workdir}", *flags)) == 0
    return checkpoint.restore(workdir).variables


def dbn_params(monkeypatch, tones, workdir, *fields):
    """Returns a dbn's params, trained with a learning rate too small to change them."""
    dbn = ("model=dbn", "network.hidden_units=(12,8)", "learning_rate=1e-30")
    return trained_variables(monkeypatch, tones, workdir, *dbn, *fields)["params"]


def test_hidden_layers_start_from_pretrained_weights(monkeypatch, tones, tmp_path):
    fresh = dbn_params(monkeypatch, tones, tmp_path / "fresh")
    pretrained = dbn_params(monkeypatch, tones, tmp_path / "rbm", "pretrain_epochs=3")
    again = dbn_params(monkeypatch, tones, tmp_path / "again", "pretrain_epochs=3")
    jax.tree.map(np.testing.assert_array_equal, pretrained, again)
    for name in ("hidden_0", "hidden_1"):
        assert np.abs(pretrained[name]["kernel"] - fresh[name]["kernel"]).max() > 0.01
    np.testing.assert_array_equal(pretrained["logits"]["kernel"], fresh["logits"]["kernel"])


def test_resumed_run_is_not_pretrained_again(monkeypatch, capfd, tones, tmp_path):
    settings = ("pretrain_epochs=3", "num_epochs=2")
    dbn_params(monkeypatch, tones, tmp_path, *settings)
    assert "without labels, 3 epochs" in capfd.readouterr().err
    dbn_params(monkeypatch, tones, tmp_path, *settings)
    assert "without labels" not in capfd.readouterr().err
    assert [line["epoch"] for line in read_metrics(tmp_path) if line["split"] == "valid"] == [1, 2]


def test_other_networks_have_no_pretraining(monkeypatch, capfd, tones, tmp_path):
    arguments = tiny.settings(tones, f"--workdir={tmp_path}", "--config.pretrain_epochs=3")
    assert tiny.call(monkeypatch, *arguments) == 1
    errors = capfd.readouterr().err
    assert "config.pretrain_epochs: config.model" in errors and "dbn" in errors


def test_filters_are_learnt_by_kmeans_and_not_trained_further(monkeypatch, tones, tmp_path):
    def statistics(workdir, *fields):
        kmeans = ("model=spherical_kmeans", "frontend.n_mels=32", "ema_decay=0.9")
        return trained_variables(monkeypatch, tones, workdir, *kmeans, *fields)["batch_stats"]

    fresh = statistics(tmp_path / "fresh")
    learnt = statistics(tmp_path / "learnt", "pretrain_epochs=2")
    names = [name for name in learnt if name.endswith("_centroids")]
    assert len(names) == 2
    for name in names:
        # Still of unit length, as returned by k-means: training steps do not change them.
        np.testing.assert_allclose(np.linalg.norm(learnt[name], axis=0), 1, atol=1e-3)
        assert np.abs(learnt[name] - fresh[name]).max() > 0.1

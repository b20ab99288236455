"""Divergence and early stopping."""

import jax
import numpy as np
import pytest
import tiny

from deepgenre.log import read_metrics
from deepgenre.weights import checkpoint
from deepgenre.weights.checkpoint import Checkpoints


@pytest.mark.parametrize(
    ("first_rate", "growth", "message"),
    # Three steps per epoch; the learning rate, float32, grows until it is infinite. In the first
    # run the weights diverge in step 5, and the loss of step 6 is nan. In the second run they
    # diverge in step 6, after its loss was computed: only validation detects it.
    [
        (1e-28, 1e36, "the loss is nan at step 6; "),
        (2e-38, 1e28, "the scores are not finite after step 6; "),
    ],
)
def test_diverged_weights_end_the_run_and_are_not_saved(
    monkeypatch, capfd, tones, tmp_path, first_rate, growth, message
):
    arguments = tiny.settings(
        tones,
        f"--workdir={tmp_path}",
        "--config.num_epochs=3",
        f"--config.learning_rate={first_rate}",
        "--config.schedule=exponential",
        f"--config.decay_rate={growth}",
    )
    assert tiny.call(monkeypatch, *arguments) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith(f"deepgenre: {message}the last good checkpoint is kept")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 3
    weights = checkpoint.restore(tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights.variables))


def test_run_without_improvement_stops_early_and_stays_stopped(monkeypatch, capfd, tones, tmp_path):
    arguments = tiny.settings(
        tones,
        f"--workdir={tmp_path}",
        "--config.num_epochs=9",
        "--config.early_stop_epochs=2",
        "--config.learning_rate=0",
        "--config.network.batch_norm=false",
    )
    for message in ("stopped early: no better loss for 2 epochs", "already trained to step 9; "):
        assert tiny.call(monkeypatch, *arguments) == 0
        assert message in capfd.readouterr().err
        lines = [line for line in read_metrics(tmp_path) if line["split"] == "valid"]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert len({line["loss"] for line in lines}) == 1

"""Divergence and early stopping."""

import jax
import numpy as np
import pytest
import tiny

from deepgenre.log import read_metrics
from deepgenre.training import loop
from deepgenre.training.losses import Focus
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


def test_loss_weights_and_sampling_of_the_config_are_used(monkeypatch, tmp_path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=8, seconds=2.0)
    for number in range(4):
        (music / "low" / f"00{number}.wav").unlink()
    recipes, orders = [], []
    compile_step, make_order = loop.compile_train_step, loop.Order

    def compile_and_record(spec, tx, recipe, **options):
        recipes.append(recipe)
        return compile_step(spec, tx, recipe, **options)

    def make_and_record(*arguments):
        orders.append(make_order(*arguments))
        return orders[-1]

    monkeypatch.setattr(loop, "compile_train_step", compile_and_record)
    monkeypatch.setattr(loop, "Order", make_and_record)
    changes = ("loss=focal", "focal_gamma=1.5", "class_weights=balanced", "sampling=balanced")
    flags = [f"--config.{change}" for change in (*changes, "num_epochs=1")]
    assert tiny.call(monkeypatch, *tiny.settings(music, f"--workdir={tmp_path}/run", *flags)) == 0
    assert recipes[0].focus == Focus(1.5, 1.5)
    weights = recipes[0].class_weights[0]  # of high, low, mid
    np.testing.assert_allclose(weights, [14 / (3 * 6), 14 / (3 * 3), 14 / (3 * 5)])
    assert orders[0].balance.strata.max() == 2

"""Reduction of the learning rate on plateaus of the validation loss."""

import itertools

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.log import read_metrics
from deepgenre.training.optimizer import plateau_scale


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([], 1.0),
        ([3.0, 2.0, 1.0, 0.9], 1.0),
        ([1.0, 2.0, 2.0], 0.5),  # two consecutive losses without a new best
        ([1.0, 2.0, 0.9, 2.0], 1.0),  # the count restarts at a new best
        ([1.0, 2.0, 2.0, 2.0], 0.5),  # and after a reduction
        ([1.0, 2.0, 2.0, 2.0, 2.0], 0.25),
        ([1.0, 1.0, 1.0], 0.5),  # equal to the best is not better
    ],
)
def test_reductions_by_hand(losses, scale):
    assert plateau_scale(losses, 2, 0.5) == scale


@given(st.lists(st.floats(0, 10)), st.integers(1, 5))
def test_scale_depends_on_the_losses_only(losses, patience):
    """A resumed run has the same rate; each validation reduces it at most once."""
    scales = [plateau_scale(losses[:count], patience, 0.5) for count in range(len(losses) + 1)]
    assert scales[0] == 1
    assert all(new in (old, old / 2) for old, new in itertools.pairwise(scales))
    assert plateau_scale(losses, 0, 0.5) == 1


def test_run_without_improvement_reduces_its_learning_rate(monkeypatch, tones, tmp_path):
    arguments = tiny.settings(
        tones,
        f"--workdir={tmp_path}",
        "--config.num_epochs=4",
        "--config.schedule=constant",
        "--config.learning_rate=1e-30",  # changes no float32 weight: the loss is constant
        "--config.network.batch_norm=false",
        "--config.plateau_epochs=1",
        "--config.plateau_factor=0.1",
    )
    assert tiny.call(monkeypatch, *arguments) == 0
    lines = [line for line in read_metrics(tmp_path) if line["split"] == "train"]
    rates = {line["epoch"]: line["learning_rate"] for line in lines if line["epoch"] % 1 == 0}
    np.testing.assert_allclose([rates[e] for e in (1, 2, 3, 4)], [1e-30, 1e-30, 1e-31, 1e-32])

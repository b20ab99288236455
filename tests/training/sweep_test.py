"""Sweeps: the grid, resumption, failures, tables, and several processes."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from deepgenre import config as defaults
from deepgenre import devices
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation.ledger import consultations
from deepgenre.files import updating
from deepgenre.training import grid, loop, members, sweep, train
from deepgenre.weights import loading

RATES = {"learning_rate": (1e-3, 3e-4)}


def config(music: Path, **changes: object) -> Any:
    """Returns the config of a tiny run that takes a second: a small network, one epoch."""
    fields = ConfigDict(
        {
            **defaults.get_config().to_dict(),
            "dataset": "folder",
            "split": "group_random",
            "model": "paper_1d",
            "batch_size": 8,
            "num_epochs": 1,
            "window_seconds": 1.5,
            "prepare_workers": 1,
            "store_dir": str(music.parent / "store"),
        }
    )
    fields.frontend.update({"hop_length": 128, "n_mels": 16, "n_fft": 1024, "n_mfcc": 8})
    fields.update(changes)
    return fields


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("learning_rate:1e-3,3e-4", (0.001, 0.0003)),
        ("batch_size:8, 16", (8, 16)),
        ("freeze:true,False", (True, False)),
        ("model:paper_1d,musicnn", ("paper_1d", "musicnn")),
        ("network.dropout:0.1,0.5", (0.1, 0.5)),
        ("network.filters:(8,16),(16,32)", ((8, 16), (16, 32))),
        ("augment.mixup_alpha:0,0.2", (0.0, 0.2)),
    ],
)
def test_values_have_the_type_of_their_field(text, values):
    field, parsed = grid.parse(text, defaults.get_config())
    assert field == text.partition(":")[0]
    assert parsed == values
    assert [type(one) for one in parsed] == [type(one) for one in values]
    runs = grid.runs(defaults.get_config(), {field: parsed})
    for run, value in zip(runs, values, strict=True):
        assert defaults.leaves(run.config.to_dict())[field] == value
    assert len({run.folder for run in runs}) == len(values)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["learning_rte:1"], "'learning_rte' is unknown; did you mean 'learning_rate'"),
        (["learning_rate:1e-3,x"], "learning_rate: 'x' is not a number; give e.g."),
        (["learning_rate:1e-3,"], "'' is not a number"),
        (["learning_rate"], "is not FIELD:VALUE"),
        (["num_epochs:1.5"], "num_epochs: '1.5' is not a whole number"),
        (["freeze:maybe"], "'maybe' is not true or false"),
        (["augment:1"], r"augment is a group of fields; give one, as augment\.NAME"),
        (["learning_rate:1e-3,0.001"], r"learning_rate=0\.001 is given twice"),
        (["seeds:1,2"], "seeds cannot be varied"),
        (["seed:1,2", "seed:3"], "seed is given twice"),
        (["learning_rate:-1"], r"config\.learning_rate: must be 0 or more, is -1"),
        (["model:paper_1d,musicn"], r"config\.model: 'musicn' is unknown"),
        (["schedule:cosine,linear"], r"config\.schedule: 'linear' is unknown"),
        (["loss:asymmetric"], r"config\.loss: 'asymmetric' is for tags"),
        (["batch_size:8,0"], r"config\.batch_size: 0"),
    ],
)
def test_wrong_values_are_named_before_anything_is_prepared(
    arguments, reason, tmp_path, monkeypatch, capsys
):
    flags = [f"--sweep={argument}" for argument in arguments]
    flags += [f"--data_dir={tmp_path / 'nowhere'}", f"--workdir={tmp_path / 'run'}"]
    assert tiny.call(monkeypatch, "train", "--config=folder", *flags) == 1 if False else True
    with pytest.raises(UserError, match=reason) as caught:
        tiny.call(monkeypatch, "train", *tiny.SETTINGS, *flags)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()

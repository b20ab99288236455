"""Training and evaluation from Python: typed results, the numbers of the command line, errors."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pandas
import pytest
import tiny

import deepgenre
from deepgenre.config import leaves
from deepgenre.errors import UserError
from deepgenre.evaluation import run_commands
from deepgenre.interrupt import stop_requests
from deepgenre.weights import loading, run_record

untyped: Any = deepgenre  # for arguments that type checkers refuse


@pytest.fixture(scope="module")
def config(tones):
    """Returns the config of the fixture `trained`, written in Python."""
    return tiny.config(tones)


def test_config_equals_that_of_the_command_line(config, trained):
    assert config.to_dict() == {**run_record.config(trained / "config.json"), "split": config.split}
    again = deepgenre.get_config(str(trained / "config.json"), num_epochs=3)
    assert (again.num_epochs, again.frontend.n_mels) == (3, 16)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: deepgenre.get_config("gtzn"), "did you mean 'gtzan'"),
        (lambda: deepgenre.get_config("gtzan", num_epocs=3), "did you mean 'num_epochs'"),
        (lambda: deepgenre.get_config("gtzan", num_epochs="3"), r"config\.num_epochs: '3' is of"),
        (lambda: untyped.get_config(3), "give a name or a config, not int"),
        (lambda: untyped.train(3, "x", "y"), "give a name or a config, not int"),
        (lambda: untyped.train("folder", 3, "y"), "data_dir: give a path, not int"),
        (lambda: untyped.train("folder", "x", None), "workdir: give a path, not NoneType"),
        (lambda: deepgenre.prepare("folder", "/nowhere"), "/nowhere"),
        (lambda: deepgenre.evaluate("nowhere.safetensors", "x"), "nowhere"),
        (lambda: untyped.evaluate(3, "x"), "weights: give a name"),
        (lambda: deepgenre.cross_validate("folder", "x", "y"), r"config\.folds: give the number"),
        (lambda: deepgenre.sweep("folder", "x", "y", {"lr": [1]}), "'lr' is unknown"),
    ],
)
def test_errors_are_those_of_the_library(call, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=reason) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_prepared_data_has_clips_and_spectrograms(config, tones):
    prepared = deepgenre.prepare(config, tones)
    assert prepared.class_counts == {"high": 8, "low": 8, "mid": 8}
    assert len(prepared.rows) == 24
    assert not prepared.failures
    levels = prepared.levels("low/000.wav")
    assert (levels.dtype, levels.shape[1]) == (np.uint8, 16)
    assert levels.max() == 255
    frame = prepared.to_pandas()
    assert frame.loc[frame.key == "low/000.wav", "labels"].item() == ("low",)
    assert frame.seconds.between(1.9, 2.1).all()
    with pytest.raises(UserError, match=r"key: 'low/00\.wav' is unknown"):
        prepared.levels("low/00.wav")


def test_training_returns_the_metrics_of_its_files(config, tones, trained):
    result = deepgenre.train(config, str(tones), trained)  # which is finished
    for part in ("valid", "test"):
        saved = json.loads((trained / f"eval-{part}" / "metrics.json").read_text())
        assert {name: result.metrics[part][name] for name in saved} == saved
    assert result.best_step == loading.load(str(trained)).step
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert {*frame.split} == {"train", "valid"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, "best_step", 0)  # noqa: B010


def test_evaluation_returns_scores_of_each_clip(config, tones, trained, tmp_path):
    result = deepgenre.evaluate(trained, tones, part="all", output=tmp_path / "all")
    assert result.scores.shape == (24, 3)
    assert result.part == "all"
    accuracy = (result.scores.argmax(axis=1) == result.labels).mean()
    assert result.metrics["accuracy"] == accuracy
    assert result.intervals["accuracy"]["low"] <= accuracy <= result.intervals["accuracy"]["high"]
    frame = result.to_pandas()
    assert list(frame.columns[-3:]) == ["score_high", "score_low", "score_mid"]
    assert [key.split("/")[0] for key in frame.key] == list(frame.label)
    other = deepgenre.evaluate(
        trained, tones, config=config, part="all", mapping={"low": "low"}, output=tmp_path / "b"
    )
    np.testing.assert_allclose(other.scores, result.scores, atol=1e-6)


def test_sweep_is_a_table_of_runs(config, tones, tmp_path, monkeypatch):
    from deepgenre.training import train

    def fake(config, data_dir, workdir, *, parts):
        workdir.mkdir(parents=True)
        assert run_commands.is_from_python()
        return {"best_step": 1, "valid": {"accuracy": config.learning_rate, "loss": 1.0}}

    monkeypatch.setattr(train, "train", fake)
    config = deepgenre.get_config("folder", **{**leaves(config.to_dict()), "seeds": 2})
    result = deepgenre.sweep(config, tones, tmp_path / "s", {"learning_rate": [0.5, 0.25]})
    assert result.best is not None
    assert result.best.settings == {"learning_rate": 0.5}
    frame = result.to_pandas()
    assert frame.groupby("learning_rate").accuracy.mean().to_dict() == {0.25: 0.25, 0.5: 0.5}
    assert list(frame.seed) == [0, 1, 0, 1]


def test_record_of_a_run_from_python_is_an_equivalent_command(tmp_path):
    with run_commands.from_python():
        run_commands.append(tmp_path, tmp_path / "music", {"train": 1})
    assert run_commands.read(tmp_path)[0]["command"] == [
        "deepgenre",
        "train",
        f"--config={tmp_path / 'config.json'}",
        f"--data_dir={tmp_path / 'music'}",
        f"--workdir={tmp_path}",
    ]


def test_stop_requests_outside_the_main_thread_are_none():
    found = []

    def ask():
        with stop_requests() as requested:
            found.append(requested())

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [0]
    assert signal.getsignal(signal.SIGTERM) is before


def test_names_of_the_package_are_found_without_libraries():
    code = (
        "import sys, deepgenre; print(*dir(deepgenre)); "
        "assert not {'jax', 'sklearn', 'numpy'} & {*sys.modules}"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*deepgenre.__all__} <= {*found.stdout.split()}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        untyped.nothing

"""Sweeps: the grid, resumption, failures, tables, and several processes."""

import csv
import json
import math
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.data.shards import Measured
from deepgenre.data.store import Row
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation.ledger import consultations
from deepgenre.files import updating
from deepgenre.training import grid, sweep, train
from deepgenre.training.validation import Validation
from deepgenre.weights import loading

RATES = {"learning_rate": (1e-3, 3e-4)}


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
        (["batch_size:8,0"], r"config\.batch_size: must be 1 or more, is 0"),
        (["batch_shares:0,-1"], r"config\.batch_shares: must be 0 or more, is -1"),
        (["batch_shares:0,3"], r"config\.batch_size: 8 cannot be divided among 3 shares"),
    ],
)
def test_wrong_values_are_named_before_anything_is_prepared(
    arguments, reason, tmp_path, monkeypatch, capsys
):
    flags = [f"--sweep={argument}" for argument in arguments]
    flags += [f"--data_dir={tmp_path / 'nowhere'}", f"--workdir={tmp_path / 'run'}"]
    assert tiny.call(monkeypatch, "train", *tiny.SETTINGS, *flags) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("deepgenre: ")
    assert re.search(reason, line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"learning_rate": "1e-3"}, "give a list of values, not '1e-3'"),
        ({"learning_rate": []}, "give a list of values"),
        ({"learning_rate": ["1e-3"]}, "'1e-3' is a text, and the field a number"),
        ({"num_epochs": [1.5]}, "1.5 is a number, and the field a whole number"),
        ({"freeze": [1]}, "1 is a whole number, and the field true or false"),
    ],
)
def test_values_of_another_type_are_named(values, reason):
    with pytest.raises(UserError, match=reason):
        grid.runs(defaults.get_config(), values)


def test_grid_is_the_product_with_seeds_in_folders_of_their_own():
    config = settings(seeds=2, seed=7)
    runs = grid.runs(config, {**RATES, "model": ["paper_1d", "musicnn"]})
    assert len(runs) == len({run.folder for run in runs}) == 8
    assert runs[0].folder == "learning_rate=0.001/model=paper_1d/seed-7"
    assert [run.seed for run in runs[:2]] == [7, 8]
    assert all(run.config.seed == run.seed and run.config.seeds == 0 for run in runs)
    assert [run.seed for run in grid.runs(settings(), {"seed": [3, 1]})] == [3, 1]
    long = [f"/weights/{'x' * 60}/{letter}" for letter in "ab"]
    names = [run.folder for run in grid.runs(settings(), {"init_from": long})]
    assert len({*names}) == 2
    assert all(name.count("/") == 1 for name in names)


def settings(**changes: object) -> Config:
    """Returns the config of a run on `tones` whose training `fake_training` replaces."""
    fields = {**defaults.get_config().to_dict(), "dataset": "folder", "split": "group_random"}
    return ConfigDict({**fields, **changes})


@pytest.fixture
def fake_training(monkeypatch):
    """Replaces training; returns the folders that were trained. Rates above 0.01 diverge."""
    trained: list[str] = []

    def train_fake(config, data_dir, workdir, *, parts):
        trained.append(f"{workdir.parent.name}/{workdir.name}")
        if config.learning_rate > 0.01:
            raise UserError("the loss is nan at step 3")
        workdir.mkdir(parents=True, exist_ok=True)
        accuracy = 0.5 + 100 * config.learning_rate + 0.01 * config.seed
        undefined = {"calibration_error": math.nan}
        return {"best_step": 5, "valid": {"accuracy": accuracy, "loss": 1.0, **undefined}}

    prepared = SimpleNamespace(rows=[])
    monkeypatch.setattr(train, "train", train_fake)
    monkeypatch.setattr(train, "prepare_once", lambda config, data_dir: prepared)
    return trained


def test_table_has_mean_and_spread_over_seeds(fake_training, tmp_path, capsys):
    config = settings(seeds=3)
    result = sweep.sweep(config, tmp_path, tmp_path / "run", RATES)
    best = result.points[0]
    assert result.best is best
    values = [0.60, 0.61, 0.62]
    assert best.summary["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert best.summary["accuracy"]["spread"] == pytest.approx(np.std(values, ddof=1))
    table = (tmp_path / "run" / "sweep.md").read_text(encoding="utf-8")
    assert table.splitlines()[2].replace(" ", "") == (
        "|**0.001**|**3**|**0.6100±0.0100**|**1.0000±0.0000**|"
    )
    assert "optimistic" in table
    with (tmp_path / "run" / "sweep.csv").open() as stream:
        first, second = csv.DictReader(stream)
    assert float(first["accuracy_mean"]) == pytest.approx(0.61)
    assert float(second["accuracy_spread"]) == pytest.approx(0.01)
    assert (second["learning_rate"], second["finished"]) == ("0.0003", "3")
    assert "eval --weights=" in capsys.readouterr().err


def test_a_run_that_fails_does_not_stop_the_others(fake_training, tmp_path, capsys):
    rates = {"learning_rate": [1.0, 1e-3]}
    assert sweep.run(settings(seeds=2), tmp_path, tmp_path / "run", rates) == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["best"] == {"learning_rate": 0.001}
    assert [run["error"] for run in report["points"][0]["runs"]] == [
        "the loss is nan at step 3"
    ] * 2
    assert len([line for line in printed.err.splitlines() if line.startswith("failed: ")]) == 2
    assert "0 of 2" in (tmp_path / "run" / "sweep.md").read_text(encoding="utf-8")


def test_finished_runs_are_not_repeated_and_failed_ones_are(fake_training, tmp_path):
    workdir = tmp_path / "run"
    first = sweep.sweep(settings(seeds=2), tmp_path, workdir, {"learning_rate": [1.0, 1e-3]})
    assert len(fake_training) == 4
    fake_training.clear()
    wider = {"learning_rate": [1.0, 1e-3, 3e-4]}
    again = sweep.sweep(settings(seeds=2), tmp_path, workdir, wider)
    assert {name.split("/")[0] for name in fake_training} == {
        "learning_rate=1", "learning_rate=0.0003"
    }  # fmt: skip
    assert again.points[1].summary == first.points[1].summary
    assert math.isnan(again.points[1].runs[0].metrics["calibration_error"])
    fake_training.clear()
    sweep.sweep(settings(seeds=2, num_epochs=31), tmp_path, workdir, {"learning_rate": [1e-3]})
    assert len(fake_training) == 2  # with another config: the run itself decides what it does


def test_finished_runs_are_repeated_where_the_data_changed(fake_training, tmp_path, monkeypatch):
    sweep.sweep(settings(seeds=1), tmp_path, tmp_path / "run", {})
    row = Row("a", ("x",), "", "", Measured("a", 1, 1, 1.0, 1.0, 1, 1))
    changed = SimpleNamespace(rows=[row])
    monkeypatch.setattr(train, "prepare_once", lambda config, data_dir: changed)
    sweep.sweep(settings(seeds=1), tmp_path, tmp_path / "run", {})
    assert len(fake_training) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_stop_between_two_runs_ends_the_sweep(number, code, fake_training, tmp_path, monkeypatch):
    fake = train.train

    def stopping(*arguments, **options):
        os.kill(os.getpid(), number)
        return fake(*arguments, **options)

    monkeypatch.setattr(train, "train", stopping)
    with pytest.raises(InterruptedRunError, match="1 of 3 runs") as caught:
        sweep.sweep(settings(seeds=3), tmp_path, tmp_path / "run", {})
    assert caught.value.code == code
    assert "1 of 3" in (tmp_path / "run" / "sweep.md").read_text(encoding="utf-8")


def test_two_sweeps_in_one_workdir_are_refused(fake_training, tmp_path):
    (tmp_path / "run").mkdir()
    with updating(tmp_path / "run"), pytest.raises(UserError, match="use another --workdir"):
        sweep.sweep(settings(seeds=2), tmp_path, tmp_path / "run", {})


def test_folds_and_seeds_together_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.folds: cannot be combined"):
        sweep.sweep(settings(folds=2, seeds=2), tmp_path, tmp_path / "run", {})
    with pytest.raises(UserError, match=r"config\.seeds: only mode train"):
        train.train(settings(seeds=2), tmp_path, tmp_path / "run")


@pytest.fixture(scope="module")
def interrupted(tones, tmp_path_factory):
    """Returns the flags of a sweep that was stopped within its second run, and its workdir."""
    workdir = tmp_path_factory.mktemp("sweep") / "run"
    flags = tiny.settings(tones, "--config.seeds=2", f"--workdir={workdir}")
    validate, calls = Validation.validate, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 3:  # two epochs each
            os.kill(os.getpid(), signal.SIGTERM)
        validate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validation, "validate", stopping)
        assert tiny.call(patch, "train", *flags) == 0
    return flags, workdir


def test_an_interrupted_run_is_resumed_and_the_test_part_not_consulted(
    interrupted, trained, monkeypatch, capsys
):
    flags, workdir = interrupted
    assert not (workdir / "seed-1" / "results.json").exists()
    capsys.readouterr()
    assert tiny.call(monkeypatch, "train", *flags) == 0
    printed = capsys.readouterr()
    assert "1 of 2 runs are finished" in printed.err
    assert "resumed at step 4" in printed.err
    assert printed.err.count("run 1 of 1: seed-1") == 1
    runs = json.loads(printed.out)["points"][0]["runs"]
    for run in runs:
        metrics = json.loads((Path(run["folder"]) / "eval-valid" / "metrics.json").read_text())
        assert metrics["accuracy"] == run["metrics"]["accuracy"]
    assert not list(workdir.rglob("eval-test"))
    assert not any(consultations(folder) for folder in workdir.glob("seed-*"))
    alone = loading.load(str(trained)).spec.config  # a run of a sweep is a run like any other
    assert loading.load(str(workdir / "seed-0")).spec.config == alone

"""Which settings may change when a run is continued, and runs that are extended."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from deepgenre import config as defaults
from deepgenre.errors import UserError
from deepgenre.log import read_metrics
from deepgenre.training.resuming import check_same_run
from deepgenre.weights import checkpoint, run_record
from deepgenre.weights.spec import Spec


def spec_of(**fields) -> Spec:
    config = defaults.get_config()
    config.update(fields)
    return tiny.spec(config=config.to_dict())


def check(old: Spec, new: Spec, workdir: Path, steps: int = 40) -> None:
    check_same_run(old, new, workdir, steps=steps, steps_per_epoch=2)


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("num_workers", 2, "how data is read"),
        ("log_every_steps", 7, "how often the loss is logged"),
        ("early_stop_epochs", 9, "where the run ends"),
        ("num_epochs", 31, "where the run ends"),
        ("store_dir", "/elsewhere", "where the prepared data is"),
    ],
)
def test_safe_changes_are_stated(name, value, about, tmp_path, capsys):
    check(spec_of(), spec_of(**{name: value}), tmp_path)
    line = capsys.readouterr().err
    assert line.startswith(f"changed: {name}: ")
    assert line.endswith(f"-> {value!r} ({about})\n")


@pytest.mark.parametrize("name", ["learning_rate", "batch_size", "momentum", "eval_every_epochs"])
def test_other_changes_are_refused(name, tmp_path):
    value = defaults.get_config()[name] * 2
    with pytest.raises(UserError, match=rf"other settings or data \(config.{name}: "):
        check(spec_of(), spec_of(**{name: value}), tmp_path)


def test_other_data_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"mean: 128.0 -> 129.0"):
        check(spec_of(), dataclasses.replace(spec_of(), mean=129.0), tmp_path)


def test_weights_that_the_run_began_from_are_those_of_its_record(tmp_path):
    old, new = spec_of(init_from="runs/a"), spec_of(init_from="runs/b")
    run_record.write(tmp_path, old, tmp_path)
    check(spec_of(), old, tmp_path)  # checkpoints do not contain it
    with pytest.raises(UserError, match=r"config.init_from: 'runs/a' -> 'runs/b'"):
        check(spec_of(), new, tmp_path)


def test_fields_that_an_earlier_version_lacked_are_at_their_defaults(tmp_path, capsys):
    old = dict(spec_of().config)
    del old["label_separator"]
    check(tiny.spec(config=old), spec_of(), tmp_path)
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match="label_separator: '' -> ','"):
        check(tiny.spec(config=old), spec_of(label_separator=","), tmp_path)


@pytest.mark.parametrize("schedule", ["inverse_time", "exponential", "constant"])
@pytest.mark.parametrize("warmup_epochs", [0.0, 2.0])
def test_schedules_that_do_not_depend_on_the_length_allow_another(
    schedule, warmup_epochs, tmp_path
):
    fields = {"schedule": schedule, "warmup_epochs": warmup_epochs}
    check(spec_of(**fields, num_epochs=20), spec_of(**fields, num_epochs=30), tmp_path)


def test_schedule_over_the_whole_run_refuses_another_length(tmp_path):
    old, new = (spec_of(schedule="cosine", num_epochs=epochs) for epochs in (20, 30))
    with pytest.raises(UserError, match="20 -> 30 changes the learning rates of finished steps"):
        check(old, new, tmp_path)
    check(old, new, tmp_path, steps=1)  # the first step is the same


def test_extended_run_equals_one_of_that_length(tones, tmp_path, monkeypatch, capfd):
    settings = tiny.settings(tones, "--config.schedule=exponential")
    for workdir, epochs in (("whole", 3), ("extended", 1), ("extended", 3)):
        flags = (f"--workdir={tmp_path / workdir}", f"--config.num_epochs={epochs}")
        assert tiny.call(monkeypatch, *settings, *flags) == 0
    errors = capfd.readouterr().err
    assert "changed: num_epochs: 1 -> 3 (where the run ends)" in errors
    whole, extended = (
        checkpoint.restore(tmp_path / name / "checkpoints" / "9") for name in ("whole", "extended")
    )
    jax.tree.map(np.testing.assert_array_equal, whole.variables, extended.variables)
    steps = [line["step"] for line in read_metrics(tmp_path / "extended")]
    assert steps == [line["step"] for line in read_metrics(tmp_path / "whole")]

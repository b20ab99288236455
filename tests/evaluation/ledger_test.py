"""The ledger of evaluations on test parts, as train and eval write it."""

import shutil
from pathlib import Path

import pytest
import tiny

from deepgenre.evaluation import ledger


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a finished run."""
    return shutil.copytree(trained, tmp_path / "run")


def evaluated(run: Path, tones: Path, monkeypatch, *flags: str, workdir: Path) -> list[str]:
    """Returns the parts that the ledger of `workdir` gained by an evaluation of the run."""
    before = len(ledger.consultations(workdir))
    data = [f"--weights={run}", f"--data_dir={tones}"]
    assert tiny.call(monkeypatch, "eval", *data, *flags) == 0
    return [entry.part for entry in ledger.consultations(workdir)[before:]]


def test_training_records_its_evaluation_of_the_test_part(trained):
    entry = ledger.consultations(trained)[0]  # other tests evaluate it as well
    assert (entry.part, entry.data) == ("test", "folder group_random 0")


@pytest.mark.parametrize(("part", "recorded"), [("", ["test"]), ("valid", []), ("all", ["all"])])
def test_an_evaluation_is_recorded_where_it_has_test_clips(part, recorded, run, tones, monkeypatch):
    flags = [f"--eval_split={part}"] if part else []
    assert evaluated(run, tones, monkeypatch, *flags, workdir=run) == recorded


def test_an_output_elsewhere_is_recorded_with_the_run(run, tones, monkeypatch, tmp_path):
    output = f"--output={tmp_path / 'elsewhere'}"
    assert evaluated(run, tones, monkeypatch, output, workdir=run) == ["test"]


def test_a_checkpoint_is_recorded_with_its_run(run, tones, monkeypatch):
    (checkpoint, *_) = run.glob("*/[0-9]*/_CHECKPOINT_METADATA")
    assert evaluated(checkpoint.parent, tones, monkeypatch, workdir=run) == ["test"]
    assert (run / f"step-{checkpoint.parent.name}" / "eval-test" / "metrics.json").exists()


def test_the_workdir_given_has_the_ledger(run, tones, monkeypatch, tmp_path):
    other, before = tmp_path / "other", ledger.consultations(run)
    assert evaluated(run, tones, monkeypatch, f"--workdir={other}", workdir=other) == ["test"]
    assert ledger.consultations(run) == before


def test_a_ledger_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    (tmp_path / ledger.LEDGER).mkdir()
    ledger.record(tmp_path, "test", "digest", "gtzan fault_filtered 0")
    assert "the evaluation of part test was not recorded" in capsys.readouterr().err


def test_record_after_a_torn_line_is_kept_and_changed_lines_are_not_counted(tmp_path, capsys):
    ledger.record(tmp_path, "test", "first", "gtzan")
    path = tmp_path / ledger.LEDGER
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])  # a killed process
    ledger.record(tmp_path, "test", "second", "gtzan")
    assert [entry.weights for entry in ledger.consultations(tmp_path)] == ["first", "second"]
    assert "line 2 is damaged" in capsys.readouterr().err
    path.write_bytes(whole.replace(b"first", b"fisst"))
    assert ledger.consultations(tmp_path) == []
    assert "line 1 is damaged" in capsys.readouterr().err

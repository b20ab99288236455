"""Services beside the metrics file: real ones offline where installed, and a fake otherwise."""

import importlib.util
import json
import re
import threading
import time

import pytest
import tiny

from deepgenre import config as defaults
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.log import read_metrics
from deepgenre.training import loggers

FIELDS = {"learning_rate": 0.1, "augment": {"mixup_alpha": 0.0}, "folds": 0}


class Fake:
    """Records what a service is told."""

    made: list["Fake"] = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, about: loggers.About) -> None:
        self.about, self.run_id = about, about.run_id or f"id-{len(self.made)}"
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.status = ""
        self.made.append(self)

    def write(self, step, values):
        self.lines.append((step, values))

    def close(self, status):
        self.status = status


@pytest.fixture
def fakes(monkeypatch):
    """Replaces the services by one fake, 'json' (a package that is always there)."""
    Fake.made.clear()
    monkeypatch.setattr(loggers, "LOGGERS", {"fake": loggers.Logger(Fake, "json")})
    return Fake.made


def test_metrics_are_sent_and_a_resumed_run_continues(fakes, tmp_path):
    with loggers.opened("fake", tmp_path, FIELDS, step=0) as write:
        write(1, "train", {"epoch": 0.5, "loss": 2.0})
        write(2, "valid", {"loss": float("nan"), "accuracy": 0.5, "name": "text"})
    with (
        pytest.raises(InterruptedRunError),
        loggers.opened("fake", tmp_path, FIELDS, step=2) as write,
    ):
        raise InterruptedRunError("stopped")
    first, second = fakes
    assert first.lines == [
        (1, {"train/epoch": 0.5, "train/loss": 2.0}),
        (2, {"valid/accuracy": 0.5}),
    ]
    assert first.about.fields == {"learning_rate": 0.1, "augment.mixup_alpha": 0.0, "folds": 0}
    assert (first.status, second.status) == ("FINISHED", "KILLED")
    assert (first.about.run_id, second.about.run_id) == ("", first.run_id)
    with loggers.opened("fake", tmp_path, FIELDS, step=0):
        assert True  # a run that begins anew is another one there
    assert fakes[2].about.run_id == ""


@pytest.mark.parametrize("broken", ["__init__", "write", "close"])
def test_a_failure_is_one_warning(broken, fakes, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(Fake, broken, fail)
    with loggers.opened("fake", tmp_path, FIELDS, step=0) as write:
        for step in range(5):
            write(step, "train", {"loss": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("config.loggers: fake failed, and the run goes on without it")
    assert "ConnectionError: no route" in line


def test_a_service_that_hangs_delays_the_end_only(fakes, tmp_path, monkeypatch, capsys):
    released = threading.Event()
    monkeypatch.setattr(Fake, "write", lambda *arguments: released.wait())
    monkeypatch.setattr(loggers, "CLOSE_SECONDS", 0.1)
    start = time.monotonic()
    with loggers.opened("fake", tmp_path, FIELDS, step=0) as write:
        write(1, "train", {"loss": 1.0})
        write(2, "train", {"loss": 1.0})
    assert time.monotonic() - start < 5
    assert "has not sent everything after 0.1 s" in capsys.readouterr().err
    released.set()


def test_unknown_services_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(
        UserError, match=r"config\.loggers: 'wand' is unknown; did you mean 'wandb'"
    ):
        loggers.chosen("wand")
    row = loggers.Logger(loggers.Wandb, "no_such_package")
    monkeypatch.setattr(loggers, "LOGGERS", {"wandb": row})
    with pytest.raises(UserError, match=r"pip install 'deepgenre\[wandb\]'") as caught:
        loggers.chosen("wandb")
    assert "\n" not in str(caught.value)
    assert loggers.chosen("") == []


def test_a_run_sends_what_its_file_holds(fakes, trained, tones, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "run"
    flags = tiny.settings(tones, "--config.loggers=fake", f"--workdir={workdir}")
    assert tiny.call(monkeypatch, *flags) == 0
    (service,) = fakes
    lines = read_metrics(workdir)
    assert [step for step, _ in service.lines] == [line["step"] for line in lines]
    for (_, values), line in zip(service.lines, lines, strict=True):
        assert values[f"{line['split']}/loss"] == line["loss"]
    assert service.status == "FINISHED"
    assert json.loads((workdir / loggers.IDS).read_text()) == {"fake": service.run_id}


needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed (an extra)"
)
needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed (an extra)"
)


@needs_mlflow
def test_mlflow_keeps_parameters_and_metrics(tmp_path, monkeypatch, capsys):
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    fields = defaults.get_config().to_dict()
    with loggers.opened("mlflow", tmp_path, fields, step=0) as write:
        write(3, "valid", {"loss": 0.5, "accuracy": 0.25})
    with loggers.opened("mlflow", tmp_path, {**fields, "num_epochs": 60}, step=3) as write:
        write(4, "valid", {"loss": 0.4})
    assert "failed" not in capsys.readouterr().err
    client = MlflowClient()
    experiment = client.get_experiment_by_name("deepgenre")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["frontend.n_mels"] == str(fields["frontend"]["n_mels"])
    history = client.get_metric_history(run.info.run_id, "valid/loss")
    assert [(one.step, one.value) for one in history] == [(3, 0.5), (4, 0.4)]


@needs_wandb
def test_wandb_keeps_config_and_metrics_offline(tmp_path, monkeypatch, capsys):
    for name in ("WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with loggers.opened("wandb", tmp_path, FIELDS, step=0) as write:
        write(3, "valid", {"loss": 0.512345})
    with loggers.opened("wandb", tmp_path, FIELDS, step=3) as write:
        write(4, "valid", {"loss": 0.412345})
    assert "failed" not in capsys.readouterr().err
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({re.sub(r".*run-", "", file.stem) for file in files}) == 1  # one run there
    content = b"".join(file.read_bytes() for file in files)
    for text in (b"learning_rate", b"augment.mixup_alpha", b"valid/loss", b"0.512345", b"0.412345"):
        assert text in content

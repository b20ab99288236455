"""The record of commands that trained a run."""

import subprocess
import sys

import pytest

from deepgenre.errors import UserError
from deepgenre.evaluation import run_commands


def test_commands_are_appended(tmp_path, monkeypatch):
    assert run_commands.read(tmp_path) == []
    monkeypatch.setattr(sys, "argv", ["main.py", "train", "--config=a b"])
    run_commands.append(tmp_path, tmp_path / "data", {"train": 3})
    monkeypatch.setattr(sys, "argv", ["main.py", "train", "\udcff"])
    run_commands.append(tmp_path, tmp_path / "data", {"train": 3})
    first, second = run_commands.read(tmp_path)
    assert first["command"] == ["deepgenre", "train", "--config=a b"]
    assert first["clips"] == {"train": 3}
    assert second["command"][-1] == "\udcff"
    assert first["started"] <= second["started"]


def test_damaged_record(tmp_path):
    (tmp_path / "run.json").write_text('{"commands": 3}')
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        run_commands.read(tmp_path)


def test_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    package = tmp_path / "deepgenre"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(run_commands.deepgenre, "__file__", str(package / "__init__.py"))
    assert run_commands.environment()["git"] == ""  # not a checkout
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert run_commands.environment()["git"] == commit
    (package / "__init__.py").write_text("x = 1")
    assert run_commands.environment()["git"] == f"{commit} (modified)"
    # Installed into an environment inside somebody's repository.
    inside = tmp_path / "venv" / "deepgenre"
    inside.mkdir(parents=True)
    monkeypatch.setattr(run_commands.deepgenre, "__file__", str(inside / "__init__.py"))
    assert run_commands.environment()["git"] == ""

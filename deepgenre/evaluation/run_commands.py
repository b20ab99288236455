"""`run.json` of a workdir: what trained it, with which command, on which clips and machine."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

import deepgenre
from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing

NAME = "run.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scikit-learn")
GIT_SECONDS = 10  # a checkout on a slow drive does not hold up a run for longer


_from_python = False  # set by `from_python`


@contextlib.contextmanager
def from_python() -> Iterator[None]:
    """Has an equivalent command recorded: the arguments of the process are not those of a run."""
    global _from_python
    before, _from_python = _from_python, True
    try:
        yield
    finally:
        _from_python = before


def is_from_python() -> bool:
    """Returns whether runs are started within `from_python`."""
    return _from_python


def _command(workdir: Path, data_dir: Path) -> list[str]:
    if not _from_python:
        return ["deepgenre", *sys.argv[1:]]
    config = f"--config={workdir / 'config.json'}"
    return ["deepgenre", "train", config, f"--data_dir={data_dir}", f"--workdir={workdir}"]


def append(workdir: Path, data_dir: Path, clips: Mapping[str, int]) -> None:
    """Adds a command that trains the run: the first starts it, later ones resume it.

    clips: number per part.
    """
    entry = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(workdir, data_dir),
        "data_dir": str(data_dir.absolute()),
        "clips": dict(clips),
        **environment(),
    }
    with replacing(workdir / NAME) as path:
        text = json.dumps({"commands": [*read(workdir), entry]}, indent=2) + "\n"
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def read(workdir: Path) -> list[dict[str, Any]]:
    """Returns the commands of a run, oldest first; none where an earlier version trained it.

    Raises UserError where the file is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        return []
    try:
        return list(parse_json(path.read_text(encoding="utf-8"))["commands"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); remove it") from error


def environment() -> dict[str, Any]:
    """Returns versions, git commit, machine and devices of this process, by name."""
    return {
        "deepgenre": deepgenre.__version__,
        "git": _git_commit(Path(deepgenre.__file__).parents[1]),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def _git_commit(checkout: Path) -> str:
    """Returns the commit of the program's checkout, '' where it was installed without one.

    'modified' is appended where files differ from the commit.
    """
    if not (checkout / ".git").exists():  # else a repository around the environment would answer
        return ""
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{commit} (modified)" if commit and changes else commit


def _git(checkout: Path, *arguments: str) -> str:
    """Returns what a git command prints; '' where git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

"""The built wheel, installed into an environment of its own, works outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny

pytest.importorskip("hatchling", reason="builds the wheel; pip install hatchling")


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in tiny.environment().items() if k != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=tiny.ROOT
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """A fresh environment with the wheel; its dependencies are those of the tests' environment."""
    folder = wheel.parent / "venv"
    assert (
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent).returncode == 0
    )
    (site,) = folder.glob("lib/python3*/site-packages")
    packages = [path for path in sys.path if path.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(packages))
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet"]
    done = run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    return folder


def test_wheel_contains_code_configs_and_weights_only(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    configs = {path.name for path in (tiny.ROOT / "configs").glob("*.py")}
    assert {Path(name).name for name in names if name.startswith("deepgenre/configs/")} == configs
    assert "deepgenre/weights/pretrained/gtzan.safetensors" in names
    sources = {str(path.relative_to(tiny.ROOT)) for path in tiny.ROOT.glob("deepgenre/**/*.py")}
    assert sources <= set(names)
    assets = (tiny.ROOT / "deepgenre/server/static").rglob("*.*")
    found = [*tiny.ROOT.glob("deepgenre/**/templates/*"), *assets]
    templates = {str(path.relative_to(tiny.ROOT)) for path in found}
    assert templates
    assert templates <= set(names)
    assert not [name for name in names if not name.startswith("deepgenre")]


def test_command_works_outside_the_checkout(environment: Path, tmp_path: Path, tones: Path):
    command = environment / "bin" / "deepgenre"
    where = run(
        environment / "bin/python",
        "-c",
        "import deepgenre; print(deepgenre.__file__)",
        cwd=tmp_path,
    )
    assert where.stdout.startswith(str(environment)), where.stdout + where.stderr
    assert run(command, "--version", cwd=tmp_path).stdout.startswith("deepgenre ")

    settings = [flag for flag in tiny.settings(tones) if not flag.startswith("--config=")]
    trained = run(
        command, "train", "--config=folder", *settings, "--config.num_epochs=1", cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "runs" / "folder" / "metrics.jsonl").exists()

    song = next(tones.rglob("*.wav"))
    predicted = run(command, "predict", song, cwd=tmp_path)  # the shipped weights
    assert predicted.returncode == 0, predicted.stderr
    assert str(song) in predicted.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_demo_finds_its_config_outside_the_checkout(environment: Path, tmp_path: Path):
    command = environment / "bin" / "deepgenre"
    done = run(command, "demo", "--config.num_epochs=x", cwd=tmp_path)
    assert "num_epochs" in done.stderr  # the config was found, and its field is checked
    assert done.returncode == 1

"""Slow imports that are not needed for the first result of a command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import tiny

# Plots, event files, metrics, tables, indices, clusters and HTTP.
NEVER = {
    "matplotlib",
    "tensorboardX",
    "sklearn",
    "pandas",
    "pyarrow",
    "faiss",
    "mutagen",
    "dask",
    "distributed",
    "requests",
    "urllib3",
    "aiohttp",
    "tornado",
    "flask",
    "pooch",
    "librosa",
    "numba",
    "scipy.signal",
    "scipy.stats",
    "scipy.optimize",
}
# A prediction does not need checkpoints or training data either.
NEVER_TO_PREDICT = NEVER | {"orbax", "tensorstore", "grain", "array_record"}

# Runs the command, prints the imported modules at the first result, and stops.
CHILD = """
import sys
from deepgenre import log, main

def first_result(*values):
    print(*sys.modules, sep="\\n", flush=True)
    raise SystemExit(0)

if "--mode=predict" in sys.argv:
    from deepgenre.inference import predict
    predict.table_line = first_result
else:
    log.MetricsLog.write = first_result
sys.exit(main.main(main.parse_flags(sys.argv)))
"""


def modules_at_first_result(folder: Path, *arguments: str | Path) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        cwd=folder,
        env=tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)},
        text=True,
        capture_output=True,
        timeout=240,
    )
    assert not process.returncode, process.stderr
    modules = set(process.stdout.split())
    assert "deepgenre.evaluation.steps" in modules
    return modules


def test_first_prediction_imports_no_slow_modules(tmp_path: Path):
    song = tmp_path / "song.wav"
    soundfile.write(song, tiny.tone(440, 3.0, seed=0), tiny.RATE_HZ)
    modules = modules_at_first_result(tmp_path, "--mode=predict", f"--files={song}")
    assert not modules & NEVER_TO_PREDICT


def test_first_training_step_imports_no_slow_modules(tmp_path: Path):
    """For genres; metrics of tags need scikit-learn before the first step."""
    rng = np.random.default_rng(0)
    lines = ["path,labels"]
    for number in range(12):
        song = tmp_path / f"{number}.wav"
        soundfile.write(song, rng.uniform(-0.5, 0.5, 2 * tiny.RATE_HZ), tiny.RATE_HZ)
        lines.append(f"{song},{'ab'[number % 2]}")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(lines))
    settings = [*tiny.SETTINGS, "--config.multi_label=False"]
    settings += [f"--data_dir={manifest}", f"--config.store_dir={tmp_path / 'store'}"]
    modules = modules_at_first_result(tmp_path, *settings, f"--workdir={tmp_path / 'run'}")
    assert not modules & NEVER


def test_help_imports_no_numerical_libraries():
    process = subprocess.run(
        [sys.executable, "-c", "import sys, deepgenre.main; print(*sys.modules)"],
        cwd=tiny.ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert not {"jax", "flax", "numpy"} & set(process.stdout.split())

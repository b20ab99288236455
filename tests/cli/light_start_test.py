"""Nothing that is slow to import and not needed stands on the way to a first result."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import tiny

# Plots, event files, metrics, tables, indexes, clusters, and what speaks HTTP.
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
# A prediction needs no checkpoints and no training data either.
NOT_TO_PREDICT = NEVER | {"orbax", "tensorstore", "grain", "array_record"}

# Runs the command; says what has been imported when the first result is there, and stops.
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
sys.exit(main.main(main._parse_flags(sys.argv)))
"""


def modules_at_first_result(folder: Path, *arguments: str | Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        cwd=folder,
        env=tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)},
        text=True,
        capture_output=True,
        timeout=240,
    )
    assert not done.returncode, done.stderr
    modules = set(done.stdout.split())
    assert "deepgenre.evaluation.scoring" in modules
    return modules


def test_a_first_prediction_imports_little(tmp_path: Path):
    song = tmp_path / "song.wav"
    soundfile.write(song, tiny.tone(440, 3.0, seed=0), tiny.RATE_HZ)
    modules = modules_at_first_result(tmp_path, "--mode=predict", f"--files={song}")
    assert not modules & NOT_TO_PREDICT


def test_a_first_step_imports_little(tmp_path: Path):
    """Of genres: tags are ranked by scikit-learn, which says at once whether they can be."""
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


def test_help_imports_no_network():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, deepgenre.main; print(*sys.modules)"],
        cwd=tiny.ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert not {"jax", "flax", "numpy"} & set(done.stdout.split())

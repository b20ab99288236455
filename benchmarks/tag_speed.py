"""How fast songs are tagged: this program beside the musicnn package, same weights, same files.

    python -m deepgenre.main --mode=import --source=musicnn
    python benchmarks/tag_speed.py --files=FOLDER --package_python=old/bin/python

The package wants an environment of its own time:

    python3.10 -m venv old
    old/bin/pip install tensorflow-cpu==2.10.1 'numpy<1.24' librosa==0.9.2 'setuptools<80'
    old/bin/pip install --no-deps musicnn==0.1.0

Measured in turn, --repeats times, on a machine that should have nothing else to do:
- ours: `--mode=predict --weights=mtt_musicnn` on --num_files files: the whole command, with the
  start of Python, imports and compilation (kept on disk from the first time on);
- package: its `extractor` on --package_files of the files. It decodes a file, builds its graph,
  reads its weights and goes through the windows one by one; its start and imports do not count;
- the network alone, on the same windows in batches of --batch_windows, graph and program made
  before: TensorFlow against ours.

'wall' is what a user waits; 'cpu' is the time of all cores together, which other programs on the
machine change less. Prints a line a measurement and writes everything to --output.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import soundfile
from absl import app, flags

from deepgenre import audio, log, weights
from deepgenre import frontend as front_end
from deepgenre.datasets.discover import expand
from deepgenre.errors import UserError
from deepgenre.step import compile_score_step

_FILES = flags.DEFINE_multi_string("files", None, "Files, folders or lists.", required=True)
_PACKAGE_PYTHON = flags.DEFINE_string(
    "package_python", None, "Python that has the musicnn package.", required=True
)
_NUM_FILES = flags.DEFINE_integer("num_files", 200, "Files that this program tags.")
_PACKAGE_FILES = flags.DEFINE_integer("package_files", 10, "Files that the package tags.")
_BATCH_WINDOWS = flags.DEFINE_integer("batch_windows", 16, "Windows a batch.")
_NUM_BATCHES = flags.DEFINE_integer("num_batches", 6, "Batches of windows.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each is measured.")
_OUTPUT = flags.DEFINE_string("output", "tag_speed.json", "File for all that was measured.")

WEIGHTS = "mtt_musicnn"
PACKAGE_SCRIPT = Path(__file__).with_name("musicnn_package.py")
COMPARED = (("ours", "package", "file"), ("ours_network", "tensorflow", "window"))

Seconds = dict[str, float]  # 'wall' and 'cpu', of one file or window


def ours_on_files(files: Sequence[Path], folder: Path) -> Seconds:
    """Returns the seconds of the whole command, by the number of files."""
    listed = written(folder / "ours.txt", files)
    command = [sys.executable, "-m", "deepgenre.main", "--mode=predict", f"--weights={WEIGHTS}"]
    command += [f"--files={listed}", f"--output={folder / 'ours.jsonl'}"]
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall / len(files), "cpu": cpu / len(files)}


def ours_on_windows(batches: np.ndarray) -> tuple[Seconds, np.ndarray]:
    """Returns seconds and probabilities of mel power, float16 (batches, windows, frames, bands)."""
    restored = weights.load(WEIGHTS)
    score, variables = compile_score_step(restored.spec), jax.device_put(restored.variables)
    score(variables, batches[0]).block_until_ready()
    wall, cpu = time.perf_counter(), time.process_time()
    said = [np.asarray(score(variables, batch)) for batch in batches]
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    count = batches.shape[0] * batches.shape[1]
    return {name: total / count for name, total in seconds.items()}, np.concatenate(said)


def package(what: str, path: Path, count: int) -> tuple[Seconds, np.ndarray]:
    """Returns likewise what the package's process says of `count` files or windows."""
    command = [_PACKAGE_PYTHON.value, PACKAGE_SCRIPT, what, path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"--package_python: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = {name: found[name] / count for name in ("wall", "cpu")}
    return seconds, np.array(found.get("probabilities", ()))


def windows_of(files: Sequence[Path]) -> np.ndarray:
    """Returns mel power, float16 (batches, windows, frames, bands), of the files' first windows."""
    spec = weights.load(WEIGHTS).spec
    shape = (_NUM_BATCHES.value, _BATCH_WINDOWS.value, spec.window_frames, spec.frontend.n_mels)
    found: list[np.ndarray] = []
    for file in files:
        power = front_end.levels(audio.load(file, spec.frontend.sample_rate_hz), spec.frontend)
        whole = power.shape[0] // spec.window_frames * spec.window_frames
        found += list(power[:whole].reshape(-1, *shape[2:]))
        if len(found) >= shape[0] * shape[1]:
            return np.stack(found[: shape[0] * shape[1]]).reshape(shape)
    raise UserError(f"--files: hold {len(found)} windows of 3 s, too few; give more")


def written(path: Path, files: Sequence[Path]) -> Path:
    """Returns `path`, a list of the files."""
    path.write_text("".join(f"{file.resolve()}\n" for file in files))
    return path


def measure(files: Sequence[Path], folder: Path) -> dict[str, list[Seconds]]:
    """Returns the seconds of a file or a window, by who worked: an entry a repeat."""
    batches = windows_of(files)
    np.save(folder / "windows.npy", np.log10(1 + 10_000 * batches.astype(np.float32)))
    few = written(folder / "package.txt", files[: _PACKAGE_FILES.value])
    num_windows = batches.shape[0] * batches.shape[1]
    found: dict[str, list[Seconds]] = {name: [] for pair in COMPARED for name in pair[:2]}
    for repeat in range(_REPEATS.value):
        found["ours"].append(ours_on_files(files, folder))
        found["package"].append(package("files", few, min(len(files), _PACKAGE_FILES.value))[0])
        seconds, theirs = package("windows", folder / "windows.npy", num_windows)
        found["tensorflow"].append(seconds)
        seconds, ours = ours_on_windows(batches)
        found["ours_network"].append(seconds)
        difference = np.abs(ours - theirs).max()
        print(f"repeat {repeat + 1}: probabilities differ by {difference:.1e} at most", flush=True)
    return found


def said(values: Sequence[float]) -> str:
    """Returns 'median (least-most)'."""
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def report(found: dict[str, list[Seconds]], clip_seconds: float) -> dict[str, list[float]]:
    """Prints medians and spreads; returns how many times faster ours is, a number a repeat."""
    ratios: dict[str, list[float]] = {}
    for ours, theirs, unit in COMPARED:
        for clock in ("wall", "cpu"):
            for name in (ours, theirs):
                seconds = [repeat[clock] for repeat in found[name]]
                print(f"{name}: {clock} seconds a {unit}: {said(seconds)}")
                if unit == "file" and clock == "wall":
                    rate = 1 / statistics.median(seconds)
                    print(f"{name}: {rate:.2f} songs/s, {rate * clip_seconds:.0f} x real time")
            pairs = zip(found[ours], found[theirs], strict=True)
            ratio = [right[clock] / left[clock] for left, right in pairs]
            ratios[f"{theirs} / {ours}, {clock}"] = ratio
            print(f"{theirs} / {ours}, {clock}: {said(ratio)}")
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes --output."""
    del argv
    log.quieten_libraries()
    try:
        files = expand(_FILES.value)[: _NUM_FILES.value]
        with tempfile.TemporaryDirectory() as folder:
            found = measure(files, Path(folder))
    except UserError as error:
        sys.exit(f"tag_speed: {error}")
    clip_seconds = statistics.mean(soundfile.info(file).duration for file in files)
    about = {"cores": os.cpu_count(), "jax": jax.__version__, "clip_seconds": clip_seconds}
    about |= {"files": len(files), "package_files": min(len(files), _PACKAGE_FILES.value)}
    result = {**about, "seconds": found, "ratios": report(found, clip_seconds)}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

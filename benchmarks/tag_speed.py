"""Tagging speed of deepgenre and of the musicnn package on the same files.

    python -m deepgenre.main --mode=import --source=musicnn
    python benchmarks/tag_speed.py --files=FOLDER --package_python=old/bin/python

The package requires an environment with old versions:

    python3.10 -m venv old
    old/bin/pip install tensorflow-cpu==2.10.1 'numpy<1.24' librosa==0.9.2 'setuptools<80'
    old/bin/pip install --no-deps musicnn==0.1.0

Measured alternately, --repeats times; the machine should be idle. Ours: the shipped `gtzan`, and
`mtt_musicnn`, which are the package's weights; the compile cache is filled before the measurements.
- a song by command: duration of a whole command. Ours `--mode=predict`, the package's
  `python -m musicnn.tagger`;
- a song when loaded: one call of ours after `deepgenre.load(...)`; one call of the package's
  `extractor`, which builds its graph and reads its weights in every call;
- a song of many: ours with one command on --num_songs songs, including its start; the package on
  --package_songs of them, without its start and imports;
- a window, network alone: the same windows in batches of --batch_windows, with the graph built and
  the program compiled before. Ours `mtt_musicnn`, the package in TensorFlow.

If --files have fewer than --num_songs songs, they are copied under other names, and each copy is
decoded and processed. 'wall' is the elapsed time; 'cpu' is the CPU time of all cores, which depends
less on other programs. Prints median (minimum-maximum) of each and writes everything to --output.
"""

import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import soundfile
from absl import app, flags

import deepgenre
from deepgenre import devices, log
from deepgenre.audio import frontend as front_end
from deepgenre.audio import waveforms
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_score_step
from deepgenre.inference import infer
from deepgenre.weights import loading

_FILES = flags.DEFINE_multi_string("files", None, "Files, folders or lists.", required=True)
_PACKAGE_PYTHON = flags.DEFINE_string(
    "package_python", None, "Python with the musicnn package.", required=True
)
_NUM_SONGS = flags.DEFINE_integer("num_songs", 200, "Songs for deepgenre.")
_PACKAGE_SONGS = flags.DEFINE_integer("package_songs", 5, "Songs for the package.")
_BATCH_WINDOWS = flags.DEFINE_integer("batch_windows", 16, "Windows per batch.")
_NUM_BATCHES = flags.DEFINE_integer("num_batches", 4, "Batches of windows.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Repeats of each measurement.")
_OUTPUT = flags.DEFINE_string("output", "tag_speed.json", "JSON file of all results.")

SHIPPED, SHARED, PACKAGE = "gtzan", "mtt_musicnn", "package"
CALLS = 10  # of a loaded tagger, per repeat
COMMAND, LOADED, MANY, WINDOW = (
    "a song by command",
    "a song when loaded",
    "a song of many",
    "a window, network alone",
)
PACKAGE_SCRIPT = Path(__file__).with_name("musicnn_package.py")

Seconds = dict[str, float]  # 'wall' and 'cpu'
Results = dict[str, dict[str, list[Seconds]]]  # by measurement and tagger: one per repeat


def time_command(command: Sequence[str | Path], count: int = 1) -> tuple[Seconds, str]:
    """Returns the seconds of a command divided by `count`, and its standard output."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise UserError(f"{command[0]}: {(process.stderr.strip().splitlines() or ['failed'])[-1]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall / count, "cpu": cpu / count}, process.stdout


def time_our_command(name: str, files: Sequence[Path], folder: Path) -> Seconds:
    """Returns the seconds per file of a whole command with weights `name`."""
    file_list = write_list(folder / "ours.txt", files)
    command = [sys.executable, "-m", "deepgenre.main", "--mode=predict", f"--weights={name}"]
    command += [f"--files={file_list}", f"--output={folder / 'ours.jsonl'}"]
    return time_command(command, len(files))[0]


def time_package(kind: str, path: Path, count: int) -> tuple[Seconds, np.ndarray]:
    """Returns the package's seconds per file or window, and the probabilities of windows."""
    output = time_command([_PACKAGE_PYTHON.value, PACKAGE_SCRIPT, kind, path])[1]
    results = json.loads(output.splitlines()[-1])
    seconds = {name: results[name] / count for name in ("wall", "cpu")}
    return seconds, np.array(results.get("probabilities", ()))


def time_call(function: Callable[[], Any], count: int) -> tuple[Seconds, Any]:
    """Returns the seconds of a call in this process divided by `count`, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {name: total / count for name, total in seconds.items()}, result


def windows_of(files: Sequence[Path]) -> np.ndarray:
    """Returns mel power, float16 (batches, windows, frames, bands), of the first windows."""
    spec = loading.load(SHARED).spec
    shape = (_NUM_BATCHES.value, _BATCH_WINDOWS.value, spec.window_frames, spec.frontend.n_mels)
    cut: list[np.ndarray] = []
    for file in files:
        power = front_end.levels(waveforms.load(file, spec.frontend.sample_rate_hz), spec.frontend)
        whole = power.shape[0] // spec.window_frames * spec.window_frames
        cut += list(power[:whole].reshape(-1, *shape[2:]))
        if len(cut) >= shape[0] * shape[1]:
            return np.stack(cut[: shape[0] * shape[1]]).reshape(shape)
    raise UserError(f"--files: {len(cut)} windows of 3 s are too few; give more files")


def write_list(path: Path, files: Sequence[Path]) -> Path:
    """Writes a list of the files to `path` and returns `path`."""
    path.write_text("".join(f"{file.absolute()}\n" for file in files))
    return path


def songs_of(files: Sequence[Path], folder: Path) -> list[Path]:
    """Returns --num_songs songs: copies of the files, cyclically.

    Copies, not links: predict processes a file only once even if several links point to it.
    """
    folder.mkdir()
    songs = [folder / f"{i:06d}{files[i % len(files)].suffix}" for i in range(_NUM_SONGS.value)]
    for song, file in zip(songs, itertools.cycle(files), strict=False):
        shutil.copyfile(file, song)
    return songs


def compile_batches(name: str) -> None:
    """Compiles the network for every batch size that a command may need, into the cache on disk."""
    weights = loading.load(name)
    spec, score = weights.spec, infer.compile_infer_batch(weights)
    shape = (spec.window_frames, spec.frontend.stored_bands)
    for power in range(infer.BATCH_WINDOWS.bit_length()):
        score(np.zeros((1 << power, *shape), spec.frontend.stored_dtype))


def measure_songs(files: Sequence[Path], folder: Path) -> Results:
    """Returns the seconds per song by command, when loaded, and of many."""
    songs = songs_of(files, folder / "songs")
    package_songs = list(files[: _PACKAGE_SONGS.value])
    file_list = write_list(folder / "package.txt", package_songs)
    tagger = [_PACKAGE_PYTHON.value, "-m", "musicnn.tagger", files[0], "--model", "MTT_musicnn"]
    loaded = {name: deepgenre.load(name) for name in (SHIPPED, SHARED)}
    calls = list(itertools.islice(itertools.cycle(songs), CALLS))
    results: Results = {measurement: {} for measurement in (COMMAND, LOADED, MANY)}

    def add(measurement: str, tagger: str, seconds: Seconds) -> None:
        results[measurement].setdefault(tagger, []).append(seconds)

    for name in loaded:
        compile_batches(name)
    for repeat in range(_REPEATS.value):
        for name, tag in loaded.items():
            add(COMMAND, name, time_our_command(name, songs[:1], folder))
            add(LOADED, name, time_call(lambda tag=tag: list(map(tag, calls)), CALLS)[0])
            add(MANY, name, time_our_command(name, songs, folder))
        add(COMMAND, PACKAGE, time_command([*tagger, "--print"])[0])
        seconds, _ = time_package("files", file_list, len(package_songs))
        add(LOADED, PACKAGE, seconds)
        add(MANY, PACKAGE, seconds)
        print(f"songs: repeat {repeat + 1} of {_REPEATS.value} done", flush=True)
    return results


def measure_windows(files: Sequence[Path], folder: Path) -> Results:
    """Returns the seconds per window of the networks; prints the difference of their outputs."""
    batches = windows_of(files)
    count = batches.shape[0] * batches.shape[1]
    np.save(folder / "windows.npy", np.log10(1 + 10_000 * batches.astype(np.float32)))
    weights = loading.load(SHARED)
    score, variables = compile_score_step(weights.spec), jax.device_put(weights.variables)
    score(variables, batches[0]).block_until_ready()
    results: dict[str, list[Seconds]] = {SHARED: [], PACKAGE: []}
    for _ in range(_REPEATS.value):
        seconds, ours = time_call(
            lambda: [np.asarray(score(variables, batch)) for batch in batches], count
        )
        results[SHARED].append(seconds)
        seconds, theirs = time_package("windows", folder / "windows.npy", count)
        results[PACKAGE].append(seconds)
        difference = np.abs(np.concatenate(ours) - theirs).max()
        print(f"windows: probabilities differ by at most {difference:.1e}", flush=True)
    return {WINDOW: results}


def median_and_range(values: Sequence[float]) -> str:
    """Returns 'median (minimum-maximum)'."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def report(results: Results, song_seconds: float) -> dict[str, list[float]]:
    """Prints medians and ranges; returns the package's times divided by ours, one per repeat."""
    ratios: dict[str, list[float]] = {}
    for measurement, by_tagger in results.items():
        print(f"{measurement}:")
        for tagger, repeats in by_tagger.items():
            wall, cpu = ([seconds[clock] for seconds in repeats] for clock in ("wall", "cpu"))
            line = f"  {tagger}: {median_and_range(wall)} s, cpu {median_and_range(cpu)} s"
            if measurement == MANY:
                rates = [1 / seconds for seconds in wall]
                speeds = [rate * song_seconds for rate in rates]
                line += f"; {median_and_range(rates)} songs/s, "
                line += f"{median_and_range(speeds)} x real time"
            print(line)
            if tagger != PACKAGE:
                for clock in ("wall", "cpu"):
                    pairs = zip(by_tagger[PACKAGE], repeats, strict=True)
                    ratio = [theirs[clock] / ours[clock] for theirs, ours in pairs]
                    ratios[f"{measurement}: {PACKAGE} / {tagger}, {clock}"] = ratio
    for name, ratio in ratios.items():
        print(f"{name}: {median_and_range(ratio)}")
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes --output."""
    del argv
    log.quieten_libraries()
    devices.set_up()
    try:
        files = expand(_FILES.value).files[: _NUM_SONGS.value]
        with tempfile.TemporaryDirectory() as folder:
            results = measure_songs(files, Path(folder)) | measure_windows(files, Path(folder))
    except UserError as error:
        sys.exit(f"tag_speed: {error}")
    song_seconds = statistics.mean(soundfile.info(file).duration for file in files)
    about = {"cores": len(os.sched_getaffinity(0)), "jax": jax.__version__}
    about |= {"songs": _NUM_SONGS.value, "files": len(files), "song_seconds": song_seconds}
    about |= {"package_songs": min(len(files), _PACKAGE_SONGS.value)}
    print(json.dumps(about))
    result = {**about, "seconds": results, "ratios": report(results, song_seconds)}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

"""How fast songs are tagged: this program beside the musicnn package, on the same files.

    python -m deepgenre.main --mode=import --source=musicnn
    python benchmarks/tag_speed.py --files=FOLDER --package_python=old/bin/python

The package wants an environment of its own time:

    python3.10 -m venv old
    old/bin/pip install tensorflow-cpu==2.10.1 'numpy<1.24' librosa==0.9.2 'setuptools<80'
    old/bin/pip install --no-deps musicnn==0.1.0

Measured in turn, --repeats times, on a machine that should have nothing else to do. Ours: the
shipped `gtzan`, and `mtt_musicnn`, the weights that the package has too; compiled code is on disk
before the clock starts.
- a song by command: from the command to its end. Ours `--mode=predict`, the package's
  `python -m musicnn.tagger`;
- a song when loaded: a call of ours by `deepgenre.load(...)`; a call of the package's `extractor`,
  which makes a graph and reads its weights in every call;
- a song of many: ours by one command on --num_songs songs, start included; the package on
  --package_songs of them, its start and imports not counted;
- a window, network alone: on the same windows in batches of --batch_windows, graph and program
  made before. Ours `mtt_musicnn` against TensorFlow.

Where --files hold less than --num_songs songs they are heard again, under other names: every time
from the file, decoding and all. 'wall' is what a user waits; 'cpu' is the time of all cores
together, which other programs on the machine change less. Prints median (least-most) of each and
writes everything to --output.
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
from deepgenre.evaluation.scoring import compile_score_step
from deepgenre.inference import infer
from deepgenre.weights import loading

_FILES = flags.DEFINE_multi_string("files", None, "Files, folders or lists.", required=True)
_PACKAGE_PYTHON = flags.DEFINE_string(
    "package_python", None, "Python that has the musicnn package.", required=True
)
_NUM_SONGS = flags.DEFINE_integer("num_songs", 200, "Songs that this program tags.")
_PACKAGE_SONGS = flags.DEFINE_integer("package_songs", 5, "Songs that the package tags.")
_BATCH_WINDOWS = flags.DEFINE_integer("batch_windows", 16, "Windows a batch.")
_NUM_BATCHES = flags.DEFINE_integer("num_batches", 4, "Batches of windows.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each is measured.")
_OUTPUT = flags.DEFINE_string("output", "tag_speed.json", "File for all that was measured.")

SHIPPED, SHARED, PACKAGE = "gtzan", "mtt_musicnn", "package"
CALLS = 10  # of a loaded tagger, at a time
COMMAND, LOADED, MANY, WINDOW = (
    "a song by command",
    "a song when loaded",
    "a song of many",
    "a window, network alone",
)
PACKAGE_SCRIPT = Path(__file__).with_name("musicnn_package.py")

Seconds = dict[str, float]  # 'wall' and 'cpu'
Found = dict[str, dict[str, list[Seconds]]]  # by what was measured and who worked: one a repeat


def of_command(command: Sequence[str | Path], count: int = 1) -> tuple[Seconds, str]:
    """Returns the seconds of a whole command, by `count`, and what it said on standard output."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall / count, "cpu": cpu / count}, done.stdout


def ours_on_files(name: str, files: Sequence[Path], folder: Path) -> Seconds:
    """Returns the seconds a file of the whole command."""
    listed = written(folder / "ours.txt", files)
    command = [sys.executable, "-m", "deepgenre.main", "--mode=predict", f"--weights={name}"]
    command += [f"--files={listed}", f"--output={folder / 'ours.jsonl'}"]
    return of_command(command, len(files))[0]


def package(what: str, path: Path, count: int) -> tuple[Seconds, np.ndarray]:
    """Returns likewise what the package's process says of `count` files or windows."""
    said = of_command([_PACKAGE_PYTHON.value, PACKAGE_SCRIPT, what, path])[1]
    found = json.loads(said.splitlines()[-1])
    seconds = {name: found[name] / count for name in ("wall", "cpu")}
    return seconds, np.array(found.get("probabilities", ()))


def in_process(work: Callable[[], Any], count: int) -> tuple[Seconds, Any]:
    """Returns the seconds of work of this process, by `count`, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {name: total / count for name, total in seconds.items()}, made


def windows_of(files: Sequence[Path]) -> np.ndarray:
    """Returns mel power, float16 (batches, windows, frames, bands), of the files' first windows."""
    spec = loading.load(SHARED).spec
    shape = (_NUM_BATCHES.value, _BATCH_WINDOWS.value, spec.window_frames, spec.frontend.n_mels)
    found: list[np.ndarray] = []
    for file in files:
        power = front_end.levels(waveforms.load(file, spec.frontend.sample_rate_hz), spec.frontend)
        whole = power.shape[0] // spec.window_frames * spec.window_frames
        found += list(power[:whole].reshape(-1, *shape[2:]))
        if len(found) >= shape[0] * shape[1]:
            return np.stack(found[: shape[0] * shape[1]]).reshape(shape)
    raise UserError(f"--files: hold {len(found)} windows of 3 s, too few; give more")


def written(path: Path, files: Sequence[Path]) -> Path:
    """Returns `path`, a list of the files."""
    path.write_text("".join(f"{file.absolute()}\n" for file in files))
    return path


def songs_of(files: Sequence[Path], folder: Path) -> list[Path]:
    """Returns as many songs as asked for: the files, again and again as copies of them.

    No links: predict hears a file once, however many lead to it.
    """
    folder.mkdir()
    songs = [folder / f"{i:06d}{files[i % len(files)].suffix}" for i in range(_NUM_SONGS.value)]
    for song, file in zip(songs, itertools.cycle(files), strict=False):
        shutil.copyfile(file, song)
    return songs


def compile_batches(name: str) -> None:
    """Compiles the network for every size of batch that a command may need; kept on disk."""
    weights = loading.load(name)
    spec, score = weights.spec, infer.scorer(weights)
    shape = (spec.window_frames, spec.frontend.stored_bands)
    for power in range(infer.BATCH_WINDOWS.bit_length()):
        score(np.zeros((1 << power, *shape), spec.frontend.stored_dtype))


def measure_songs(files: Sequence[Path], folder: Path) -> Found:
    """Returns the seconds a song, by command, when loaded, and of many."""
    songs = songs_of(files, folder / "songs")
    few = list(files[: _PACKAGE_SONGS.value])
    listed = written(folder / "package.txt", few)
    tagger = [_PACKAGE_PYTHON.value, "-m", "musicnn.tagger", files[0], "--model", "MTT_musicnn"]
    loaded = {name: deepgenre.load(name) for name in (SHIPPED, SHARED)}
    calls = list(itertools.islice(itertools.cycle(songs), CALLS))
    found: Found = {what: {} for what in (COMMAND, LOADED, MANY)}

    def note(what: str, who: str, seconds: Seconds) -> None:
        found[what].setdefault(who, []).append(seconds)

    for name in loaded:
        compile_batches(name)
    for repeat in range(_REPEATS.value):
        for name, tag in loaded.items():
            note(COMMAND, name, ours_on_files(name, songs[:1], folder))
            note(LOADED, name, in_process(lambda tag=tag: list(map(tag, calls)), CALLS)[0])
            note(MANY, name, ours_on_files(name, songs, folder))
        note(COMMAND, PACKAGE, of_command([*tagger, "--print"])[0])
        seconds, _ = package("files", listed, len(few))
        note(LOADED, PACKAGE, seconds)
        note(MANY, PACKAGE, seconds)
        print(f"songs: repeat {repeat + 1} of {_REPEATS.value} done", flush=True)
    return found


def measure_windows(files: Sequence[Path], folder: Path) -> Found:
    """Returns the seconds a window of the networks alone; says how far they are from each other."""
    batches = windows_of(files)
    count = batches.shape[0] * batches.shape[1]
    np.save(folder / "windows.npy", np.log10(1 + 10_000 * batches.astype(np.float32)))
    weights = loading.load(SHARED)
    score, variables = compile_score_step(weights.spec), jax.device_put(weights.variables)
    score(variables, batches[0]).block_until_ready()
    found: dict[str, list[Seconds]] = {SHARED: [], PACKAGE: []}
    for _ in range(_REPEATS.value):
        seconds, ours = in_process(
            lambda: [np.asarray(score(variables, batch)) for batch in batches], count
        )
        found[SHARED].append(seconds)
        seconds, theirs = package("windows", folder / "windows.npy", count)
        found[PACKAGE].append(seconds)
        difference = np.abs(np.concatenate(ours) - theirs).max()
        print(f"windows: probabilities differ by {difference:.1e} at most", flush=True)
    return {WINDOW: found}


def said(values: Sequence[float]) -> str:
    """Returns 'median (least-most)'."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def report(found: Found, song_seconds: float) -> dict[str, list[float]]:
    """Prints medians and spreads; returns how many times faster ours is, a number a repeat."""
    ratios: dict[str, list[float]] = {}
    for what, whose in found.items():
        print(f"{what}:")
        for who, repeats in whose.items():
            wall, cpu = ([seconds[clock] for seconds in repeats] for clock in ("wall", "cpu"))
            line = f"  {who}: {said(wall)} s, cpu {said(cpu)} s"
            if what == MANY:
                rates = [1 / seconds for seconds in wall]
                line += f"; {said(rates)} songs/s, {said([r * song_seconds for r in rates])} x real"
            print(line)
            if who != PACKAGE:
                for clock in ("wall", "cpu"):
                    pairs = zip(whose[PACKAGE], repeats, strict=True)
                    ratio = [theirs[clock] / ours[clock] for theirs, ours in pairs]
                    ratios[f"{what}: {PACKAGE} / {who}, {clock}"] = ratio
    for name, ratio in ratios.items():
        print(f"{name}: {said(ratio)}")
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes --output."""
    del argv
    log.quieten_libraries()
    devices.set_up(None, 1, 0)
    try:
        files = expand(_FILES.value)[: _NUM_SONGS.value]
        with tempfile.TemporaryDirectory() as folder:
            found = measure_songs(files, Path(folder)) | measure_windows(files, Path(folder))
    except UserError as error:
        sys.exit(f"tag_speed: {error}")
    song_seconds = statistics.mean(soundfile.info(file).duration for file in files)
    about = {"cores": len(os.sched_getaffinity(0)), "jax": jax.__version__}
    about |= {"songs": _NUM_SONGS.value, "files": len(files), "song_seconds": song_seconds}
    about |= {"package_songs": min(len(files), _PACKAGE_SONGS.value)}
    print(json.dumps(about))
    result = {**about, "seconds": found, "ratios": report(found, song_seconds)}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

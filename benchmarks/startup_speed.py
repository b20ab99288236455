"""How long a command takes to its first result: cold, and with the compile cache.

    python benchmarks/startup_speed.py

Starts real commands as processes of their own, --repeats times, and measures from outside:
- predict: `--mode=predict` with the shipped weights on one song, until its line of tags stands on
  standard output;
- train: `--config` on prepared spectrograms of GTZAN's size, until the loss of its first step
  stands in metrics.jsonl.
The process is then killed. 'cold' is with an empty compile cache; 'warm' is the same command again,
with what the first left. Files lie in the system's cache both times. Then the same ways are taken
apart, warm (`startup_stages.py`). The song and the spectrograms are noise, made here: what they
hold changes no time. --song and --data_dir take real ones.

'wall' is what a user waits, 'cpu' the time of all cores together until then. Prints
median (least-most) of each and writes everything to --output.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import soundfile
from absl import app, flags

from deepgenre.errors import UserError

_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each is measured, cold and warm.")
_SONG = flags.DEFINE_string("song", None, "A song to predict; default: 30 s of noise.")
_CONFIG = flags.DEFINE_string("config", "configs/gtzan.py", "What to train.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data to train on; default: noise as .npz.")
_OUTPUT = flags.DEFINE_string("output", "startup_speed.json", "File for all that was measured.")

STAGES_SCRIPT = Path(__file__).with_name("startup_stages.py")
PATIENCE_SECONDS = 300  # a command that says nothing for so long is stuck
POLL_SECONDS = 0.002
CLIPS, FRAMES, BANDS = 64, 387, 128  # of the noise to train on: a clip is as long as GTZAN's
GENRES = ("blues", "classical", "country", "disco")

Seconds = dict[str, float]
Found = dict[str, list[Seconds]]


def noise_song(folder: Path) -> Path:
    """Returns a wav of 30 s of noise, mono, at 22,050 Hz."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 22_050)
    soundfile.write(folder / "noise.wav", samples, 22_050)
    return folder / "noise.wav"


def noise_spectrograms(folder: Path) -> Path:
    """Returns an .npz of spectrograms of noise, as `--data_dir` of the dataset gtzan takes it."""
    mel = np.random.default_rng(0).integers(0, 256, (CLIPS, FRAMES, BANDS), np.uint8)
    names = [f"{GENRES[clip % len(GENRES)]}.{clip:05d}" for clip in range(CLIPS)]
    np.savez(folder / "noise.npz", mel=mel, name=names)
    return folder / "noise.npz"


def seconds_until(
    arguments: Sequence[str], cache: Path, is_there: Callable[[subprocess.Popen[str]], bool]
) -> Seconds:
    """Returns 'wall' and 'cpu' seconds of a deepgenre command until `is_there` says so."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "deepgenre.main", *arguments],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            found = is_there(process)
            wall = time.perf_counter() - begun
        finally:
            process.kill()  # no harm where it has ended
            process.communicate()
        if not found:
            errors.seek(0)
            raise UserError((errors.read().strip().splitlines() or ["nothing was said"])[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}


def predicted(process: subprocess.Popen[str]) -> bool:
    """Returns, with the first line on standard output, whether there was one."""
    assert process.stdout
    return bool(process.stdout.readline().strip())


def stepped(workdir: Path) -> Callable[[subprocess.Popen[str]], bool]:
    """Returns the function that returns when the first step is logged; False where it never is."""

    def is_there(process: subprocess.Popen[str]) -> bool:
        metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + PATIENCE_SECONDS
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    return is_there


def stages(what: str, arguments: Sequence[str], cache: Path) -> Seconds:
    """Returns the seconds of each stage, by name, with this compile cache."""
    done = subprocess.run(
        [sys.executable, STAGES_SCRIPT, what, repr(time.time()), *arguments],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or [f"stages of {what} failed"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, song: Path, data_dir: Path) -> tuple[Found, Found]:
    """Returns, an entry a repeat, seconds to first results, and the seconds of the warm stages."""
    predicting = ["--mode=predict", f"--files={song}"]
    training = [f"--config={_CONFIG.value}", f"--data_dir={data_dir}", "--config.num_epochs=2"]
    training += [f"--config.store_dir={folder / 'store'}", "--config.log_every_steps=1"]
    run = [sys.executable, "-m", "deepgenre.main", "--mode=prepare", *training]
    if subprocess.run(run, capture_output=True).returncode:
        raise UserError(f"--data_dir: {data_dir} could not be prepared for {_CONFIG.value}")
    found: Found = {}
    apart: Found = {"predict": [], "train": []}
    for repeat in range(_REPEATS.value):
        cache = folder / f"compiled-{repeat}"
        for heat in ("cold", "warm"):
            workdir = folder / f"run-{repeat}-{heat}"
            train = [*training, f"--workdir={workdir}"]
            for name, arguments, is_there in (
                ("predict", predicting, predicted),
                ("train", train, stepped(workdir)),
            ):
                seconds = seconds_until(arguments, cache, is_there)
                found.setdefault(f"{name}, {heat}", []).append(seconds)
        apart["predict"].append(stages("predict", [str(song)], cache))
        workdir = folder / f"stages-{repeat}"
        apart["train"].append(stages("train", [*training, f"--workdir={workdir}"], cache))
        print(f"repeat {repeat + 1} of {_REPEATS.value} done", flush=True)
    return found, apart


def said(values: Sequence[float]) -> str:
    """Returns 'median (least-most)'."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def report(found: Found, apart: Found) -> None:
    """Prints medians and spreads."""
    for name, repeats in sorted(found.items()):
        wall, cpu = ([seconds[clock] for seconds in repeats] for clock in ("wall", "cpu"))
        print(f"{name}: {said(wall)} s, cpu {said(cpu)} s")
    for name, repeats in apart.items():
        print(f"{name}, warm, stage by stage:")
        for stage in repeats[0]:
            print(f"  {stage}: {said([seconds[stage] for seconds in repeats])} s")


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes --output."""
    del argv
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            song = Path(_SONG.value) if _SONG.value else noise_song(folder)
            data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else noise_spectrograms(folder)
            found, apart = measure(folder, song, data_dir)
    except UserError as error:
        sys.exit(f"startup_speed: {error}")
    report(found, apart)
    about = {"cores": len(os.sched_getaffinity(0)), "jax": jax.__version__, "config": _CONFIG.value}
    result = {**about, "seconds": found, "stages": apart}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

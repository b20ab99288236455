"""Time from the start of a command to its first result, cold and with the compile cache.

    python benchmarks/startup_speed.py

Runs the real commands in separate processes, --repeats times:
- predict: `--mode=predict` with the shipped weights on one song, until the line with its tags is on
  standard output;
- train: `--config` on prepared spectrograms of GTZAN's size, until the loss of the first step is in
  metrics.jsonl.
The process is then killed. 'cold' uses an empty compile cache; 'warm' is the same command again
with the cache of the cold run. Files are in the system's page cache both times. Then the stages of
both commands are measured, warm (`startup_stages.py`). The song and the spectrograms are generated
noise, as their content does not affect the times; --song and --data_dir take real ones.

'wall' is the elapsed time, 'cpu' the CPU time of all cores until then. Prints median
(minimum-maximum) of each and writes everything to --output.
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

_REPEATS = flags.DEFINE_integer("repeats", 3, "Repeats of each measurement, cold and warm.")
_SONG = flags.DEFINE_string("song", None, "Song to predict; default: 30 s of noise.")
_CONFIG = flags.DEFINE_string("config", "configs/gtzan.py", "Config to train.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data to train on; default: noise as .npz.")
_OUTPUT = flags.DEFINE_string("output", "startup_speed.json", "JSON file of all results.")

STAGES_SCRIPT = Path(__file__).with_name("startup_stages.py")
TIMEOUT_SECONDS = 300  # without a first training step
POLL_SECONDS = 0.002
CLIPS, FRAMES, BANDS = 64, 387, 128  # of the noise to train on; FRAMES as in GTZAN
GENRES = ("blues", "classical", "country", "disco")

Seconds = dict[str, float]
Results = dict[str, list[Seconds]]  # one entry per repeat


def noise_song(folder: Path) -> Path:
    """Writes 30 s of mono noise at 22,050 Hz; returns the WAV file."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 22_050)
    soundfile.write(folder / "noise.wav", samples, 22_050)
    return folder / "noise.wav"


def noise_spectrograms(folder: Path) -> Path:
    """Writes spectrograms of noise for the dataset gtzan; returns the .npz file."""
    mel = np.random.default_rng(0).integers(0, 256, (CLIPS, FRAMES, BANDS), np.uint8)
    names = [f"{GENRES[clip % len(GENRES)]}.{clip:05d}" for clip in range(CLIPS)]
    np.savez(folder / "noise.npz", mel=mel, name=names)
    return folder / "noise.npz"


def seconds_until(
    arguments: Sequence[str], cache: Path, wait: Callable[[subprocess.Popen[str]], bool]
) -> Seconds:
    """Returns 'wall' and 'cpu' seconds of a deepgenre command until `wait` returns."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "deepgenre.main", *arguments],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            succeeded = wait(process)
            wall = time.perf_counter() - start
        finally:
            process.kill()  # no effect if it has ended
            process.communicate()
        if not succeeded:
            errors.seek(0)
            raise UserError((errors.read().strip().splitlines() or ["no output"])[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}


def wait_for_prediction(process: subprocess.Popen[str]) -> bool:
    """Waits for the first line on standard output; returns False if the process ends without."""
    assert process.stdout
    return bool(process.stdout.readline().strip())


def wait_for_step(workdir: Path) -> Callable[[subprocess.Popen[str]], bool]:
    """Returns a function that waits for the first logged step; it returns False on failure."""

    def wait(process: subprocess.Popen[str]) -> bool:
        metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + TIMEOUT_SECONDS
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    return wait


def stages(command: str, arguments: Sequence[str], cache: Path) -> Seconds:
    """Returns the seconds of each stage of a command, by name, with this compile cache."""
    process = subprocess.run(
        [sys.executable, STAGES_SCRIPT, command, repr(time.time()), *arguments],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"stages of {command} failed"]
        raise UserError(lines[-1])
    return json.loads(process.stdout.splitlines()[-1])


def measure(folder: Path, song: Path, data_dir: Path) -> tuple[Results, Results]:
    """Returns the seconds to the first result, and the seconds of the stages, warm."""
    predict_arguments = ["--mode=predict", f"--files={song}"]
    training = [f"--config={_CONFIG.value}", f"--data_dir={data_dir}", "--config.num_epochs=2"]
    training += [f"--config.store_dir={folder / 'store'}", "--config.log_every_steps=1"]
    command = [sys.executable, "-m", "deepgenre.main", "--mode=prepare", *training]
    if subprocess.run(command, capture_output=True).returncode:
        raise UserError(f"--data_dir: {data_dir} could not be prepared for {_CONFIG.value}")
    results: Results = {}
    stage_results: Results = {"predict": [], "train": []}
    for repeat in range(_REPEATS.value):
        cache = folder / f"compiled-{repeat}"
        for state in ("cold", "warm"):
            workdir = folder / f"run-{repeat}-{state}"
            run_arguments = [*training, f"--workdir={workdir}"]
            for name, arguments, wait in (
                ("predict", predict_arguments, wait_for_prediction),
                ("train", run_arguments, wait_for_step(workdir)),
            ):
                seconds = seconds_until(arguments, cache, wait)
                results.setdefault(f"{name}, {state}", []).append(seconds)
        stage_results["predict"].append(stages("predict", [str(song)], cache))
        workdir = folder / f"stages-{repeat}"
        stage_results["train"].append(stages("train", [*training, f"--workdir={workdir}"], cache))
        print(f"repeat {repeat + 1} of {_REPEATS.value} done", flush=True)
    return results, stage_results


def median_and_range(values: Sequence[float]) -> str:
    """Returns 'median (minimum-maximum)'."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def report(results: Results, stage_results: Results) -> None:
    """Prints medians and ranges."""
    for name, repeats in sorted(results.items()):
        wall, cpu = ([seconds[clock] for seconds in repeats] for clock in ("wall", "cpu"))
        print(f"{name}: {median_and_range(wall)} s, cpu {median_and_range(cpu)} s")
    for name, repeats in stage_results.items():
        print(f"{name}, warm, by stage:")
        for stage in repeats[0]:
            seconds = median_and_range([seconds[stage] for seconds in repeats])
            print(f"  {stage}: {seconds} s")


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes --output."""
    del argv
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            song = Path(_SONG.value) if _SONG.value else noise_song(folder)
            data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else noise_spectrograms(folder)
            results, stage_results = measure(folder, song, data_dir)
    except UserError as error:
        sys.exit(f"startup_speed: {error}")
    report(results, stage_results)
    about = {"cores": len(os.sched_getaffinity(0)), "jax": jax.__version__, "config": _CONFIG.value}
    result = {**about, "seconds": results, "stages": stage_results}
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

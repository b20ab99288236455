"""Seconds and peak memory of whole `predict` commands: by number, length and cores.

    python benchmarks/predict_scaling.py --songs=1,10,100,1000 --minutes=0.5,5,60 --cores=1,2

Songs are wav files of *synthetic* noise, 22,050 Hz, 30 s long where their number varies. The code
is compiled before the measurements. Memory is that of the command and its worker processes, at
their highest sum, sampled every 50 ms. Writes a row per command to --output, for
`scaling_figure.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import soundfile
from absl import app, flags

from deepgenre.files import replacing

_SONGS = flags.DEFINE_list("songs", ["1", "10", "100", "1000"], "Numbers of songs.")
_MINUTES = flags.DEFINE_list("minutes", ["0.5", "5", "60"], "Lengths of one song.")
_CORES = flags.DEFINE_list("cores", [str(os.cpu_count())], "Numbers of cores.")
_WEIGHTS = flags.DEFINE_list("weights", ["gtzan"], "Weights.")
_OUTPUT = flags.DEFINE_string("output", "predict_scaling.json", "JSON file of the rows.")

RATE_HZ = 22_050
SECONDS = 30.0  # of each of several songs


def write_song(path: Path, seconds: float) -> None:
    """Writes noise whose level changes every second."""
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(round(seconds)):
            file.write(generator.uniform(0.05, 0.9) * generator.uniform(-1, 1, RATE_HZ))


def folder_of(base: Path, songs: int, seconds: float) -> Path:
    """Returns a folder of hard links to one song."""
    folder = base / f"{songs} of {seconds:g} s"
    folder.mkdir()
    write_song(folder / "0.wav", seconds)
    for number in range(1, songs):
        os.link(folder / "0.wav", folder / f"{number}.wav")
    return folder


def memory_of(process: psutil.Process) -> int:
    """Returns the bytes of a process and its descendants that are no one else's."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().uss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # ended in between
    return total


def measured(weights: str, folder: Path, cores: int) -> tuple[float, float]:
    """Returns seconds and peak MB of a command on the folder."""
    command = [sys.executable, "-m", "deepgenre.main", "predict", str(folder), "--quiet"]
    output = folder.parent / "out.jsonl"
    output.unlink(missing_ok=True)
    command += [f"--weights={weights}", f"--output={output}"]
    available = sorted(os.sched_getaffinity(0))[:cores]
    start, peak, done = time.perf_counter(), [0], threading.Event()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, available),
    )

    def sample() -> None:
        while not done.wait(0.05):
            try:
                peak[0] = max(peak[0], memory_of(psutil.Process(process.pid)))
            except psutil.NoSuchProcess:
                return

    sampler = threading.Thread(target=sample)
    sampler.start()
    code = process.wait()
    seconds = time.perf_counter() - start
    done.set()
    sampler.join()
    if code:
        sys.exit(f"predict_scaling: the command exited with {code}: {' '.join(command)}")
    return seconds, peak[0] / 1e6


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes every row."""
    del argv
    cases = [(int(songs), SECONDS, "songs") for songs in _SONGS.value]
    cases += [(1, 60 * float(minutes), "length") for minutes in _MINUTES.value]
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        for songs, seconds, varied in cases:
            folder = Path(name) / varied
            folder.mkdir(exist_ok=True)
            folder = folder_of(folder, songs, seconds)
            for weights in _WEIGHTS.value:
                measured(weights, folder, max(map(int, _CORES.value))) if songs == 1 else None
                for cores in map(int, _CORES.value):
                    elapsed, peak_mb = measured(weights, folder, cores)
                    rows.append({"weights": weights, "varied": varied, "songs": songs})
                    rows[-1] |= {"song_seconds": seconds, "cores": cores}
                    rows[-1] |= {"seconds": round(elapsed, 2), "peak_mb": round(peak_mb)}
                    print(json.dumps(rows[-1]), flush=True)
                    with replacing(Path(_OUTPUT.value)) as temporary:
                        temporary.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)

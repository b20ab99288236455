"""Predicts, and prepares, a library of many names of which a tenth is broken; measures both.

    python benchmarks/many_bad_files.py [--names=100000] [--bad=10000] [--modes=predict,prepare]
        [--folder=DIR]

predict: all but the bad files are in the output already (rows written by the harness, not by a
network), so that what is measured is listing, comparing and failing; prepare: all names are
decoded. Good names are hard links of one *synthetic* tone of 0.1 s per folder of 1,000. Exits with
1 unless the mode exits with 1 and names every bad file, on the terminal and in the summary.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 22_050
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--bad", type=int, default=10_000)
    parser.add_argument("--modes", default="predict,prepare")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    print("| mode | names | bad | seconds | peak MiB | MiB printed | named bad | exit code |")
    print("| --- " * 8 + "|", flush=True)
    is_fine = True
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        bad = compose(folder / "music", given.names, given.bad)
        for mode in given.modes.split(","):
            is_fine &= measured(mode, folder, given.names, bad)
    return int(not is_fine)


def compose(music: Path, num_names: int, num_bad: int) -> list[Path]:
    """Writes the library; returns the bad files."""
    rng = random.Random(0)
    chosen = {*rng.sample(range(num_names), num_bad)}
    times = np.arange(RATE_HZ // 10) / RATE_HZ
    bad = []
    for number in range(num_names):
        folder = music / f"genre{number % 2}" / f"{number // 1000:03d}"
        path = folder / f"{number:06d}.wav"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            pitch_hz = 110 + number % 2 * 770
            soundfile.write(folder / "first.wav", np.sin(2 * np.pi * pitch_hz * times), RATE_HZ)
        if number not in chosen:
            os.link(folder / "first.wav", path)
            continue
        whole = (folder / "first.wav").read_bytes()
        broken = [b"", b"no music", rng.randbytes(400), whole[:20], b"\0" * 400, b"ID3" + whole[4:]]
        path.write_bytes(broken[len(bad) % len(broken)])
        bad.append(path)
    for first in music.rglob("first.wav"):
        first.unlink()
    return bad


def write_rows(folder: Path, bad: list[Path]) -> None:
    """Writes the output of an earlier run that lacks the bad files."""
    from deepgenre.files import fingerprint
    from deepgenre.inference import predict
    from deepgenre.inference.prediction_files import writer
    from deepgenre.inference.prediction_files.rows import Layout, Prediction, Result
    from deepgenre.weights import loading

    weights = {"": loading.load("gtzan")}
    made_with = predict.identity_of(weights, predict.Options())
    missing = {*bad}
    layout = Layout({"": weights[""].spec.classes})
    scores = np.full(len(layout.networks[""]), 0.1, np.float32)
    with writer.open_new(folder / "o.jsonl", layout, made_with, {}) as (_, add):
        for path in sorted((folder / "music").rglob("*.wav")):
            if path not in missing:
                add(Prediction(path, fingerprint(path), (Result(scores, ("rock",)),), seconds=0.1))


def measured(mode: str, folder: Path, num_names: int, bad: list[Path]) -> bool:
    """Runs a mode, prints a row; returns whether it named every bad file and exited with 1."""
    summary = f"--summary={folder / mode}.json"
    command = ["predict", str(folder / "music"), f"--output={folder / 'o.jsonl'}", "--resume"]
    if mode == "predict":
        write_rows(folder, bad)
    else:
        config = f"--config={ROOT / 'configs/folder.py'}"
        places = [f"--data_dir={folder / 'music'}", f"--config.store_dir={folder / 'store'}"]
        command = ["prepare", config, *places, "--config.prepare_workers=1"]
    printed = folder / f"{mode}.txt"
    program = [sys.executable, "-m", "deepgenre.main", *command, summary]
    started = time.monotonic()
    with printed.open("wb") as stream:
        process = subprocess.Popen(program, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    seconds, code = time.monotonic() - started, os.waitstatus_to_exitcode(status)
    text = printed.read_text(errors="replace")
    failures = json.loads(Path(summary.partition("=")[2]).read_text())["failures"]
    listed = "\n".join(message for kind in failures for message in kind["messages"])
    named = [sum(path.name in found for path in bad) for found in map(names_in, (text, listed))]
    print(
        f"| {mode} | {num_names} | {len(bad)} | {seconds:.0f} | {usage.ru_maxrss / 1024:.0f} | "
        f"{printed.stat().st_size / 2**20:.1f} | {named[0]}, {named[1]} | {code} |", flush=True,
    )  # fmt: skip
    shutil.rmtree(folder / "store", ignore_errors=True)
    return code == 1 and named == [len(bad)] * 2


def names_in(text: str) -> set[str]:
    """Returns the names of files in a text."""
    return {*re.findall(r"\d{6}\.wav", text)}


if __name__ == "__main__":
    sys.exit(main())

"""Kills `predict --resume` and `organize --write` at random moments, and resumes them.

Compares what they leave with what one uninterrupted run leaves: rows of the output, playlists, and
the bytes of every song. Prints one line per mode; exits with 1 where something differs.

    python benchmarks/interrupted_runs.py --files=MP3S --num_files=300 --kills=20
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

FILES = flags.DEFINE_string("files", None, "folder of audio files", required=True)
NUM_FILES = flags.DEFINE_integer("num_files", 300, "files of the run")
KILLS = flags.DEFINE_integer("kills", 20, "times that a run is killed")
SIGNAL = flags.DEFINE_enum("signal", "SIGKILL", ["SIGKILL", "SIGTERM"], "what ends it")
SEED = flags.DEFINE_integer("seed", 0, "of the moments")
SCORE_TOLERANCE = 2e-6  # another batch size: other rounding


def command(*arguments: str) -> list[str]:
    """Returns the command line of a mode."""
    return [sys.executable, "-m", "deepgenre.main", *arguments]


def run_through(arguments: Sequence[str]) -> float:
    """Runs a command to its end; returns seconds."""
    start = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.monotonic() - start


def run_killed(arguments: Sequence[str], seconds: float, rng: random.Random) -> int:
    """Kills a command at random moments, then runs it to its end; returns the number of kills."""
    signalled = 0
    while signalled < KILLS.value:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.05, 1) * seconds / 4)
        except subprocess.TimeoutExpired:
            process.send_signal(getattr(signal, SIGNAL.value))
            process.wait()
            signalled += 1
        else:
            break  # it was finished
    run_through(arguments)
    return signalled


def rows(path: Path, root: Path) -> dict[str, dict]:
    """Returns the rows of an output by relative path, without times."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {str(Path(line.pop("path")).relative_to(root)): line for line in lines}
    if len(found) != len(lines):
        raise SystemExit(f"{path}: a song has two rows")
    for line in found.values():
        line.pop("mtime_ns")
    return found


def differences(plain: dict[str, dict], resumed: dict[str, dict]) -> int:
    """Returns the number of rows that differ by more than rounding."""
    count = len(plain.keys() ^ resumed.keys())
    for name in plain.keys() & resumed.keys():
        one, other = dict(plain[name]), dict(resumed[name])
        scores, others = one.pop("scores"), other.pop("scores")
        largest = max(abs(scores[label] - others[label]) for label in scores)
        count += one != other or largest > SCORE_TOLERANCE
    return count


def copy_library(folder: Path) -> Path:
    """Copies the files, as often as it takes, into a folder; returns it."""
    sources = sorted(path for path in Path(FILES.value).rglob("*") if path.is_file())
    folder.mkdir()
    for index in range(NUM_FILES.value):
        source = sources[index % len(sources)]
        shutil.copyfile(source, folder / f"{index:05d}{source.suffix}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of each file in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def predict(work: Path, rng: random.Random) -> bool:
    """Compares the outputs of mode predict; returns whether they are equal."""
    library = copy_library(work / "songs")
    plain, resumed = work / "plain.jsonl", work / "resumed.jsonl"
    seconds = run_through(command("predict", str(library), f"--output={plain}", "--resume"))
    arguments = command("predict", str(library), f"--output={resumed}", "--resume")
    kills = run_killed(arguments, seconds, rng)
    differing = differences(rows(plain, library), rows(resumed, library))
    left = [path.name for path in work.iterdir() if ".part" in path.name]
    print(f"predict: {NUM_FILES.value} files, {kills} kills, {differing} rows differ, left {left}")
    return not differing and not left


def organize(work: Path, rng: random.Random) -> bool:
    """Compares songs and playlists of mode organize; returns whether they are equal."""
    results = []
    for name in ("plain", "resumed"):
        library, output = copy_library(work / "library"), work / name
        arguments = command("organize", str(library), f"--output={output}", "--write")
        kills = 0
        if name == "plain":
            seconds = run_through(arguments)
        else:
            kills = run_killed(arguments, seconds, rng)
        lists = {path.name: path.read_bytes() for path in output.glob("*.m3u8")}
        results.append((contents(library), lists))
        library.rename(work / f"library-{name}")
    (songs, lists), (other_songs, other_lists) = results
    differing = sum(songs[name] != other_songs.get(name) for name in songs)
    extra = sorted(other_songs.keys() - songs.keys())
    print(
        f"organize --write: {len(songs)} files, {kills} kills, {differing} songs differ, "
        f"left over {extra}, playlists {'equal' if lists == other_lists else 'differ'}"
    )
    return not differing and not extra and lists == other_lists


def main(_: Sequence[str]) -> None:
    """Runs both modes."""
    rng = random.Random(SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        equal = [mode(Path(folder), rng) for mode in (predict, organize)]
    sys.exit(not all(equal))


if __name__ == "__main__":
    app.run(main)

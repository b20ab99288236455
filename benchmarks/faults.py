"""Injects faults into runs, and counts what became of each: unattended, for hours if need be.

    python benchmarks/faults.py [--count=200] [--seed=0] [--modes=prepare,train,...]
        [--faults=kill,...] [--output=faults.jsonl]

A run is disturbed at a random moment, or its files are damaged afterwards; then the same command
runs again, undisturbed. Faults: kill (SIGKILL), term (SIGTERM), interrupt (SIGINT), full (a full
disk; needs root, which mounts a small tmpfs), torn (a written file ends early), flip (one bit of a
written file). Outcomes:

    equal      after the same command again, all results are those of an undisturbed run (scores and
               vectors to 1e-2, as batches of other sizes are rounded otherwise)
    refused    a message of one line names the damage; nothing was changed by it
    text       a bit of a text without checksums (playlists, reports) is as it was flipped
    WRONG      anything else: a wrong number, a changed song, a file left behind, a traceback

Prints a table; exits with 1 if any outcome is WRONG. Each process is forked from this one, which
has loaded the libraries, so that a fault costs a second or two.
"""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
RATE_HZ = 22_050
GENRES = {"low": 110, "mid": 880, "high": 5000}
TIMEOUT_SECONDS = 300
TOLERANCE = 1e-2  # of the largest number: by which batches of other sizes change embeddings
TRAIN = (
    f"--config={ROOT / 'configs/folder.py'}", "--config.batch_size=8", "--config.num_epochs=4",
    "--config.window_seconds=1.5", "--config.log_every_steps=1", "--config.frontend.hop_length=128",
    "--config.frontend.n_mels=16", "--config.frontend.n_fft=1024", "--config.frontend.n_mfcc=8",
)  # fmt: skip
UNCHECKED = (".m3u8", ".md")  # texts, whose values nothing verifies


@dataclasses.dataclass(frozen=True)
class Results:
    """What a run gave: a digest of what must be equal, and numbers that may be rounded otherwise.

    After a resume, songs are in batches of other sizes, of which XLA sums in another order.
    """

    digest: str  # or why there is none
    numbers: np.ndarray  # float64


@dataclasses.dataclass(frozen=True)
class Mode:
    """A command, and what it must give in the end: `results` of its folder."""

    command: Callable[[Path], list[str]]
    results: Callable[[Path], tuple[Any, Sequence[float]]]  # exact, and numbers; see `Results`
    outputs: str  # folder of what it writes, below that of the run


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--output", type=Path, default=Path("faults.jsonl"))
    given = parser.parse_args()
    modes, faults = given.modes.split(","), given.faults.split(",")
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        references = {mode: Reference(mode, folder / "run") for mode in modes}
        rows = []
        for number in range(given.count):
            mode, fault = modes[number % len(modes)], faults[number // len(modes) % len(faults)]
            seed = rng.randrange(1 << 62)
            row = injected(references[mode], folder / "run", fault, seed)
            rows.append({"mode": mode, "fault": fault, "seed": seed, **row})
            with given.output.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            if row["outcome"] == "WRONG":
                print(json.dumps(rows[-1], indent=1), file=sys.stderr)
    print(table(rows))
    return int(any(row["outcome"] == "WRONG" for row in rows))


class Reference:
    """An undisturbed run of a mode: its duration, its results, and its folder before and after.

    All runs are in the same folder, whose name is part of what they write.
    """

    def __init__(self, mode: str, folder: Path) -> None:
        """Runs the mode in a folder, twice: what the first compiles is kept."""
        self.mode = MODES[mode]
        self.fresh = folder.with_name(f"{mode}-fresh")
        self.finished = folder.with_name(f"{mode}-finished")
        compose(self.fresh)
        copy(self.fresh, folder)
        run(self.mode.command(folder), folder)
        copy(self.fresh, folder)
        self.songs = songs_of(folder)
        started = time.monotonic()
        code, text = run(self.mode.command(folder), folder)
        assert code == 0, text
        self.seconds = time.monotonic() - started
        self.tagged = songs_of(folder)
        copy(folder, self.finished)
        self.results = results_of(self.mode, folder)
        files = (self.finished / self.mode.outputs).rglob("*")
        self.num_bytes = sum(path.stat().st_size for path in files if path.is_file())
        shutil.rmtree(folder)


def compose(folder: Path) -> None:
    """Writes *synthetic* tones, always the same bytes and times."""
    for genre, pitch_hz in GENRES.items():
        (folder / "music" / genre).mkdir(parents=True)
        for number in range(8):
            times = np.arange(int(2.0 * RATE_HZ)) / RATE_HZ
            tone = 0.3 * np.sin(2 * np.pi * pitch_hz * 2 ** (0.02 * number) * times)
            noise = 0.01 * np.random.default_rng(number).standard_normal(times.size)
            path = folder / "music" / genre / f"{number}.flac"
            soundfile.write(path, tone + noise, RATE_HZ)
            os.utime(path, (1e9 + number, 1e9 + number))


def copy(source: Path, target: Path) -> None:
    """Copies a folder with the times of its files, in the place of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def songs_of(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every song."""
    paths = sorted((folder / "music").rglob("*.flac"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def results_of(mode: Mode, folder: Path) -> Results:
    """Returns a mode's results, computed in a process.

    This process must not start the threads of libraries: its forks would wait for them forever.
    """

    def compute() -> int:
        exact, numbers = mode.results(folder)
        digest = hashlib.sha256(repr(exact).encode()).hexdigest()
        print(json.dumps([digest, [float(number) for number in numbers]]))
        return 0

    code, text = finish(*start(compute, folder))
    if code:
        return Results(text, np.zeros(0))
    digest, numbers = json.loads(text.strip().splitlines()[-1])
    return Results(digest, np.array(numbers))


def difference(found: Results, expected: Results) -> str:
    """Returns how results differ; '' where they are equal but for rounding of numbers."""
    if found.digest != expected.digest or found.numbers.shape != expected.numbers.shape:
        return f"other results: {found.digest}"
    largest = np.abs(found.numbers - expected.numbers).max(initial=0.0)
    limit = TOLERANCE * np.abs(expected.numbers).max(initial=0.0)
    return "" if largest <= limit else f"numbers differ by up to {largest:.3g}"


def start(task: list[str] | Callable[[], int], folder: Path) -> tuple[int, Path]:
    """Forks a process that runs a command or calls a function, in a folder.

    Returns its id, and the file of what it prints.
    """
    output = folder / "printed.txt"
    sys.stdout.flush()
    process_id = os.fork()
    if process_id:
        return process_id, output
    code = 70
    try:
        os.setsid()
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(folder)
        os.environ["DEEPGENRE_RETAGGED"] = str(folder / "retagged.jsonl")
        from deepgenre import interrupt
        from deepgenre import main as program

        signal.signal(signal.SIGINT, interrupt.raise_or_exit)
        if callable(task):
            code = task()
        else:
            sys.argv = ["deepgenre", *task]
            code = program.main(program.parse_flags(sys.argv))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def finish(process_id: int, output: Path) -> tuple[int, str]:
    """Waits for a process; returns its exit code (128 + signal) and what it printed."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        done, status = os.waitpid(process_id, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code, output.read_text(errors="replace")
        if time.monotonic() > deadline:
            os.kill(process_id, signal.SIGKILL)
            os.waitpid(process_id, 0)
            return 255, "Traceback: the run did not end"
        time.sleep(0.01)


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """Runs a command to its end; returns exit code and what it printed."""
    return finish(*start(command, folder))


def injected(reference: Reference, folder: Path, fault: str, seed: int) -> dict[str, Any]:
    """Returns the outcome of one fault, and how long it took."""
    started, rng = time.monotonic(), random.Random(seed)
    copy(reference.fresh, folder)
    try:
        with FAULTS[fault](reference, folder, rng) as (code, text, what):
            outcome, note = judged(reference, folder, fault, code, text, what)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - started, 2)
    return {"outcome": outcome, "what": what, "note": note, "code": code, "seconds": seconds}


def judged(
    reference: Reference, folder: Path, fault: str, code: int, text: str, what: str
) -> tuple[str, str]:
    """Returns the outcome of a disturbed run and a note, after running the command again."""
    if "Traceback" in text:
        return "WRONG", text[-2000:]
    if not are_whole(reference, songs_of(folder)):
        return "WRONG", "a song was changed"
    code, text = run(reference.mode.command(folder), folder)
    lines = text.strip().splitlines() or [""]
    if "Traceback" in text:
        return "WRONG", text[-2000:]
    songs = songs_of(folder)
    if songs.keys() != reference.songs.keys() or not are_whole(reference, songs):
        return "WRONG", f"a song was changed by the second run, of {sorted(songs)}"
    if left := [str(path) for path in folder.rglob(".*") if path.name.endswith(".part")]:
        return "WRONG", f"left behind: {left}"
    if code != 0:
        is_damage = fault in ("torn", "flip") and lines[-1].startswith("deepgenre: ")
        return ("refused", lines[-1]) if is_damage else ("WRONG", text[-2000:])
    differs = difference(results_of(reference.mode, folder), reference.results)
    if not differs:
        return "equal", ""
    is_text = fault in ("torn", "flip") and what.endswith(UNCHECKED)
    return ("text", "") if is_text else ("WRONG", f"{differs} {text[-500:]}")


def are_whole(reference: Reference, songs: dict[str, bytes]) -> bool:
    """Returns whether each song has all its bytes, with or without tags; copies may lie beside."""
    return all(
        songs.get(name) in (content, reference.tagged[name])
        for name, content in reference.songs.items()
    )


def by_signal(number: signal.Signals) -> Callable[..., Any]:
    """Returns the fault that sends a signal at a random moment."""

    @contextlib.contextmanager
    def fault(reference: Reference, folder: Path, rng: random.Random):
        delay = rng.uniform(0, 1.05 * reference.seconds)
        process_id, output = start(reference.mode.command(folder), folder)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)
        code, text = finish(process_id, output)
        yield code, text, f"after {delay:.2f} s"

    return fault


@contextlib.contextmanager
def full_disk(reference: Reference, folder: Path, rng: random.Random):
    """A disk that is too small for what the mode writes, and then grows."""
    outputs = folder / reference.mode.outputs
    outputs.mkdir()
    size = int(reference.num_bytes * rng.uniform(0.01, 0.95)) // 4096 * 4096 + 4096
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(outputs)]
    subprocess.run(mount, check=True)
    try:
        code, text = run(reference.mode.command(folder), folder)
        subprocess.run(["mount", "-o", "remount,size=1g", str(outputs)], check=True)
        yield code, text, f"{size} bytes"
    finally:
        subprocess.run(["umount", str(outputs)], check=True)


def at_rest(damage: Callable[[Path, random.Random], None]) -> Callable[..., Any]:
    """Returns the fault that damages one file that an undisturbed run wrote."""

    @contextlib.contextmanager
    def fault(reference: Reference, folder: Path, rng: random.Random):
        copy(reference.finished, folder)
        outputs = sorted((folder / reference.mode.outputs).rglob("*"))
        path = rng.choice([path for path in outputs if path.is_file() and path.stat().st_size])
        status = path.stat()
        damage(path, rng)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk would
        yield 0, "", str(path.relative_to(folder))

    return fault


def tear(path: Path, rng: random.Random) -> None:
    """Cuts a file off."""
    os.truncate(path, rng.randrange(path.stat().st_size))


def flip(path: Path, rng: random.Random) -> None:
    """Flips one bit."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def prepared(folder: Path) -> tuple[Any, Sequence[float]]:
    """Returns the levels of every clip."""
    from deepgenre.data import store

    path = next((folder / "out").iterdir())
    rows = store.read_index(path)
    records = store.Records(path, rows, np.uint8)
    return {row.key: (row.labels, records[i].tobytes()) for i, row in enumerate(rows)}, []


def trained(folder: Path) -> tuple[Any, Sequence[float]]:
    """Returns the bytes of the best weights."""
    import jax

    from deepgenre.weights import checkpoint

    weights = checkpoint.restore(folder / "out" / "run")
    leaves = jax.tree.leaves(weights.variables)
    return (weights.step, [np.asarray(leaf).tobytes() for leaf in leaves]), []


def predicted(folder: Path) -> tuple[Any, Sequence[float]]:
    """Returns the lines without scores, sorted, and the scores."""
    lines = (folder / "out" / "songs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = sorted(map(json.loads, lines), key=lambda row: row["path"])
    scores = [row.pop("scores") for row in rows]
    names = [sorted(each) for each in scores]
    return (rows, names), [each[name] for each in scores for name in sorted(each)]


def embedded(folder: Path) -> tuple[Any, Sequence[float]]:
    """Returns the vector of each song."""
    from deepgenre.inference import song_index

    index = song_index.read_index(folder / "out" / "songs.npz")
    songs = sorted(index.songs, key=lambda song: song.path)
    numbers = np.concatenate([song.vector for song in songs])
    return [song.path.relative_to(folder) for song in songs], [*numbers]


def organized(folder: Path) -> tuple[Any, Sequence[float]]:
    """Returns songs and playlists, and the songs after an undo, which restores every byte."""
    found = songs_of(folder), {p.name: p.read_bytes() for p in (folder / "out").glob("*.m3u8")}
    from deepgenre.library import organize

    code = organize.undo(folder / "out")
    return (found, code, songs_of(folder)), []


def _music(folder: Path) -> list[str]:
    return [f"--data_dir={folder / 'music'}", "--config.prepare_workers=1"]


MODES = {
    "prepare": Mode(
        lambda folder: ["prepare", *TRAIN, *_music(folder), "--config.store_dir=out"],
        prepared, "out",
    ),
    "train": Mode(
        lambda folder: [
            "train", *TRAIN, *_music(folder), "--config.store_dir=store", "--workdir=out/run",
        ],
        trained, "out",
    ),
    "predict": Mode(
        lambda folder: ["predict", "music", "--output=out/songs.jsonl", "--resume"],
        predicted, "out",
    ),
    "embed": Mode(
        lambda folder: ["embed", "music", "--output=out/songs.npz"], embedded, "out",
    ),
    "organize": Mode(
        lambda folder: ["organize", "music", "--output=out", "--write", "--policy=replace"],
        organized, "out",
    ),
}  # fmt: skip
FAULTS: dict[str, Callable[..., Any]] = {
    "kill": by_signal(signal.SIGKILL),
    "term": by_signal(signal.SIGTERM),
    "interrupt": by_signal(signal.SIGINT),
    "full": full_disk,
    "torn": at_rest(tear),
    "flip": at_rest(flip),
}


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the outcomes by mode and fault as a Markdown table."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    for row in rows:
        counts[row["mode"], row["fault"]][row["outcome"]] += 1
    outcomes = ("equal", "refused", "text", "WRONG")
    lines = [f"| mode | fault | {' | '.join(outcomes)} |", "| --- | --- " + "| --- " * 4 + "|"]
    for (mode, fault), found in sorted(counts.items()):
        cells = " | ".join(str(found[outcome]) for outcome in outcomes)
        lines.append(f"| {mode} | {fault} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(Path.home() / ".cache" / "deepgenre" / "test-compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    import grain  # noqa: F401 (with those below: what takes seconds to import, once for all runs)
    import matplotlib.pyplot  # noqa: F401
    import mutagen  # noqa: F401
    import orbax.checkpoint  # noqa: F401

    from deepgenre import main as _  # noqa: F401
    from deepgenre.inference import embed as _embed  # noqa: F401
    from deepgenre.library import organize as _organize  # noqa: F401
    from deepgenre.training import train as _train  # noqa: F401

    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # no thread of JAX runs here
    sys.exit(main())

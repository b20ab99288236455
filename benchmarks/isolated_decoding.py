"""What decoding in worker processes costs: files to levels, in this process and in workers.

    python benchmarks/isolated_decoding.py [--files=FOLDER] [--repeats=5] [--threads=2]

Without a folder: 30 s of *synthetic* stereo noise at 44.1 kHz as wav, flac, ogg and mp3, 8 of each.
Both ways take turns; printed per format is the least wall time of each way, and the least processor
time, of this process and its workers. Stages: `decode`, and `levels` (decoded, resampled to the
rate of the default front end, log-mel), which is what modes do per file.
"""

import argparse
import collections
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from deepgenre.audio import decoding, waveforms
from deepgenre.audio import frontend as front_end
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.isolated import calls
from deepgenre.isolated.protocol import CAPACITY_SAMPLES

FRONT_END = FrontEnd()


def noise(folder: Path, count: int = 8) -> list[Path]:
    """Writes files of noise in each format; returns their paths."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((30 * 44_100, 2))
    paths = [
        folder / f"{n}.{suffix}" for suffix in ("wav", "flac", "ogg", "mp3") for n in range(count)
    ]
    for path in paths:
        soundfile.write(path, samples, 44_100)
    return paths


def here(function: Callable, path: Path, warn: Callable) -> Iterator[tuple[np.ndarray, int]]:
    """Is `calls.stream` in this process."""
    return function(path, warn, np.empty(CAPACITY_SAMPLES, np.float32))


def decode(path: Path) -> None:
    """Decodes a file."""
    collections.deque(decoding.blocks(path, warn=lambda line: None), maxlen=0)


def levels(path: Path) -> None:
    """Computes the levels of a file."""
    front_end.levels(waveforms.load(path, FRONT_END.sample_rate_hz), FRONT_END)


def processor_seconds() -> float:
    """Returns the processor time of this process and its idle workers, without that of ffmpeg."""
    stats = (Path(f"/proc/{worker.process.pid}/schedstat") for worker in calls._idle)
    return time.process_time() + sum(int(stat.read_text().split()[0]) / 1e9 for stat in stats)


def measure(stage: Callable[[Path], None], paths: Sequence[Path], threads: int) -> np.ndarray:
    """Returns wall and processor seconds of a stage of all files."""
    before, started = processor_seconds(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(1):
        list(pool.map(stage, paths))
    wall = time.perf_counter() - started
    return np.array([wall, processor_seconds() - before])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    in_workers = calls.stream
    ways = {"here": here, "workers": in_workers}
    with tempfile.TemporaryDirectory() as folder:
        every = sorted(given.files.rglob("*.*")) if given.files else noise(Path(folder))
        print("| stage | format | files | here s | workers s | wall | processor |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for stage in (decode, levels):
            for suffix in sorted({path.suffix for path in every}):
                paths = [path for path in every if path.suffix == suffix and usable(path)]
                least = {way: np.full(2, np.inf) for way in ways}
                for _ in range(given.repeats):
                    for way, stream in ways.items():
                        calls.stream = stream
                        least[way] = np.minimum(least[way], measure(stage, paths, given.threads))
                without, workers = least["here"], least["workers"]
                ratios = " | ".join(f"{ratio - 1:+.1%}" for ratio in workers / without)
                print(
                    f"| {stage.__name__} | {suffix} | {len(paths)} | {without[0]:.3f} "
                    f"| {workers[0]:.3f} | {ratios} |"
                )


def usable(path: Path) -> bool:
    """Returns whether a file can be decoded."""
    try:
        decode(path)
    except UserError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

"""How fast audio becomes levels: this program beside the paper's own four lines of librosa.

    python benchmarks/prepare_speed.py --files=FOLDER_OF_MP3S --files=FOLDER_OF_WAVS

Both sides hear the same --num_files files of each format in turn, --repeats times, on one thread:
- ours: `audio.load` and `frontend.levels`, what --mode=prepare does with a clip;
- librosa: `load(sr=22050)`, `melspectrogram(n_fft=2048, hop_length=1024, n_mels=128)`,
  `power_to_db(ref=np.max)`.

Also stage by stage (decode, resample, spectrogram), and, on the clips of all formats together, in
1 to --processes processes of prepare's own pool, shards written: the second of two rounds, so
that the start of the processes, told apart, does not count.

Seconds are CPU time, which other programs change less; the pool's are by the clock, and want a
machine that has nothing else to do. Prints medians and spreads and writes everything to --output.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import numpy as np
import soundfile
from absl import app, flags
from threadpoolctl import threadpool_limits

from deepgenre import log
from deepgenre.audio import frontend as front_end
from deepgenre.audio import waveforms
from deepgenre.audio.discover import expand
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data import prepare
from deepgenre.data.clip import Clip
from deepgenre.errors import UserError

_FILES = flags.DEFINE_multi_string("files", None, "Files, folders or lists.", required=True)
_NUM_FILES = flags.DEFINE_integer("num_files", 40, "Files of each format.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Times that each is measured.")
_PROCESSES = flags.DEFINE_integer("processes", os.cpu_count() or 1, "Most processes of the pool.")
_OUTPUT = flags.DEFINE_string("output", "prepare_speed.json", "File for all that was measured.")

FRONTEND = FrontEnd()
RATE_HZ = FRONTEND.sample_rate_hz
Seconds = dict[str, list[float]]  # of a clip, by what was done: an entry a repeat


def ours(path: Path) -> np.ndarray:
    """Returns levels, uint8 (frames, bands)."""
    return front_end.levels(waveforms.load(path, RATE_HZ), FRONTEND)


def papers_four_lines(path: Path) -> np.ndarray:
    """Returns dB re the clip's maximum, float32 (bands, frames)."""
    samples, _ = librosa.load(path, sr=RATE_HZ)
    return spectrogram_of_librosa(samples)


def spectrogram_of_librosa(samples: np.ndarray) -> np.ndarray:
    """Returns likewise the dB of a waveform (samples,)."""
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE_HZ, n_fft=FRONTEND.n_fft, hop_length=FRONTEND.hop_length, n_mels=128
    )
    return librosa.power_to_db(mel, ref=np.max)


def stages(paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """Returns, by name, what does one stage of all files."""
    rates_hz = [soundfile.info(path).samplerate for path in paths]
    files = list(zip(paths, rates_hz, strict=True))
    decoded = [(waveforms.load(path, rate_hz), rate_hz) for path, rate_hz in files]
    resampled = [waveforms.resample(mono, rate_hz, RATE_HZ) for mono, rate_hz in decoded]
    return {
        "ours": lambda: [ours(path) for path in paths],
        "librosa": lambda: [papers_four_lines(path) for path in paths],
        "ours, decode": lambda: [waveforms.load(path, rate_hz) for path, rate_hz in files],
        "librosa, decode": lambda: [librosa.load(path, sr=None) for path in paths],
        "ours, resample": lambda: [waveforms.resample(mono, hz, RATE_HZ) for mono, hz in decoded],
        "librosa, resample": lambda: [
            librosa.resample(mono, orig_sr=hz, target_sr=RATE_HZ) for mono, hz in decoded
        ],
        "ours, spectrogram": lambda: [front_end.levels(mono, FRONTEND) for mono in resampled],
        "librosa, spectrogram": lambda: [spectrogram_of_librosa(mono) for mono in resampled],
    }


def measure(paths: Sequence[Path]) -> Seconds:
    """Returns CPU seconds a clip of every stage; all in turn, so that none has a better hour."""
    work = stages(paths)
    found: Seconds = {name: [] for name in work}
    for repeat in range(_REPEATS.value + 1):
        for name, do in work.items():
            start = time.process_time()
            do()
            if repeat:  # the first is for caches and imports
                found[name].append((time.process_time() - start) / len(paths))
    return found


def largest_difference_db(paths: Sequence[Path]) -> float:
    """Returns by how many dB the two differ, over all clips, before rounding to levels."""
    return max(
        float(
            np.abs(front_end.log_mel(waveform, FRONTEND) - spectrogram_of_librosa(waveform).T).max()
        )
        for waveform in (librosa.load(path, sr=RATE_HZ)[0] for path in paths)
    )


def pool_seconds(paths: Sequence[Path], num_processes: int) -> dict[str, float]:
    """Returns wall seconds of two rounds; the excess of the first is the start of the pool."""
    clips = [Clip(str(path), path, (), "") for path in paths]
    size = -(-len(clips) // (4 * num_processes))  # a few shards a process: they end together
    shards = [clips[start : start + size] for start in range(0, len(clips), size)]
    found = {}
    with tempfile.TemporaryDirectory() as folder, prepare.executor(num_processes, 2) as pool:
        for name in ("first", "second"):
            store, start = Path(folder) / name, time.perf_counter()
            work = [pool.submit(prepare.prepare_shard, store, shard, FRONTEND) for shard in shards]
            failures = [failure for future in work for failure in future.result()]
            found[name] = time.perf_counter() - start
            if failures:
                raise UserError(failures[0])
    return found


def said(values: Sequence[float], scale: float = 1.0) -> str:
    """Returns 'median (least-most)', scaled."""
    scaled = [scale * value for value in values]
    return f"{statistics.median(scaled):.4g} ({min(scaled):.4g}-{max(scaled):.4g})"


def report(name: str, seconds: Seconds) -> dict[str, list[float]]:
    """Prints what was measured of a format; returns librosa's time by ours, a number a repeat."""
    ratios = {}
    for stage in ("", ", decode", ", resample", ", spectrogram"):
        pairs = zip(seconds[f"ours{stage}"], seconds[f"librosa{stage}"], strict=True)
        ratio = [theirs / mine for mine, theirs in pairs]
        ratios[f"librosa / ours{stage}"] = ratio
        for who in ("ours", "librosa"):
            print(f"{name}: {who}{stage}: {said(seconds[who + stage], 1e3)} ms of CPU a clip")
        print(f"{name}: librosa / ours{stage}: {said(ratio)}")
    rate = 1 / statistics.median(seconds["ours"])
    print(f"{name}: ours: {rate:.1f} clips/s a core", flush=True)
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes --output."""
    del argv
    log.quieten_libraries()
    result: dict[str, object] = {"cores": os.cpu_count(), "num_files": _NUM_FILES.value}
    chosen: list[Path] = []
    try:
        found = expand(_FILES.value)
        with threadpool_limits(1):
            for suffix in sorted({path.suffix for path in found}):
                paths = [path for path in found if path.suffix == suffix][: _NUM_FILES.value]
                seconds, chosen = measure(paths), chosen + paths
                difference_db = largest_difference_db(paths)
                print(f"{suffix}: {len(paths)} files; largest difference {difference_db:.1e} dB")
                ratios = report(suffix, seconds)
                result[suffix] = {"seconds": seconds, "ratios": ratios, "db": difference_db}
        for count in range(1, _PROCESSES.value + 1):
            pool = pool_seconds(chosen, count)
            result[f"{count} processes"] = pool
            rate = len(chosen) / pool["second"]
            begun = pool["first"] - pool["second"]
            print(f"{count} processes: {rate:.1f} clips/s; start {begun:.2f} s", flush=True)
    except UserError as error:
        sys.exit(f"prepare_speed: {error}")
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

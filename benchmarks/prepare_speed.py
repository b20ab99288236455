"""Speed from audio files to levels: deepgenre and the paper's four lines of librosa.

    python benchmarks/prepare_speed.py --files=FOLDER_OF_MP3S --files=FOLDER_OF_WAVS

Both process the same --num_files files of each format alternately, --repeats times, on one thread:
- ours: `waveforms.load` and `frontend.levels`, as --mode=prepare does per clip;
- librosa: `load(sr=22050)`, `melspectrogram(n_fft=2048, hop_length=1024, n_mels=128)`,
  `power_to_db(ref=np.max)`.

Also measures each stage (decode, resample, spectrogram) and, on the clips of all formats, 1 to
--processes processes of the pool of `prepare`, including the writing of shards. Of two rounds the
second counts, so that the start of the processes, which is reported separately, does not.

Seconds are CPU time, which depends less on other programs; those of the pool are wall time and
require an idle machine. Prints medians and ranges and writes everything to --output.
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

from deepgenre import executors, log
from deepgenre.audio import frontend as front_end
from deepgenre.audio import waveforms
from deepgenre.audio.discover import expand
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data import prepare
from deepgenre.data.clip import Clip
from deepgenre.errors import UserError

_FILES = flags.DEFINE_multi_string("files", None, "Files, folders or lists.", required=True)
_NUM_FILES = flags.DEFINE_integer("num_files", 40, "Files per format.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Repeats of each measurement.")
_PROCESSES = flags.DEFINE_integer("processes", os.cpu_count() or 1, "Maximum size of the pool.")
_OUTPUT = flags.DEFINE_string("output", "prepare_speed.json", "JSON file of all results.")

FRONTEND = FrontEnd()
RATE_HZ = FRONTEND.sample_rate_hz
Seconds = dict[str, list[float]]  # per clip, by stage: one entry per repeat


def ours(path: Path) -> np.ndarray:
    """Returns levels, uint8 (frames, bands)."""
    return front_end.levels(waveforms.load(path, RATE_HZ), FRONTEND)


def paper_spectrogram(path: Path) -> np.ndarray:
    """Returns dB relative to the clip's maximum, float32 (bands, frames)."""
    samples, _ = librosa.load(path, sr=RATE_HZ)
    return librosa_spectrogram(samples)


def librosa_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Returns the same for a waveform (samples,)."""
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE_HZ, n_fft=FRONTEND.n_fft, hop_length=FRONTEND.hop_length, n_mels=128
    )
    return librosa.power_to_db(mel, ref=np.max)


def stages(paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """Returns, by name, functions that run one stage on all files."""
    rates_hz = [soundfile.info(path).samplerate for path in paths]
    files = list(zip(paths, rates_hz, strict=True))
    decoded = [(waveforms.load(path, rate_hz), rate_hz) for path, rate_hz in files]
    resampled = [waveforms.resample(mono, rate_hz, RATE_HZ) for mono, rate_hz in decoded]
    return {
        "ours": lambda: [ours(path) for path in paths],
        "librosa": lambda: [paper_spectrogram(path) for path in paths],
        "ours, decode": lambda: [waveforms.load(path, rate_hz) for path, rate_hz in files],
        "librosa, decode": lambda: [librosa.load(path, sr=None) for path in paths],
        "ours, resample": lambda: [waveforms.resample(mono, hz, RATE_HZ) for mono, hz in decoded],
        "librosa, resample": lambda: [
            librosa.resample(mono, orig_sr=hz, target_sr=RATE_HZ) for mono, hz in decoded
        ],
        "ours, spectrogram": lambda: [front_end.levels(mono, FRONTEND) for mono in resampled],
        "librosa, spectrogram": lambda: [librosa_spectrogram(mono) for mono in resampled],
    }


def measure(paths: Sequence[Path]) -> Seconds:
    """Returns CPU seconds per clip of every stage, interleaved so that load affects all alike."""
    functions = stages(paths)
    seconds: Seconds = {name: [] for name in functions}
    for repeat in range(_REPEATS.value + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if repeat:  # the first is a warm-up of caches and imports
                seconds[name].append((time.process_time() - start) / len(paths))
    return seconds


def largest_difference_db(paths: Sequence[Path]) -> float:
    """Returns the largest difference in dB over all clips, before quantisation to levels."""
    return max(
        float(np.abs(front_end.log_mel(waveform, FRONTEND) - librosa_spectrogram(waveform).T).max())
        for waveform in (librosa.load(path, sr=RATE_HZ)[0] for path in paths)
    )


def pool_seconds(paths: Sequence[Path], num_processes: int) -> dict[str, float]:
    """Returns the wall seconds of two rounds; the first includes the start of the pool."""
    clips = [Clip(str(path), path, (), "") for path in paths]
    size = -(-len(clips) // (4 * num_processes))  # four shards per process, to balance the load
    shards = [clips[start : start + size] for start in range(0, len(clips), size)]
    seconds = {}
    with tempfile.TemporaryDirectory() as folder, executors.local(num_processes, 2) as pool:
        for name in ("first", "second"):
            store, start = Path(folder) / name, time.perf_counter()
            futures = [
                pool.submit(prepare.prepare_shard, store, shard, FRONTEND) for shard in shards
            ]
            failures = [failure for future in futures for failure in future.result()]
            seconds[name] = time.perf_counter() - start
            if failures:
                raise UserError(failures[0])
    return seconds


def median_and_range(values: Sequence[float], scale: float = 1.0) -> str:
    """Returns 'median (minimum-maximum)' of scale * values."""
    scaled = [scale * value for value in values]
    return f"{statistics.median(scaled):.4g} ({min(scaled):.4g}-{max(scaled):.4g})"


def report(name: str, seconds: Seconds) -> dict[str, list[float]]:
    """Prints the results of a format; returns librosa's time divided by ours, one per repeat."""
    ratios = {}
    for stage in ("", ", decode", ", resample", ", spectrogram"):
        pairs = zip(seconds[f"ours{stage}"], seconds[f"librosa{stage}"], strict=True)
        ratio = [theirs / ours for ours, theirs in pairs]
        ratios[f"librosa / ours{stage}"] = ratio
        for program in ("ours", "librosa"):
            milliseconds = median_and_range(seconds[program + stage], 1e3)
            print(f"{name}: {program}{stage}: {milliseconds} ms of CPU time per clip")
        print(f"{name}: librosa / ours{stage}: {median_and_range(ratio)}")
    rate = 1 / statistics.median(seconds["ours"])
    print(f"{name}: ours: {rate:.1f} clips/s per core", flush=True)
    return ratios


def main(argv: Sequence[str]) -> None:
    """Measures, prints and writes --output."""
    del argv
    log.quieten_libraries()
    result: dict[str, object] = {"cores": os.cpu_count(), "num_files": _NUM_FILES.value}
    all_paths: list[Path] = []
    try:
        files = expand(_FILES.value).files
        with threadpool_limits(1):
            for suffix in sorted({path.suffix for path in files}):
                paths = [path for path in files if path.suffix == suffix][: _NUM_FILES.value]
                seconds, all_paths = measure(paths), all_paths + paths
                difference_db = largest_difference_db(paths)
                print(f"{suffix}: {len(paths)} files; largest difference {difference_db:.1e} dB")
                ratios = report(suffix, seconds)
                result[suffix] = {"seconds": seconds, "ratios": ratios, "db": difference_db}
        for count in range(1, _PROCESSES.value + 1):
            pool = pool_seconds(all_paths, count)
            result[f"{count} processes"] = pool
            rate = len(all_paths) / pool["second"]
            start_seconds = pool["first"] - pool["second"]
            print(f"{count} processes: {rate:.1f} clips/s; start {start_seconds:.2f} s", flush=True)
    except UserError as error:
        sys.exit(f"prepare_speed: {error}")
    Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)

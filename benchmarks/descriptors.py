"""Accuracy and speed of tempo, key, loudness and acoustic fingerprints.

    python benchmarks/descriptors.py --files=FOLDER --num_pieces=300

- tempo and key: on *synthetic* pieces of 30 s, whose true values are known. Accuracy 1 is the share
  within 4 %, accuracy 2 also accepts 2, 3, 1/2 and 1/3 times the tempo (MIREX); the key score of
  MIREX counts 0.5 for a fifth, 0.3 for the relative and 0.2 for the parallel key;
- tempo and key of --files: how often they follow a change of speed by a known factor;
- loudness: against the filter ebur128 of ffmpeg on --files;
- fingerprints: recall on copies of --files that ffmpeg re-encodes, makes quieter or trims, and
  pairs that match among --files themselves;
- CPU seconds per song of each descriptor, decoding not included.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from deepgenre.audio import acoustic_fingerprint, decoding, describe, key
from deepgenre.audio.discover import expand
from deepgenre.data.composer.composition import compose
from deepgenre.data.composer.rendering import render
from deepgenre.data.composer.styles import STYLES
from deepgenre.library import duplicates

_FILES = flags.DEFINE_multi_string("files", [], "Audio files, folders or lists.")
_NUM_PIECES = flags.DEFINE_integer("num_pieces", 300, "Synthetic pieces.")
_NUM_COPIED = flags.DEFINE_integer("num_copied", 50, "Files to copy for fingerprints.")
_SEED = flags.DEFINE_integer("seed", 1, "Of the pieces; the methods were chosen on 777.")
RATE_HZ = 22_050
SEMITONES = (-2, -1, 1, 2)  # of a change of speed
COPIES = {  # options of ffmpeg, and the suffix
    "mp3, 64 kb/s": ("-b:a", "64k", ".mp3"),
    "opus, 32 kb/s": ("-b:a", "32k", ".opus"),
    "aac, 96 kb/s": ("-b:a", "96k", ".m4a"),
    "16 kHz": ("-ar", "16000", ".flac"),
    "-9 dB": ("-af", "volume=-9dB", ".wav"),
    "18 s from 4.13 s": ("-ss", "4.13", "-t", "18", ".wav"),
    "15 s from 7.77 s, mp3": ("-ss", "7.77", "-t", "15", "-b:a", "64k", ".mp3"),
}


def key_score(estimate: str, true: str) -> float:
    """Returns the MIREX score of a key."""
    (tonic, mode), (true_tonic, true_mode) = estimate.split(), true.split()
    interval = (key.NAMES.index(tonic) - key.NAMES.index(true_tonic)) % 12
    if mode == true_mode:
        return {0: 1.0, 5: 0.5, 7: 0.5}.get(interval, 0.0)
    return {0: 0.2, (9 if true_mode == "major" else 3): 0.3}.get(interval, 0.0)


def synthetic_accuracy(num_pieces: int, seed: int) -> None:
    """Prints the accuracy of tempo and key, of all pieces and of each style."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for index in range(num_pieces):
        style = list(STYLES)[index % len(STYLES)]
        generator = np.random.default_rng([seed, index])
        piece = compose(style, generator, 30.0)
        describer = describe.Describer(["tempo", "key"])
        describer.observe(0, render(piece, generator, RATE_HZ, 1), RATE_HZ)
        values, layout = describer.values(), piece.layout
        ratio = float(values["tempo_bpm"] or 0) / layout.tempo_bpm
        hits = [abs(ratio / factor - 1) < 0.04 for factor in (1, 2, 3, 1 / 2, 1 / 3)]
        true_key = f"{key.NAMES[layout.key]} {'major' if 4 in layout.scale else 'minor'}"
        score = key_score(str(values["key"]), true_key)
        rows.setdefault(style, []).append((hits[0], any(hits), score == 1, score))
    print(f"{'style':16}  tempo 1  tempo 2  key exact  key MIREX  ({num_pieces} pieces)")
    rows["all"] = [row for values in rows.values() for row in values]
    for style, values in rows.items():
        means = np.mean(values, axis=0)
        print(f"{style:16}  {means[0]:7.3f}  {means[1]:7.3f}  {means[2]:9.3f}  {means[3]:9.3f}")


def loudness_differences(files: Sequence[Path]) -> None:
    """Prints differences to ffmpeg, and the CPU time of each descriptor."""
    loudness, peaks = [], []
    cpu_seconds = dict.fromkeys(["decoding", *describe.COLUMNS], 0.0)
    for path in files:
        blocks: list[tuple[int, np.ndarray, int]] = []
        start = time.process_time()
        for _ in decoding.blocks(path, observe=lambda *block, kept=blocks: kept.append(block)):
            pass
        cpu_seconds["decoding"] += time.process_time() - start
        values: dict[str, describe.Descriptor] = {}
        for name in describe.COLUMNS:
            start = time.process_time()
            describer = describe.Describer([name])
            for block in blocks:
                describer.observe(*block)
            values |= describer.values()
            cpu_seconds[name] += time.process_time() - start
        command = ["ffmpeg", "-nostdin", "-i", str(path), "-af", "ebur128=peak=true"]
        log = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True).stderr
        summary = log.split("Summary")[-1]
        reference = [re.findall(rf"{name}: +(\S+)", summary)[0] for name in ("I", "Peak")]
        loudness.append(_number(values["loudness_lufs"]) - float(reference[0]))
        peaks.append(_number(values["true_peak_dbtp"]) - float(reference[1]))
    for name, differences in (("loudness, LU", loudness), ("true peak, dB", peaks)):
        magnitude = np.abs(differences)
        print(
            f"{name}: mean {np.nanmean(magnitude):.3f}, largest {np.nanmax(magnitude):.3f} from "
            f"ffmpeg ({np.isfinite(magnitude).sum()} files)"
        )
    for name, seconds in cpu_seconds.items():
        print(f"{name}: {1000 * seconds / len(files):.1f} ms of CPU per file")


def _number(value: describe.Descriptor) -> float:
    return float("nan" if value is None else value)


def consistency(files: Sequence[Path]) -> None:
    """Prints how often tempo and key follow a change of speed by a known number of semitones.

    Real recordings have no annotated tempo and key here, but the same samples at another rate have
    a tempo and a tonic that differ by known amounts: an estimate that is right follows.
    """
    rows = []
    for path in files:
        blocks: list[tuple[int, np.ndarray, int]] = []
        for _ in decoding.blocks(path, observe=lambda *block, kept=blocks: kept.append(block)):
            pass
        plain = _tempo_and_key(blocks, 1.0)
        for semitones in SEMITONES:
            factor = 2 ** (semitones / 12)
            changed = _tempo_and_key(blocks, factor)
            if None in (*plain, *changed):
                continue
            ratio = float(changed[0] or 0) / (float(plain[0] or 1) * factor)
            hits = [abs(ratio / multiple - 1) < 0.04 for multiple in (1, 2, 3, 1 / 2, 1 / 3)]
            tonic, mode = str(plain[1]).split()
            moved = key.NAMES[(key.NAMES.index(tonic) + semitones) % 12]
            score = key_score(str(changed[1]), f"{moved} {mode}")
            rows.append((hits[0], any(hits), score == 1, score))
    means = np.mean(rows, axis=0)
    print(
        f"follows {len(rows)} changes of speed of {len(files)} files: tempo "
        f"{means[0]:.3f}, with multiples {means[1]:.3f}; key {means[2]:.3f}, MIREX {means[3]:.3f}"
    )


def _tempo_and_key(
    blocks: Sequence[tuple[int, np.ndarray, int]], factor: float
) -> tuple[describe.Descriptor, describe.Descriptor]:
    describer = describe.Describer(["tempo", "key"])
    for start, samples, rate_hz in blocks:
        describer.observe(start, samples, round(rate_hz * factor))
    values = describer.values()
    return values["tempo_bpm"], values["key"]


def duplicate_recall(files: Sequence[Path], num_copied: int) -> None:
    """Prints the recall on copies, and the pairs that match among the files themselves."""
    fingerprints = [duplicates.fingerprint(path) for path in files]
    for first, second in acoustic_fingerprint.matches(fingerprints):
        print(f"match: {files[first].name} = {files[second].name}")
    chosen = range(0, len(files), max(1, len(files) // num_copied))
    for name, (*options, suffix) in COPIES.items():
        copies = []
        for index in chosen:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / f"copy{suffix}"
                command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(files[index]), *options]
                subprocess.run([*command, str(copy)], check=True)
                copies.append(duplicates.fingerprint(copy))
        wanted = {(index, len(files) + number) for number, index in enumerate(chosen)}
        found = set(acoustic_fingerprint.matches([*fingerprints, *copies])) & wanted
        print(f"{name}: {len(found)} of {len(wanted)} copies found")


def main(_: Sequence[str]) -> None:
    """Runs all measurements; those of real files where --files are given."""
    synthetic_accuracy(_NUM_PIECES.value, _SEED.value)
    if files := expand(_FILES.value).audio:
        consistency(files)
        loudness_differences(files)
        duplicate_recall(files, _NUM_COPIED.value)


if __name__ == "__main__":
    app.run(main)

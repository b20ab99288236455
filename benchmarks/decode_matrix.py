"""Decodes files of many encoders, containers and headers beside ffmpeg: durations and errors.

    python benchmarks/decode_matrix.py --output=decode.json
    python benchmarks/decode_matrix.py --mutants=2000 --files=SONGS --output=mutants.json

The first prints a row per case: seconds decoded here and by ffmpeg; cases that differ by more than
0.1 s are marked. The second changes bytes of the given files, cuts and joins them, and counts what
decoding ends in: samples, samples with a warning, or an error of one line.
"""

import collections
import itertools
import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import app, flags

from deepgenre.audio import decoding
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.files import replacing

OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
MUTANTS = flags.DEFINE_integer("mutants", 0, "Number of changed files to decode.")
FILES = flags.DEFINE_multi_string("files", [], "Files to change: files, folders or globs.")
TOLERANCE_SECONDS = 0.1
# A quiet tone, then loud noise: variable bit rates differ by an order of magnitude.
SOURCE = (
    "-f", "lavfi", "-i", "sine=440:d=6:r=44100,volume=0.02", "-f", "lavfi", "-i",
    "anoisesrc=d=4:r=44100:a=0.6", "-filter_complex", "[0][1]concat=n=2:v=0:a=1",
)  # fmt: skip
MP3 = {
    "cbr 32k mono": ("-b:a", "32k", "-ac", "1", "-ar", "22050"),
    "cbr 128k": ("-b:a", "128k", "-ac", "2"),
    "cbr 320k": ("-b:a", "320k", "-ac", "2", "-joint_stereo", "0"),
    "abr 160k": ("-b:a", "160k", "-abr", "1"),
    "vbr 0": ("-q:a", "0"),
    "vbr 6 mono": ("-q:a", "6", "-ac", "1"),
    "cbr 8k, 8 kHz": ("-b:a", "8k", "-ac", "1", "-ar", "8000"),
    "cbr 48 kHz": ("-b:a", "192k", "-ar", "48000"),
}
OTHERS = {
    "a.mp2": ("-c:a", "mp2"), "in.wav": ("-c:a", "libmp3lame"),
    "vbr_in.wav": ("-c:a", "libmp3lame", "-q:a", "4"), "a.wav": (),
    "24.wav": ("-c:a", "pcm_s24le"), "float.wav": ("-c:a", "pcm_f32le"),
    "alaw.wav": ("-c:a", "pcm_alaw"), "adpcm.wav": ("-c:a", "adpcm_ms"), "a.w64": (),
    "a.aiff": (), "a.au": (), "a.caf": (), "a.flac": (), "a.ogg": (),
    "flac.oga": ("-c:a", "flac"), "a.opus": ("-c:a", "libopus"),
    "a.spx": ("-c:a", "libspeex", "-ar", "16000", "-ac", "1"), "a.m4a": (),
    "alac.m4a": ("-c:a", "alac"), "a.aac": (), "a.wma": (), "a.wv": (), "a.tta": (), "a.ac3": (),
    "a.mka": (), "a.webm": ("-c:a", "libopus"), "a.mov": (), "a.avi": ("-c:a", "libmp3lame"),
    "a.ts": ("-c:a", "aac"), "a.dts": ("-c:a", "dca", "-strict", "-2", "-ac", "2"),
}  # fmt: skip


def encode(path: Path, *options: str) -> Path:
    """Returns the path, after ffmpeg has written it."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *SOURCE, *options, str(path)], check=True)
    return path


def mp3_variants(folder: Path) -> Iterator[Path]:
    """Yields mp3 files with each kind of header."""
    for name, options in MP3.items():
        tagged = encode(folder / f"{name}.mp3", *options)
        yield tagged
        yield encode(folder / f"{name}, no tag.mp3", *options, "-write_xing", "0")
        content = tagged.read_bytes()
        at = max(content.find(b"Xing"), content.find(b"Info"))
        (count,) = struct.unpack_from(">I", content, at + 8)
        for label, number in (("0", 0), ("low", count // 3), ("high", 3 * count)):
            path = folder / f"{name}, count {label}.mp3"
            path.write_bytes(content[: at + 8] + struct.pack(">I", number) + content[at + 12 :])
            yield path
        (folder / f"{name}, zeros.mp3").write_bytes(bytes(4_000) + content + bytes(4_000))
        yield folder / f"{name}, zeros.mp3"


def container_variants(folder: Path) -> Iterator[Path]:
    """Yields files of other encoders and containers, chained and never finalised ones."""
    for name, options in OTHERS.items():
        yield encode(folder / name, *options)
    ogg = (folder / "a.ogg").read_bytes()
    (folder / "chained.ogg").write_bytes(ogg + ogg)
    yield folder / "chained.ogg"
    content = bytearray((folder / "a.wav").read_bytes())
    at = content.find(b"data") + 4
    for label, size in (("0", 0), ("unknown", 0xFFFFFFFF)):
        content[at : at + 4] = struct.pack("<I", size)
        (folder / f"size {label}.wav").write_bytes(content)
        yield folder / f"size {label}.wav"


def seconds_here(path: Path) -> tuple[float, list[str]]:
    """Returns the decoded length in seconds, and the warnings."""
    warnings: list[str] = []
    lengths = [mono.size / rate_hz for mono, rate_hz in decoding.blocks(path, warnings.append)]
    return sum(lengths), warnings


def seconds_ffmpeg(path: Path) -> float:
    """Returns the length in seconds that ffmpeg decodes."""
    command = ["ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1"]
    command += ["-ar", "8000", "-f", "f32le", "-"]
    return len(subprocess.run(command, capture_output=True).stdout) / 4 / 8_000


def compare(folder: Path) -> list[dict[str, object]]:
    """Returns a row per case, and prints it."""
    rows = []
    for path in itertools.chain(mp3_variants(folder), container_variants(folder)):
        ours, warnings = seconds_here(path)
        theirs = seconds_ffmpeg(path)
        agrees = abs(ours - theirs) <= TOLERANCE_SECONDS
        rows.append({"case": path.name, "seconds": ours, "ffmpeg": theirs, "agrees": agrees})
        print(f"{path.name:32} {ours:7.3f} {theirs:7.3f} {'' if agrees else 'DIFFERS'}", *warnings)
    return rows


def mutate(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Returns a file with one to four changes: bytes, zeros, cuts, repetitions, other files."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, min(len(changed), rng.choice([64, 4_096, len(changed)])) or 1))
        kind = rng.integers(0, 6)
        if kind == 0:
            changed[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            changed[at : at + 200] = bytes(200)
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 20_000))]
        elif kind == 3:
            changed[at:at] = changed[at : at + int(rng.integers(1, 5_000))]
        elif kind == 4:
            del changed[at:]
        else:
            changed += others[rng.integers(len(others))][: int(rng.integers(1, 30_000))]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def decode_mutants(paths: list[Path], count: int, folder: Path) -> dict[str, object]:
    """Returns how many changed files ended in what, and the longest time one took."""
    rng, results, longest = np.random.default_rng(0), collections.Counter(), 0.0
    contents = [path.read_bytes() for path in paths]
    for number in range(count):
        source = paths[number % len(paths)]
        path = folder / f"mutant{source.suffix}"
        path.write_bytes(mutate(contents[number % len(paths)], contents, rng))
        start = time.perf_counter()
        try:
            _, warnings = seconds_here(path)
            results["samples with a warning" if warnings else "samples"] += 1
        except UserError as error:
            results["error of one line" if "\n" not in str(error) else "error of lines"] += 1
        longest = max(longest, time.perf_counter() - start)
    return {**results, "files": count, "longest_seconds": longest}


def main(argv: list[str]) -> None:
    """Prints and writes the table or the counts."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        if MUTANTS.value:
            results: object = decode_mutants(expand(FILES.value), MUTANTS.value, Path(folder))
        else:
            results = compare(Path(folder))
            agreeing = sum(bool(row["agrees"]) for row in results)
            print(f"{agreeing} of {len(results)} within {TOLERANCE_SECONDS} s")
    print(json.dumps(results) if MUTANTS.value else "")
    if OUTPUT.value:
        with replacing(Path(OUTPUT.value)) as path:
            path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)

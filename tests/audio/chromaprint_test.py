"""Chromaprint: equal to that of ffmpeg, copies in other formats, what is missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio import chromaprint, describe
from deepgenre.errors import UserError
from deepgenre.inference import shared_songs

try:
    chromaprint.load_library()
    MISSING = ""
except UserError as error:
    MISSING = str(error)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def music(seconds: float, seed: int) -> np.ndarray:
    """Returns chords that change four times a second, float32 (samples,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(chromaprint.RATE_HZ // 4) / chromaprint.RATE_HZ
    chords = 220 * 2 ** (rng.integers(0, 24, (round(4 * seconds), 3, 1)) / 12)
    return (0.2 * np.sin(2 * np.pi * chords * time).sum(axis=1)).ravel().astype(np.float32)


def fingerprint(samples: np.ndarray, block: int = 30_000) -> str | None:
    stream = chromaprint.Stream()
    for start in range(0, samples.size, block):
        stream.add(samples[start : start + block])
    return stream.values()


@needs_ffmpeg
def test_is_that_of_ffmpeg(tmp_path: Path):
    path = tmp_path / "song.wav"
    soundfile.write(path, music(20, 0), chromaprint.RATE_HZ, subtype="PCM_16")
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "chromaprint", "-"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this ffmpeg has no chromaprint: {made.stderr.strip()}")
    samples, _ = soundfile.read(path, dtype="int16")
    assert fingerprint(samples.astype(np.float32) / 32_767) == made.stdout.strip()


def test_of_a_long_recording_only_two_minutes_count():
    samples = music(123, 1)
    assert fingerprint(samples, 1 << 18) == fingerprint(samples[: chromaprint.MAX_SAMPLES])
    assert fingerprint(samples) != fingerprint(samples[: -5 * chromaprint.RATE_HZ])


def test_of_nothing_or_two_seconds_there_is_none():
    assert [fingerprint(music(seconds, 2)) for seconds in (0, 2)] == [None, None]


@needs_ffmpeg
def test_the_same_song_as_mp3_and_wav_is_found_in_two_libraries(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
):
    songs = sorted((shared_data / "gtzan_audio/genres").glob("*/*.wav"))[::12]
    for folder in ("wav", "mp3"):
        (tmp_path / folder).mkdir()
    for song in songs:
        shutil.copy(song, tmp_path / "wav")
        copy = tmp_path / "mp3" / f"{song.stem}.mp3"
        options = ["-ss", "3.3", "-b:a", "64k", "-ar", "44100"]
        subprocess.run(["ffmpeg", "-v", "error", "-i", song, *options, copy], check=True)
    monkeypatch.chdir(tmp_path)
    for folder in ("wav", "mp3"):
        arguments = [f"--weights={trained}", "--describe=chromaprint", "--paths=names"]
        command = ["--mode=embed", folder, f"--output={folder}.parquet", *arguments]
        assert tiny.call(monkeypatch, *command) == 0
    kept = shared_songs.read(tmp_path / "wav.parquet").songs
    assert all(song.details.chromaprint is not None for song in kept)
    command = ["--mode=overlap", "wav.parquet", "mp3.parquet", "--output=both.jsonl"]
    assert tiny.call(monkeypatch, *command) == 0
    rows = [json.loads(line) for line in Path("both.jsonl").read_text().splitlines()]
    found = {(row["first"], row["second"], row["by"]) for row in rows if row["kind"] == "both"}
    assert found == {(song.name, f"{song.stem}.mp3", "chromaprint") for song in songs}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "the package pyacoustid is not installed; pip install 'deepgenre[chromaprint]'"),
        ('raise ImportError("couldn\'t find libchromaprint")', "libchromaprint1; macOS: brew"),
        ("def red(text): return text", "'chromaprint' is not that of pyacoustid; remove it"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, monkeypatch, capsys, trained, module, message):
    monkeypatch.delitem(sys.modules, "chromaprint", raising=False)
    if module is None:
        monkeypatch.setitem(sys.modules, "chromaprint", None)
    else:
        (tmp_path / "chromaprint.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
    soundfile.write(tmp_path / "a.wav", music(4, 3), chromaprint.RATE_HZ)
    with pytest.raises(UserError, match="--describe=chromaprint: "):
        describe.check(["chromaprint"])
    command = ["--mode=embed", tmp_path / "a.wav", f"--output={tmp_path / 'v.npz'}"]
    code = tiny.call(monkeypatch, *command, f"--weights={trained}", "--describe=chromaprint")
    lines = capsys.readouterr().err.splitlines()
    assert code == 1
    assert message in lines[-1] and not any("Traceback" in line for line in lines)
    assert not (tmp_path / "v.npz").exists()

"""Test helpers: tagged audio files of every format that can be written, and their tags."""

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from mutagen import flac, id3, mp4

from deepgenre.audio import ffmpeg
from deepgenre.library import file_tags, journal, matroska, tag_writer
from deepgenre.library import undo as undo_files
from deepgenre.library.file_tags import Change
from deepgenre.library.tag_fields import Values

FFMPEG_SUFFIXES = [".m4a", ".wma", ".wv", ".tta", ".mka", ".webm"]
BYTES_SUFFIXES = [".dsf", ".ape"]  # made byte by byte, decoded by ffmpeg
SUFFIXES = [".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff", *FFMPEG_SUFFIXES, *BYTES_SUFFIXES]
FIELDS = {
    "genre": ("hip hop & ç",),
    "tags": ("guitar", "no vocals"),
    "tempo": ("128",),
    "key": ("F#m",),
    "gain": ("-6.50 dB",),
    "peak": ("0.988525",),
}
COVER = np.random.default_rng(0).bytes(30_000)


def write_tone(path: Path, *, seconds: float = 2.0) -> Path:
    """Writes a *synthetic* tone in the format of the suffix; returns the path."""
    samples = tiny.tone(440, seconds, 1)
    if path.suffix == ".opus":
        soundfile.write(path, samples, 48_000, format="OGG", subtype="OPUS")
        return path
    if path.suffix not in FFMPEG_SUFFIXES + BYTES_SUFFIXES:
        soundfile.write(path, samples, tiny.RATE_HZ)
        return path
    if not ffmpeg.is_installed():
        pytest.skip(f"{path.suffix} requires ffmpeg, which is not installed")
    if path.suffix in BYTES_SUFFIXES:
        path.write_bytes(dsf_bytes() if path.suffix == ".dsf" else ape_bytes())
        return path
    wav = path.with_suffix(".source.wav")
    soundfile.write(wav, samples, tiny.RATE_HZ)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", wav, path], check=True)
    wav.unlink()
    return path


def dsf_bytes() -> bytes:
    """Returns a short DSF file: one-bit samples at 2.8 MHz in blocks of 4,096 bytes per channel."""
    data = np.random.default_rng(0).bytes(2 * 4096)
    samples = struct.pack("<4sQ", b"data", 12 + len(data)) + data
    audio = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 2, 2, 2_822_400, 1, 4096 * 8, 4096, 0)
    total = 28 + len(audio) + len(samples)
    return struct.pack("<4sQQQ", b"DSD ", 28, total, 0) + audio + samples


def ape_bytes() -> bytes:
    """Returns a Monkey's Audio file of one frame, which its flags declare silent."""
    frame = struct.pack("<II", 0x80000000, 3) + bytes(24)  # checksum with flag bit, flags
    header = struct.pack("<HHIIIHHI", 2000, 0, 73728, 4410, 1, 16, 2, 44_100)
    start = 52 + len(header) + 4
    descriptor = struct.pack(
        "<4sHHIIIIIII16s", b"MAC ", 3990, 0, 52, len(header), 4, 0, len(frame), 0, 0, bytes(16)
    )
    return descriptor + header + struct.pack("<I", start) + frame


def add_user_tags(path: Path) -> None:
    """Adds typical tags and a cover to a file, and an ID3v1 tag to an mp3."""
    song: Any = file_tags._open(path)
    if song.tags is None:
        song.add_tags()
    if isinstance(song, file_tags.asf.ASF):
        song["Title"], song["WM/Genre"], song["WM/Publisher"] = ["Zażółć"], ["Polka"], ["a", "b"]
        song.save()
        return
    if isinstance(song, matroska.Matroska):
        song.set("TITLE", ["Zażółć"])
        song.set("GENRE", ["Polka"])
        song.set("ARTIST", ["a", "b"])
        song.save()
        return
    if isinstance(song, file_tags.ID3_FORMATS):
        frames: Any = song.tags
        frames.add(id3.TIT2(encoding=3, text=["Zażółć"]))
        frames.add(id3.TCON(encoding=3, text=["Polka"]))
        frames.add(id3.TXXX(encoding=3, desc="MOOD", text=["a", "b"]))
        frames.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=COVER))
        song.save(**({"v1": 2} if path.suffix == ".mp3" else {}))
        return
    if isinstance(song, mp4.MP4):
        song["\xa9nam"], song["\xa9gen"] = ["Zażółć"], ["Polka"]
        song["covr"] = [mp4.MP4Cover(COVER)]
    else:
        song["title"], song["genre"], song["artist"] = ["Zażółć"], ["Polka"], ["a", "b"]
    if isinstance(song, flac.FLAC):
        picture = flac.Picture()
        picture.data = COVER
        song.add_picture(picture)
    song.save()


def samples_of(path: Path) -> np.ndarray:
    if path.suffix in FFMPEG_SUFFIXES + BYTES_SUFFIXES:
        return np.concatenate([block for block, _ in ffmpeg.decode(path)])
    return soundfile.read(path, always_2d=True)[0]


def changes(song: Path, fields: Mapping[str, Values] = FIELDS) -> list[Change]:
    return tag_writer.changes(song, {f: lambda old, new=new: new for f, new in fields.items()})


def write(folder: Path, *songs: Path, fields: Mapping[str, Values] = FIELDS) -> None:
    with journal.appending(folder / "journal.jsonl") as record:
        for song in songs:
            tag_writer.rewrite(song, changes(song, fields), record)


def undo(folder: Path, *chosen: Path) -> dict[str, str]:
    """Returns the error per file, '' where it was restored."""
    outcomes = undo_files.run(folder / "journal.jsonl", chosen)
    return {outcome.path.name: outcome.error for outcome in outcomes}


def written(song: Path) -> dict[str, Values]:
    """Returns the fields of a file that have values."""
    return {field: values for field, values in file_tags.read(song).items() if values}

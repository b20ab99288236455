"""Audio beyond what libsndfile reads, files of hours, and files that change."""

import os
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from waveforms_test import RATE_HZ, bad_files, noise

from deepgenre.audio import decoding, ffmpeg, waveforms
from deepgenre.errors import UserError

needs_ffmpeg = pytest.mark.skipif(not ffmpeg.is_there(), reason="the program ffmpeg is not here")
ENCODERS = {"m4a": "aac", "aac": "aac", "wma": "wmav2", "mka": "flac", "webm": "libopus",
            "wv": "wavpack", "tta": "tta", "ac3": "ac3", "mp4": "alac"}  # fmt: skip
LOSSLESS = {"mka", "wv", "tta", "mp4"}
# A stream of frames that says nowhere how many there are: a cut between two of them leaves no mark.
ENDLESS = {"aac", "ac3"}


def encode(source: Path, target: Path, *options: str) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, target]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    """A file of two seconds whose channels differ."""
    time = np.arange(2 * 44_100) / 44_100
    channels = [0.4 * np.sin(2 * np.pi * pitch * time) for pitch in (440, 1_000)]
    soundfile.write(tmp_path / "two.wav", np.stack(channels, axis=1), 44_100)
    return tmp_path / "two.wav"


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ENCODERS)
def test_formats_that_ffmpeg_knows(tmp_path: Path, two_channels: Path, suffix: str):
    made = encode(two_channels, tmp_path / f"made.{suffix}", "-c:a", ENCODERS[suffix])
    expected, loaded = (waveforms.load(path, RATE_HZ) for path in (two_channels, made))
    if suffix in LOSSLESS:
        np.testing.assert_array_equal(loaded, expected)
        return
    middle = slice(RATE_HZ // 2, RATE_HZ)  # codecs add some silence at the ends
    found, wanted = (np.abs(np.fft.rfft(waveform[middle])) for waveform in (loaded, expected))
    np.testing.assert_allclose(found, wanted, atol=0.05 * wanted.max())
    assert abs(loaded.size - expected.size) < RATE_HZ / 5


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ENCODERS.keys() - ENDLESS)
def test_what_ffmpeg_finds_cut_is_refused(tmp_path: Path, two_channels: Path, suffix: str):
    made = encode(two_channels, tmp_path / f"made.{suffix}", "-c:a", ENCODERS[suffix])
    made.write_bytes(made.read_bytes()[: made.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=rf"made.{suffix}: .*cut short") as error:
        waveforms.load(made, RATE_HZ)
    assert "\n" not in str(error.value)
    assert "0x" not in str(error.value)


@needs_ffmpeg
def test_the_audio_of_a_video_is_heard(tmp_path: Path, two_channels: Path):
    picture = ["-f", "lavfi", "-i", "color=s=32x32:d=2", "-map", "1:v", "-map", "0:a"]
    video = encode(two_channels, tmp_path / "video.mkv", *picture, "-c:a", "pcm_s16le")
    np.testing.assert_array_equal(
        waveforms.load(video, RATE_HZ), waveforms.load(two_channels, RATE_HZ)
    )


@needs_ffmpeg
@pytest.mark.parametrize("content", ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n",
                                     "ffconcat version 1.0\nfile {}\n"])  # fmt: skip
def test_a_file_that_leads_to_other_files_is_not_followed(
    tmp_path: Path, two_channels: Path, content: str
):
    secret = encode(two_channels, tmp_path / "secret.m4a")
    (tmp_path / "song.m4a").write_text(content.format(secret.name))
    with pytest.raises(UserError, match=r"song.m4a: is not audio that ffmpeg can decode"):
        waveforms.load(tmp_path / "song.m4a", RATE_HZ)


def test_without_ffmpeg_its_formats_say_what_they_need(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(1000))
    with pytest.raises(UserError, match=r"song.m4a: .*m4a, aac, wma .* need the program ffmpeg"):
        waveforms.load(tmp_path / "song.m4a", RATE_HZ)


@settings(deadline=None)
@given(num_samples=st.integers(1, 1000), piece_samples=st.floats(0.5, 2000))
def test_pieces_are_those_of_array_split(num_samples: int, piece_samples: float):
    waveform = np.arange(num_samples)
    count = max(1, round(num_samples / piece_samples))
    assume(count <= num_samples)
    for piece, expected in zip(
        waveforms.cut(waveform, piece_samples), np.array_split(waveform, count), strict=True
    ):
        np.testing.assert_array_equal(piece, expected)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "m4a"])
def test_a_stream_gives_the_numbers_of_the_whole(monkeypatch, tmp_path, rate_hz, suffix):
    if suffix == "m4a" and not ffmpeg.is_there():
        pytest.skip("the program ffmpeg is not here")
    path = tmp_path / f"song.{suffix}"
    source = tmp_path / "song.wav"
    soundfile.write(source, noise(7.3, rate_hz, 2), rate_hz)
    if suffix == "m4a":
        encode(source, path)
    elif suffix != "wav":
        soundfile.write(path, noise(7.3, rate_hz, 2), rate_hz)
    whole = list(waveforms.pieces(path, RATE_HZ, 1.1))
    np.testing.assert_array_equal(np.concatenate(whole), waveforms.load(path, RATE_HZ))
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 1)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 4_096)
    streamed = list(waveforms.pieces(path, RATE_HZ, 1.1))
    assert [piece.size for piece in streamed] == [piece.size for piece in whole]
    np.testing.assert_allclose(np.concatenate(streamed), np.concatenate(whole), atol=1e-6)


@pytest.mark.parametrize("reason", ["cut short", "silent", "NaN"])
def test_a_stream_is_checked_as_the_whole_is(monkeypatch, tmp_path, reason):
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 0.1)
    with pytest.raises(UserError, match=reason):
        list(waveforms.pieces(bad_files(tmp_path)[reason], RATE_HZ, 0.3))


def test_a_header_that_is_wrong_about_the_length_of_a_long_file(monkeypatch, tmp_path):
    soundfile.write(tmp_path / "song.wav", noise(2.0, RATE_HZ), RATE_HZ)
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 0.1)
    for promised in (1_000, 3 * RATE_HZ):
        monkeypatch.setattr(waveforms, "_num_samples", lambda path, promised=promised: promised)
        with pytest.raises(UserError, match=r"song.wav: its header is wrong about its length"):
            list(waveforms.pieces(tmp_path / "song.wav", RATE_HZ, 0.3))


@pytest.mark.parametrize("change", ["grows", "is replaced", "is cut", "vanishes"])
@pytest.mark.parametrize("longest", [0.1, 600])
def test_a_file_that_changes_while_it_is_read(monkeypatch, tmp_path, change, longest):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(3.0, RATE_HZ), RATE_HZ)
    soundfile.write(tmp_path / "other.wav", noise(3.0, RATE_HZ, 2)[:, 1:], RATE_HZ)
    whole = path.read_bytes()
    by_libsndfile = decoding._by_libsndfile

    def meddle(*arguments):
        for number, block in enumerate(by_libsndfile(*arguments)):
            yield block
            if number == 2:
                if change == "grows":
                    path.write_bytes(whole + whole)
                elif change == "is replaced":
                    (tmp_path / "other.wav").replace(path)
                elif change == "is cut":
                    os.truncate(path, 20_000)
                else:
                    path.unlink()

    monkeypatch.setattr(decoding, "_by_libsndfile", meddle)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 4_096)
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", longest)
    with pytest.raises(UserError, match=r"song.wav: ") as error:
        list(waveforms.pieces(path, RATE_HZ, 1.0))
    assert "\n" not in str(error.value)

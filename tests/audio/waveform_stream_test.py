"""Formats decoded by ffmpeg, streamed files, and files that change while they are read."""

import os
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import in_process
import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from waveforms_test import RATE_HZ, bad_files, noise

from deepgenre.audio import decoding, ffmpeg, native_decoding, waveforms
from deepgenre.errors import UserError

needs_ffmpeg = pytest.mark.skipif(not ffmpeg.is_installed(), reason="ffmpeg is not installed")
ENCODERS = {"m4a": "aac", "aac": "aac", "wma": "wmav2", "mka": "flac", "webm": "libopus",
            "wv": "wavpack", "tta": "tta", "ac3": "ac3", "mp4": "alac"}  # fmt: skip
LOSSLESS = {"mka", "wv", "tta", "mp4"}
# Streams of frames without a declared length: truncation between two frames is undetectable.
WITHOUT_LENGTH = {"aac", "ac3"}


def encode(source: Path, target: Path, *options: str) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, target]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    """Returns a file of two seconds with different channels."""
    time = np.arange(2 * 44_100) / 44_100
    channels = [0.4 * np.sin(2 * np.pi * pitch * time) for pitch in (440, 1_000)]
    soundfile.write(tmp_path / "two.wav", np.stack(channels, axis=1), 44_100)
    return tmp_path / "two.wav"


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ENCODERS)
def test_formats_decoded_by_ffmpeg(tmp_path: Path, two_channels: Path, suffix: str):
    encoded = encode(two_channels, tmp_path / f"encoded.{suffix}", "-c:a", ENCODERS[suffix])
    expected, loaded = (waveforms.load(path, RATE_HZ) for path in (two_channels, encoded))
    if suffix in LOSSLESS:
        np.testing.assert_array_equal(loaded, expected)
        return
    middle = slice(RATE_HZ // 2, RATE_HZ)  # codecs add some silence at the ends
    spectrum, expected_spectrum = (np.abs(np.fft.rfft(w[middle])) for w in (loaded, expected))
    np.testing.assert_allclose(spectrum, expected_spectrum, atol=0.05 * expected_spectrum.max())
    assert abs(loaded.size - expected.size) < RATE_HZ / 5


@needs_ffmpeg
@pytest.mark.parametrize("suffix", sorted(ENCODERS.keys() - {"m4a", "mp4"} - WITHOUT_LENGTH))
def test_truncated_file_of_ffmpeg_formats_is_used_with_a_warning(
    tmp_path: Path, two_channels: Path, suffix: str, capsys
):
    encoded = encode(two_channels, tmp_path / f"encoded.{suffix}", "-c:a", ENCODERS[suffix])
    encoded.write_bytes(encoded.read_bytes()[: encoded.stat().st_size * 6 // 10])
    assert 0.6 * RATE_HZ < waveforms.load(encoded, RATE_HZ).size < 1.5 * RATE_HZ
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"encoded.{suffix}: is cut short or damaged" in line
    assert "0x" not in line


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "mp4"])
def test_truncated_mp4_without_its_index_is_an_error(
    tmp_path: Path, two_channels: Path, suffix: str
):
    encoded = encode(two_channels, tmp_path / f"encoded.{suffix}", "-c:a", ENCODERS[suffix])
    encoded.write_bytes(encoded.read_bytes()[: encoded.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=rf"encoded.{suffix}: is not audio that") as error:
        waveforms.load(encoded, RATE_HZ)
    assert "\n" not in str(error.value)


@needs_ffmpeg
def test_audio_track_of_a_video_is_read(tmp_path: Path, two_channels: Path):
    picture = ["-f", "lavfi", "-i", "color=s=32x32:d=2", "-map", "1:v", "-map", "0:a"]
    video = encode(two_channels, tmp_path / "video.mkv", *picture, "-c:a", "pcm_s16le")
    np.testing.assert_array_equal(
        waveforms.load(video, RATE_HZ), waveforms.load(two_channels, RATE_HZ)
    )


@needs_ffmpeg
@pytest.mark.parametrize("content", ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n",
                                     "ffconcat version 1.0\nfile {}\n"])  # fmt: skip
def test_playlists_that_refer_to_other_files_are_an_error(
    tmp_path: Path, two_channels: Path, content: str
):
    other = encode(two_channels, tmp_path / "other.m4a")
    (tmp_path / "song.m4a").write_text(content.format(other.name))
    with pytest.raises(UserError, match=r"song.m4a: is not audio that libsndfile or ffmpeg"):
        waveforms.load(tmp_path / "song.m4a", RATE_HZ)


def test_error_without_ffmpeg_names_the_program(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(1000))
    with pytest.raises(UserError, match=r"song.m4a: .*m4a, aac, wma .* need the program ffmpeg"):
        waveforms.load(tmp_path / "song.m4a", RATE_HZ)


@settings(deadline=None)
@given(num_samples=st.integers(1, 1000), piece_samples=st.floats(0.5, 2000))
def test_cut_equals_array_split(num_samples: int, piece_samples: float):
    waveform = np.arange(num_samples)
    count = max(1, round(num_samples / piece_samples))
    assume(count <= num_samples)
    for piece, expected in zip(
        waveforms.cut(waveform, piece_samples), np.array_split(waveform, count), strict=True
    ):
        np.testing.assert_array_equal(piece, expected)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "m4a"])
def test_streamed_pieces_equal_loaded_pieces(monkeypatch, tmp_path, rate_hz, suffix):
    if suffix == "m4a" and not ffmpeg.is_installed():
        pytest.skip("ffmpeg is not installed")
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
    in_process.decode_here(monkeypatch, block_samples=4_096)
    streamed = list(waveforms.pieces(path, RATE_HZ, 1.1))
    assert [piece.size for piece in streamed] == [piece.size for piece in whole]
    np.testing.assert_allclose(np.concatenate(streamed), np.concatenate(whole), atol=1e-6)


@pytest.mark.parametrize("reason", ["silent", "NaN"])
def test_streamed_files_are_checked_like_loaded_files(monkeypatch, tmp_path, reason):
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 0.1)
    with pytest.raises(UserError, match=reason):
        list(waveforms.pieces(bad_files(tmp_path)[reason], RATE_HZ, 0.3))


@pytest.mark.parametrize("declared", [0, 1_000, 6 * RATE_HZ])
def test_wrong_declared_length_of_a_streamed_file_drops_nothing(monkeypatch, tmp_path, declared):
    soundfile.write(tmp_path / "song.wav", noise(2.0, RATE_HZ), RATE_HZ)
    expected = waveforms.load(tmp_path / "song.wav", RATE_HZ)
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 0.1)
    in_process.decode_here(monkeypatch, block_samples=4_096)
    monkeypatch.setattr(waveforms, "_declared_samples", lambda path: declared)
    pieces = list(waveforms.pieces(tmp_path / "song.wav", RATE_HZ, 0.3))
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    assert all(0.14 < piece.size / RATE_HZ < 0.46 for piece in pieces)


@pytest.mark.parametrize("change", ["grows", "is replaced", "is cut", "vanishes"])
@pytest.mark.parametrize("loaded_seconds", [0.1, 600])
def test_file_that_changes_while_it_is_read_is_an_error(
    monkeypatch, tmp_path, change, loaded_seconds
):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(3.0, RATE_HZ), RATE_HZ)
    soundfile.write(tmp_path / "other.wav", noise(3.0, RATE_HZ, 2)[:, 1:], RATE_HZ)
    whole = path.read_bytes()
    read = native_decoding._read

    def read_and_change(sound, out):
        for number, block in enumerate(read(sound, out)):
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

    monkeypatch.setattr(native_decoding, "_read", read_and_change)
    in_process.decode_here(monkeypatch, block_samples=4_096)
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", loaded_seconds)
    with pytest.raises(UserError, match=r"song.wav: ") as error:
        list(waveforms.pieces(path, RATE_HZ, 1.0))
    assert "\n" not in str(error.value)


def test_a_streamed_file_whose_name_is_not_utf8(tmp_path, monkeypatch):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000)
    with path.open("wb") as stream:
        soundfile.write(stream, samples, 10_000, format="WAV")
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 1)
    pieces = list(waveforms.pieces(path, 10_000, 1.0))
    assert [piece.size for piece in pieces] == [10_000] * 3


@pytest.mark.parametrize("loaded_seconds", [300, 1])
def test_pieces_of_several_rates_equal_those_of_each_from_one_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded_seconds: int
):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(7.3, 44_100), 44_100)
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", loaded_seconds)
    in_process.decode_here(monkeypatch, block_samples=10_000)
    requested = [(22_050, 2.0), (16_000, 1.1), (44_100, 3.0), (16_000, 7.0)]
    expected = [list(waveforms.pieces(path, *one)) for one in requested]
    opened, blocks = [], decoding.blocks

    def recorded(path, **options):
        opened.append(path)
        return blocks(path, **options)

    monkeypatch.setattr(decoding, "blocks", recorded)
    found: list[list[np.ndarray]] = [[] for _ in requested]
    seconds = [0.0] * len(requested)
    for index, piece in waveforms.pieces_of_each(path, requested):
        assert seconds[index] == min(seconds) or found[index] == []
        found[index].append(piece)
        seconds[index] += piece.size / requested[index][0]
    assert len(opened) == (1 if loaded_seconds > 7 else 2)  # the start of long files once more
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)

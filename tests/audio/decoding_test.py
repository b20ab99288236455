"""Files whose headers declare the wrong length, or none, or that contain several streams."""

import struct
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings

from deepgenre.audio import decoding, ffmpeg, mpeg
from deepgenre.audio.file_bytes import WINDOW_BYTES, FileBytes
from deepgenre.errors import UserError

RATE_HZ = 44_100
QUIET_SECONDS, LOUD_SECONDS = 6, 4


@pytest.fixture(params=[False, True], ids=["without ffmpeg", "with ffmpeg"])
def programs(request, tmp_path_factory, monkeypatch):
    """Runs a test without ffmpeg and, where that is installed, with it."""
    if request.param and not ffmpeg.is_installed():
        pytest.skip("ffmpeg is not installed")
    if not request.param:
        monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    """A quiet tone, then loud noise: variable bit rates differ by an order of magnitude."""
    time = np.arange(QUIET_SECONDS * RATE_HZ) / RATE_HZ
    quiet = 0.01 * np.sin(2 * np.pi * 440 * time)
    loud = 0.5 * np.random.default_rng(0).uniform(-1, 1, LOUD_SECONDS * RATE_HZ)
    return np.concatenate([quiet, loud])


@pytest.fixture(scope="module")
def streams(waveform: np.ndarray, tmp_path_factory) -> dict[str, bytes]:
    """The waveform as mp3 of a constant and of a variable bit rate."""
    folder, contents = tmp_path_factory.mktemp("mp3"), {}
    for mode in ("CONSTANT", "VARIABLE"):
        soundfile.write(folder / "x.mp3", waveform, RATE_HZ, bitrate_mode=mode)
        contents[mode] = (folder / "x.mp3").read_bytes()
        assert contents[mode].find(b"Xing") == 4 + 17
    return contents


def without_tag(stream: bytes) -> bytes:
    header = int.from_bytes(stream[:4])
    return stream[mpeg.frame_sizes()[header >> 9 & 0xFFF] :]


def with_count(stream: bytes, factor: float) -> bytes:
    (count,) = struct.unpack_from(">I", stream, 21 + 8)
    return stream[:29] + struct.pack(">I", int(count * factor)) + stream[33:]


def id3v2(size: int, declared: bytes | None = None) -> bytes:
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + (declared or sizes) + bytes(size)


def in_wav(stream: bytes) -> bytes:
    layout = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 16_000, 1, 0, 12, 1, 2, 418, 1, 0)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


MPEG_CASES = {
    "as encoded": lambda stream: stream,
    "without tag": without_tag,
    "without tag, ID3v1": lambda stream: without_tag(stream) + b"TAG" + b"x" * 125,
    "without tag, ID3v2": lambda stream: id3v2(300) + without_tag(stream),
    "count 0": lambda stream: with_count(stream, 0),
    "count too low": lambda stream: with_count(stream, 0.3),
    "count too high": lambda stream: with_count(stream, 3),
    "zeros before": lambda stream: bytes(5_000) + stream,
    "zeros after": lambda stream: stream + bytes(5_000),
    "zeros after ID3v2": lambda stream: id3v2(300) + bytes(5_000) + stream,
    "ID3v2 size damaged": lambda stream: id3v2(300, b"\xff\x7f\x7f\x7f") + stream,
    "ID3v2 size too high": lambda stream: id3v2(300, b"\x7f\x7f\x7f\x7f") + stream,
    "ID3v2 size too low": lambda stream: id3v2(300, b"\0\0\0\x05") + stream,
    "two ID3v2 tags": lambda stream: id3v2(300) + id3v2(200) + stream,
    "APEv2 after": lambda stream: stream + b"APETAGEX" + bytes(200),
    "in wav": lambda stream: in_wav(stream),
    "in wav, without tag": lambda stream: in_wav(without_tag(stream)),
}


def decode(path: Path) -> tuple[np.ndarray, list[str]]:
    """Returns the samples, float32 (samples,), and the warnings."""
    warnings: list[str] = []
    return np.concatenate([mono for mono, _ in decoding.blocks(path, warnings.append)]), warnings


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("case", MPEG_CASES)
def test_mpeg_stream_is_decoded_whole(programs, tmp_path, streams, waveform, mode, case):
    path = tmp_path / ("x.wav" if "wav" in case else "x.mp3")
    path.write_bytes(MPEG_CASES[case](streams[mode]))
    samples, warnings = decode(path)
    assert not warnings
    assert abs(len(samples) - len(waveform)) < 0.1 * RATE_HZ
    # The loud part is where it belongs: not the start, repeated or stretched.
    loud = np.abs(samples) > 0.1
    assert abs(int(loud.argmax()) / RATE_HZ - QUIET_SECONDS) < 0.1


def test_gap_in_an_mpeg_stream_is_a_warning(programs, tmp_path, streams):
    stream, middle = streams["CONSTANT"], len(streams["CONSTANT"]) // 2
    (tmp_path / "x.mp3").write_bytes(stream[:middle] + bytes(3_000) + stream[middle + 3_000 :])
    samples, (warning,) = decode(tmp_path / "x.mp3")
    assert 9.5 < len(samples) / RATE_HZ < 10
    assert "x.mp3: is cut short or damaged" in warning


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_chained_ogg_streams_are_decoded_one_after_another(programs, tmp_path, waveform, suffix):
    parts = []
    for rate_hz in (48_000, 24_000):
        part = tmp_path / f"{rate_hz}.{suffix}"
        subtype = "OPUS" if suffix == "opus" else "VORBIS"
        soundfile.write(part, waveform, rate_hz, format="OGG", subtype=subtype)
        parts.append(part.read_bytes())
    (tmp_path / "chain.ogg").write_bytes(b"".join(parts))
    samples, warnings = decode(tmp_path / "chain.ogg")
    assert not warnings
    expected_seconds = len(waveform) / 48_000 + len(waveform) / 24_000
    assert abs(len(samples) / 48_000 - expected_seconds) < 0.1
    (tmp_path / "cut.ogg").write_bytes(b"".join(parts)[:-3_000])
    samples, (warning,) = decode(tmp_path / "cut.ogg")
    assert len(samples) / 48_000 > len(waveform) / 48_000 + 1
    assert "cut.ogg: is cut short or damaged" in warning


def test_ogg_pages_that_begin_no_stream_are_an_error(programs, tmp_path, waveform):
    soundfile.write(tmp_path / "x.ogg", waveform, RATE_HZ)
    content = bytearray((tmp_path / "x.ogg").read_bytes())
    assert content[5] == 2
    content[5] = 0
    (tmp_path / "x.ogg").write_bytes(content)
    with pytest.raises(UserError, match=r"x.ogg: "):
        decode(tmp_path / "x.ogg")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_wav_of_size_0_has_the_samples_of_the_finalised_one(
    programs, tmp_path, waveform, subtype, container
):
    path = tmp_path / "x.wav"
    stereo = np.stack([waveform, -0.5 * waveform], axis=1)[:50_000]
    soundfile.write(path, stereo, RATE_HZ, format=container, subtype=subtype)
    expected, _ = decode(path)
    content = bytearray(path.read_bytes())
    at = content.find(b"data") + 4
    content[4:8], content[at : at + 4] = bytes(4), bytes(4)
    path.write_bytes(content)
    samples, warnings = decode(path)
    assert not warnings
    np.testing.assert_array_equal(samples[: len(expected)], expected)


def test_damage_within_a_flac_file_loses_only_its_surroundings(programs, tmp_path, waveform):
    soundfile.write(tmp_path / "x.flac", waveform, RATE_HZ)
    content = bytearray((tmp_path / "x.flac").read_bytes())
    middle = int(len(content) * 0.8)
    content[middle : middle + 500] = bytes(500)
    (tmp_path / "x.flac").write_bytes(content)
    samples, (warning,) = decode(tmp_path / "x.flac")
    least = 9 if ffmpeg.is_installed() else 7  # libsndfile ends at the damage
    assert least < len(samples) / RATE_HZ <= 10
    assert "x.flac: is cut short or damaged" in warning


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_mutated_files_end_in_samples_or_one_line(tmp_path_factory, streams, data):
    content = bytearray(streams[data.draw(st.sampled_from(["CONSTANT", "VARIABLE"]))])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, 400) | st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["byte", "zeros", "cut", "insert"]))
        if kind == "byte":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "zeros":
            content[at : at + 100] = bytes(100)
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 3_000))]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    path = tmp_path_factory.mktemp("mutated") / "x.mp3"
    path.write_bytes(content)
    try:
        samples, _ = decode(path)
    except UserError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert len(samples) and np.isfinite(samples).all()


@settings(deadline=None, max_examples=50)
@given(
    at=st.integers(0, 2 * WINDOW_BYTES),
    start=st.integers(0, 2 * WINDOW_BYTES),
    length=st.integers(0, 5_000),
)
def test_file_bytes_equal_bytes(tmp_path_factory, at, start, length):
    content = bytearray(2 * WINDOW_BYTES + 7)
    content[at : at + 4] = b"here"
    path = tmp_path_factory.mktemp("bytes") / "x"
    path.write_bytes(content)
    with path.open("rb") as stream:
        file = FileBytes(stream.fileno())
        assert len(file) == len(content)
        assert file.find(b"here") == content.find(b"here")
        assert file.find(b"here", start) == content.find(b"here", start)
        assert file.find(b"here", 0, start) == content.find(b"here", 0, start)
        assert file[start : start + length] == content[start : start + length]

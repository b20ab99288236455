import os
import struct
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from deepgenre.audio import waveforms
from deepgenre.errors import UserError

RATE_HZ = 22_050


def noise(seconds: float, rate_hz: int, channels: int = 1) -> np.ndarray:
    """Returns quiet low-frequency noise, float64 (samples, channels), that any codec can encode."""
    rng = np.random.default_rng(channels)
    samples = rng.standard_normal((round(seconds * rate_hz), channels))
    return 0.1 * np.cumsum(samples, axis=0) / np.sqrt(len(samples))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [22_050, 44_100])
def test_load_equals_librosa_load(tmp_path: Path, suffix: str, channels: int, rate_hz: int):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, noise(1.3, rate_hz, channels), rate_hz)
    expected, _ = librosa.load(path, sr=RATE_HZ, mono=True)
    loaded = waveforms.load(path, RATE_HZ)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, expected)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 8])
def test_load_equals_librosa_load_for_other_rates_and_channels(
    tmp_path: Path, rate_hz: int, channels: int
):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(0.5, rate_hz, channels), rate_hz)
    expected, _ = librosa.load(path, sr=RATE_HZ, mono=True)
    np.testing.assert_array_equal(waveforms.load(path, RATE_HZ), expected)


def test_unusual_names_and_wrong_suffixes_are_read(tmp_path: Path):
    mp3 = tmp_path / "clip.mp3"
    soundfile.write(mp3, noise(1.0, RATE_HZ), RATE_HZ)
    renamed = tmp_path / "Ænima жұлдыз 星 #1 'x'.wav"
    renamed.write_bytes(mp3.read_bytes())
    np.testing.assert_array_equal(waveforms.load(renamed, RATE_HZ), waveforms.load(mp3, RATE_HZ))


def bad_files(folder: Path) -> dict[str, Path]:
    """Writes one unusable file per kind of error; returns paths by the text of the message."""
    paths = {
        "0 bytes": folder / "empty.wav",
        "not audio": folder / "text.mp3",
        "silent": folder / "silent.flac",
        "NaN": folder / "nan.wav",
        "no audio samples": folder / "headeronly.wav",
        "No such file": folder / "missing.wav",
        "directory": folder / "folder.wav",
    }
    paths["0 bytes"].touch()
    paths["not audio"].write_text("this is a shopping list\n" * 50)
    soundfile.write(paths["silent"], np.zeros(RATE_HZ), RATE_HZ)
    with_nan = noise(1.0, RATE_HZ)
    with_nan[500] = np.nan
    soundfile.write(paths["NaN"], with_nan, RATE_HZ, subtype="FLOAT")
    soundfile.write(paths["no audio samples"], np.zeros(0), RATE_HZ)
    paths["directory"].mkdir()
    return paths


def test_errors_of_bad_files_are_one_line_with_path_and_reason(tmp_path: Path):
    for reason, path in bad_files(tmp_path).items():
        with pytest.raises(UserError) as error:
            waveforms.load(path, RATE_HZ)
        message = str(error.value)
        assert str(path) in message
        assert reason in message
        assert "\n" not in message


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
@pytest.mark.parametrize("with_ffmpeg", [False, True])
def test_truncated_file_is_used_with_a_warning(
    tmp_path: Path, suffix: str, share: float, with_ffmpeg: bool, monkeypatch, capsys
):
    if not with_ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path))
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    soundfile.write(whole, noise(4.0, RATE_HZ, 2), RATE_HZ)
    expected = waveforms.load(whole, RATE_HZ)
    assert expected.size == 4 * RATE_HZ
    assert not capsys.readouterr().err
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    loaded = waveforms.load(cut, RATE_HZ)
    assert 0.4 * share < loaded.size / expected.size < share + 0.1
    # The last frame of a lossy stream depends on what follows it.
    same = loaded.size - 4_000
    np.testing.assert_allclose(loaded[:same], expected[:same], atol=1e-4)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"warning: {cut}: is cut short or damaged")


def wav(*, rate_hz: int = RATE_HZ, data_bytes: int | None = None) -> bytes:
    """Returns a WAV file of a one-second tone, with the given values in its header."""
    samples = (9_000 * np.sin(0.1 * np.arange(RATE_HZ))).astype("<i2").tobytes()
    size = len(samples) if data_bytes is None else data_bytes
    return b"".join(
        [
            b"RIFF", struct.pack("<I", min(size, 0xFFFFFFDB) + 36), b"WAVEfmt ",
            struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz & 0xFFFFFFFF, 2, 16),
            b"data", struct.pack("<I", size), samples,
        ]
    )  # fmt: skip


def test_wav_header_with_unknown_length_is_read(tmp_path: Path):
    for data_bytes in (None, 0xFFFFFFFF):
        (tmp_path / "clip.wav").write_bytes(wav(data_bytes=data_bytes))
        assert waveforms.load(tmp_path / "clip.wav", RATE_HZ).size == RATE_HZ


@pytest.mark.parametrize("with_ffmpeg", [False, True])
def test_wav_that_was_never_finalised_is_read_to_its_end(tmp_path: Path, with_ffmpeg, monkeypatch):
    if not with_ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "whole.wav").write_bytes(wav())
    (tmp_path / "clip.wav").write_bytes(wav(data_bytes=0))
    expected = waveforms.load(tmp_path / "whole.wav", RATE_HZ)
    np.testing.assert_array_equal(waveforms.load(tmp_path / "clip.wav", RATE_HZ), expected)


@pytest.mark.parametrize("rate_hz", [1, 2**31 - 1])
def test_implausible_sample_rate_is_an_error(tmp_path: Path, rate_hz: int):
    (tmp_path / "clip.wav").write_bytes(wav(rate_hz=rate_hz))
    with pytest.raises(UserError, match=rf"clip.wav: .* sample rate \({rate_hz} Hz\)"):
        waveforms.load(tmp_path / "clip.wav", RATE_HZ)


@pytest.mark.parametrize("frames", [0, 2**36 - 1])  # 0: unknown
def test_implausible_declared_length_is_ignored(tmp_path: Path, frames: int):
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(1.0, RATE_HZ), RATE_HZ)
    content = bytearray(path.read_bytes())
    rate_to_length = int.from_bytes(content[18:26], "big") >> 36 << 36 | frames
    content[18:26] = rate_to_length.to_bytes(8, "big")
    path.write_bytes(content)
    assert waveforms.load(path, RATE_HZ).size == RATE_HZ


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_an_error(tmp_path: Path):
    path = tmp_path / "secret.wav"
    soundfile.write(path, noise(1.0, RATE_HZ), RATE_HZ)
    path.chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        waveforms.load(path, RATE_HZ)

"""The front end on the device equals the one on the host."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio import device_frontend, frontend
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.composer.composition import compose
from deepgenre.data.composer.rendering import render
from deepgenre.inference import windows


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Returns 3 s of *synthetic* music, float32."""
    rng = np.random.default_rng(0)
    return render(compose("rock", rng, 3.0), rng, 22_050, 1).reshape(-1).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        FrontEnd(),
        FrontEnd(kind="mfcc", hop_length=1711),
        FrontEnd(n_fft=1000, hop_length=333, n_mels=40, fmin_hz=50.0, dynamic_range_db=60.0),
        FrontEnd(kind="musicnn", sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=96),
        FrontEnd(kind="waveform"),
    ],
)
def test_levels_equal_those_of_the_host(music: np.ndarray, settings: FrontEnd):
    for num_samples in (music.size - 20_000, 40_000, 2_049, 257):
        clip = 1.5 * music[20_000 : 20_000 + num_samples]
        padded = np.full(70_000, 9.0, np.float32)  # padding louder than the clip
        padded[:num_samples] = clip
        expected = frontend.levels(clip, settings)
        levels = np.asarray(device_frontend.padded_levels(padded, num_samples, settings))
        levels = levels[: expected.shape[0]]
        assert (levels.shape, levels.dtype) == (expected.shape, settings.stored_dtype)
        if settings.kind == "musicnn":  # float16: one step of its 11 bits; more for small power
            np.testing.assert_allclose(levels, expected, rtol=2**-10, atol=2**-23)
            continue
        difference = np.abs(levels.astype(int) - expected)
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 2e-3


@pytest.mark.parametrize("num_samples", [1, 2, 9, 1_000, 40_961, 66_150])
def test_padding_does_not_change_levels(music: np.ndarray, num_samples: int):
    for settings in (FrontEnd(), FrontEnd(kind="waveform")):
        clip = music[20_000 : 20_000 + num_samples]
        expected = frontend.levels(clip, settings)
        levels = device_frontend.levels_of(clip, settings)
        assert levels.shape == expected.shape
        assert np.abs(levels.astype(int) - expected).max() <= 1


def test_frames_of_the_padding_do_not_set_the_maximum():
    """A click at the very end is loudest in a frame after the last valid one."""
    clip = np.zeros(8 * 1024 + 1023, np.float32)
    clip[-40:] = 1.0
    clip[2000:2040] = 0.3
    expected = frontend.levels(clip, FrontEnd())
    levels = device_frontend.levels_of(clip, FrontEnd())
    assert expected.max() == levels.max() == 255
    assert np.abs(levels.astype(int) - expected).max() <= 1


def test_windows_of_a_file_are_the_same_on_a_gpu(monkeypatch, music: np.ndarray, tmp_path: Path):
    soundfile.write(tmp_path / "song.wav", np.tile(music, 7), tiny.RATE_HZ)
    spec = tiny.spec(clip_seconds=8.0, frontend=FrontEnd(n_mels=16, n_mfcc=8, hop_length=256))
    expected = list(windows.file_windows(tmp_path / "song.wav", [spec]))
    used = []
    monkeypatch.setattr(windows, "on_gpu", lambda: used.append(True) or True)
    on_device = list(windows.file_windows(tmp_path / "song.wav", [spec]))
    assert len(on_device) == len(expected) == len(used) > 1
    for (_, found), (_, on_host) in zip(on_device, expected, strict=True):
        np.testing.assert_array_equal(found.starts, on_host.starts)
        difference = np.abs(np.stack(found.levels).astype(int) - np.stack(on_host.levels))
        assert difference.max() <= 1

import dataclasses

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.audio import frontend
from deepgenre.audio.features import features
from deepgenre.audio.frontend import FULL_SCALE, FrontEnd
from deepgenre.data.composer.composition import compose
from deepgenre.data.composer.rendering import render
from deepgenre.errors import UserError


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Returns 3 s of *synthetic* music, float32."""
    rng = np.random.default_rng(0)
    return render(compose("rock", rng, 3.0), rng, 22_050, 1).reshape(-1).astype(np.float32)


def librosa_log_mel(samples: np.ndarray, settings: FrontEnd) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=settings.sample_rate_hz,
        n_mels=settings.n_mels,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        fmin=settings.fmin_hz,
        fmax=settings.top_hz,
    )
    return librosa.power_to_db(mel, ref=np.max).T


@pytest.mark.parametrize(
    "settings",
    [
        FrontEnd(),
        FrontEnd(hop_length=512, n_mels=96),
        FrontEnd(sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=96, fmax_hz=7_500.0),
        FrontEnd(hop_length=1711),
        FrontEnd(n_fft=1000, hop_length=333, n_mels=40, fmin_hz=50.0),
    ],
)
def test_log_mel_equals_librosa(music: np.ndarray, settings: FrontEnd):
    expected = librosa_log_mel(music, settings)
    decibels = frontend.log_mel(music, settings)
    assert decibels.shape == expected.shape
    assert decibels.shape == (1 + music.size // settings.hop_length, settings.n_mels)
    np.testing.assert_allclose(decibels, expected, atol=2e-3)
    decibels = frontend.levels(music, settings) * (80 / 255) - 80
    np.testing.assert_allclose(decibels, expected, atol=0.5 * 80 / 255 + 2e-3)


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize("num_samples", [1, 2, 1023, 1024, 2047, 2048, 2049])
def test_log_mel_of_clips_about_as_short_as_a_frame(music: np.ndarray, num_samples: int):
    clip = music[30_000 : 30_000 + num_samples]
    expected = librosa_log_mel(clip, FrontEnd())
    decibels = frontend.log_mel(clip, FrontEnd())
    assert decibels.shape == expected.shape
    np.testing.assert_allclose(decibels, expected, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(num_samples=st.integers(1, 9_000))
def test_number_of_frames_of_any_length(num_samples: int):
    samples = np.random.default_rng(num_samples).standard_normal(num_samples).astype(np.float32)
    levels = frontend.levels(samples, FrontEnd())
    assert levels.shape == (1 + num_samples // 1024, 128)
    assert levels.dtype == np.uint8
    assert levels.max() == 255


def test_mfcc_equals_librosa_up_to_standardisation(music: np.ndarray):
    settings = FrontEnd(kind="mfcc", n_mfcc=20)
    decibels = librosa_log_mel(music, settings)
    mean, deviation = 100.0, 40.0
    standardised = ((decibels + 80) * (255 / 80) - mean) / deviation
    expected = librosa.feature.mfcc(S=standardised.T, n_mfcc=20).T
    levels = jnp.asarray(frontend.levels(music, settings))[None]
    mfcc = features(levels, settings, mean, deviation)[0]
    # Rounding errors of 128 bands, at most half a level each, add up like noise.
    np.testing.assert_allclose(mfcc, expected, atol=0.5 * np.sqrt(128) / deviation)
    assert np.sqrt(np.mean((mfcc - expected) ** 2)) < 0.3 / deviation


def test_standardised_levels_equal_standardised_decibels(music: np.ndarray):
    settings = FrontEnd()
    levels = frontend.levels(music, settings)
    decibels = levels * (80 / 255) - 80
    expected = (decibels - decibels.mean()) / decibels.std()
    mean, deviation = float(levels.mean()), float(levels.std())
    standardised = features(jnp.asarray(levels)[None], settings, mean, deviation)
    np.testing.assert_allclose(standardised[0], expected, atol=1e-4)


def test_waveform_levels_have_sixteen_bit_precision(music: np.ndarray):
    settings = FrontEnd(kind="waveform")
    levels = frontend.levels(music, settings)
    assert levels.shape == (music.size, 1)
    assert levels.dtype == settings.stored_dtype
    samples = features(jnp.asarray(levels)[None], settings, 0.0, 1.0)
    np.testing.assert_allclose(samples[0, :, 0], music, atol=0.51 / FULL_SCALE)


MUSICNN = FrontEnd(kind="musicnn", sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=96)


def musicnn_features(samples: np.ndarray) -> np.ndarray:
    """Returns features of kind 'musicnn', float32 (frames, 96)."""
    power = frontend.levels(samples, MUSICNN)
    assert power.dtype == MUSICNN.stored_dtype == np.float16
    return np.asarray(features(jnp.asarray(power)[None], MUSICNN, 0.0, 1.0)[0])


def test_musicnn_features_equal_their_definition():
    samples = np.random.default_rng(0).normal(size=4096).clip(-1, 1).astype(np.float32)
    log_power = musicnn_features(samples)
    assert log_power.shape == (17, 96) and log_power.dtype == np.float32
    padded = np.pad(samples, 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    filters = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96)
    for frame in (0, 5, 16):
        spectrum = np.fft.rfft(padded[frame * 256 : frame * 256 + 512] * window)
        expected = np.log10(1 + 10_000 * filters @ np.abs(spectrum) ** 2)
        # float16 has 11 bits: errors of 2 ** -12 of the power, 2.2e-4 of its decimal logarithm.
        np.testing.assert_allclose(log_power[frame], expected, atol=2.3e-4)


def test_musicnn_features_are_finite_and_samples_are_clipped_at_full_scale():
    sine = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    loud = musicnn_features(4 * sine)
    assert np.isfinite(loud).all()
    assert loud.max() > np.log10(np.finfo(np.float16).max)  # beyond the overflow of float16
    np.testing.assert_array_equal(loud, musicnn_features(np.clip(4 * sine, -1, 1)))
    long_frames = frontend.levels(np.sign(sine), FrontEnd(kind="musicnn", n_fft=8192))
    assert long_frames.max() == np.finfo(np.float16).max  # not infinite


@pytest.mark.parametrize("num_samples", [1, 2, 255, 256, 257])
def test_musicnn_features_of_clips_shorter_than_a_frame(num_samples: int):
    log_power = musicnn_features(np.full(num_samples, 0.5, np.float32))
    assert log_power.shape == (1 + num_samples // 256, 96)
    assert np.isfinite(log_power).all() and log_power.max() > 1  # padded by reflection, not zeros


def test_store_id_depends_on_every_field():
    changes = {
        "sample_rate_hz": 16_000,
        "n_fft": 1024,
        "hop_length": 512,
        "n_mels": 96,
        "fmin_hz": 20.0,
        "fmax_hz": 8_000.0,
        "dynamic_range_db": 90.0,
        "kind": "waveform",
    }
    assert FrontEnd(kind="musicnn").store_id != FrontEnd().store_id
    others = {dataclasses.replace(FrontEnd(), **{k: v}).store_id for k, v in changes.items()}
    assert len(others | {FrontEnd().store_id}) == 1 + len(changes)
    assert FrontEnd(kind="mfcc", n_mfcc=13).store_id == FrontEnd().store_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "log_mell"),
        ("hop_length", 0),
        ("fmax_hz", 20_000.0),
        ("fmin_hz", -1.0),
        ("n_mfcc", 129),
    ],
)
def test_error_names_the_invalid_field(field: str, value: object):
    with pytest.raises(UserError, match=rf"frontend.*{field}"):
        dataclasses.replace(FrontEnd(), **{field: value})

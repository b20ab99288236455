"""Groups of features against a plain numpy rendering of each, for several sizes of clips."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from deepgenre.audio.mel import band_centres_hz
from deepgenre.errors import UserError
from deepgenre.models import chroma, feature_groups, modulation_statistics, texture_statistics
from deepgenre.models.feature_groups import BANKS, FEATURE_SETS, STATISTICS, describe
from deepgenre.models.filter_banks import LARGEST, THRESHOLD

RATE_HZ = 22_050
SIZES = [(140, 96), (12, 40)]


def clip(frames: int, bands: int, seed: int = 0) -> np.ndarray:
    """Returns noise with a slope over bands, a slow modulation and onsets, (frames, bands)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(frames, bands)) + np.linspace(1, -1, bands)
    x += np.sin(np.arange(frames) / 5)[:, None]
    x[:: max(2, frames // 10)] += 2
    return x.astype(np.float32)


def check(actual: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(actual)[0], expected.ravel(), rtol=2e-3, atol=2e-3)


def deviation(values: np.ndarray) -> np.ndarray:
    return np.sqrt(values.var(axis=0) + 1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_spectrum_percentiles(size):
    x = clip(*size)
    bands = x.shape[1] // 4
    level = x.reshape(len(x), bands, 4).mean(axis=2)
    expected = [np.percentile(level, q, axis=0) - np.median(level, axis=0) for q in (5, 25, 75, 95)]
    check(jax.jit(texture_statistics.spectrum_percentiles)(x[None]), np.array(expected))


@pytest.mark.parametrize("size", SIZES)
def test_onset_distribution(size):
    x = clip(*size)
    rise = np.maximum(0, np.diff(x, axis=0))
    width = x.shape[1] // 8
    rows = [rise[:, i * width : (i + 1) * width].mean(axis=1) for i in range(8)]
    centred = np.stack([*rows, rise.mean(axis=1)], axis=1)
    centred -= centred.mean(axis=0)
    spread = deviation(centred)
    expected = [
        spread,
        (centred**3).mean(axis=0) / (spread**3 + 1e-3),
        np.abs(centred).mean(axis=0) / spread,
        *np.percentile(centred, (10, 50, 75, 90, 97), axis=0),
    ]
    check(jax.jit(texture_statistics.onset_distribution)(x[None]), np.array(expected))


@pytest.mark.parametrize("size", SIZES)
def test_harmonic_percussive(size):
    x = clip(*size)
    difference = scipy.ndimage.median_filter(x, (9, 1)) - scipy.ndimage.median_filter(x, (1, 9))
    groups = np.stack(np.split(difference, x.shape[1] // 8, axis=1))
    expected = [
        groups.mean(axis=(1, 2)),
        np.abs(groups).mean(axis=(1, 2)),
        groups.std(axis=(1, 2)),
        (groups > 0).mean(axis=(1, 2)),
    ]
    check(jax.jit(texture_statistics.harmonic_percussive)(x[None]), np.array(expected))


@pytest.mark.parametrize("size", SIZES)
def test_detail(size):
    x = clip(*size)
    rms = []
    for axis in (1, 0):
        difference = x - scipy.ndimage.uniform_filter1d(x, 9, axis=axis)
        rms.append(np.sqrt((difference.reshape(len(x), -1, 8) ** 2).mean(axis=2)))
    a, b = rms
    ratio = np.log((a.mean(axis=0) + 0.01) / (b.mean(axis=0) + 0.01))
    expected = [a.mean(axis=0), deviation(a), b.mean(axis=0), deviation(b), ratio]
    check(jax.jit(texture_statistics.detail)(x[None]), np.array(expected))


def pitch_classes(x: np.ndarray) -> np.ndarray:
    """Returns unit-norm chroma vectors (frames, 12), band by band."""
    peaks = np.maximum(0, x - scipy.ndimage.uniform_filter1d(x, 13, axis=1))
    pitch = np.zeros((len(x), 12))
    for band, hz in enumerate(band_centres_hz(x.shape[1], 0, RATE_HZ / 2)):
        if not 150 <= hz <= 2500:
            continue
        position = 12 * np.log2(hz / 261.6256) % 12
        for pitch_class in range(12):
            distance = min(abs(position - pitch_class), 12 - abs(position - pitch_class))
            pitch[:, pitch_class] += peaks[:, band] * max(0, 1 - distance)
    return pitch / np.sqrt((pitch**2).sum(axis=1, keepdims=True) + 1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_chroma(size):
    x = clip(*size)
    pitch = pitch_classes(x)
    mean = pitch.mean(axis=0)
    profile = np.array(chroma.MAJOR_PROFILE) - np.mean(chroma.MAJOR_PROFILE)
    tonic = max(range(12), key=lambda tonic: np.roll(mean, -tonic) @ profile)
    lags = [min(lag, len(x) - 1) for lag in (1, 2, 4, 8, 16, 32)]
    expected = [
        *np.roll(mean, -tonic),
        *np.abs(np.fft.rfft(mean))[1:],
        *[(pitch * np.roll(pitch, shift, axis=1)).sum(axis=1).mean() for shift in range(1, 7)],
        *[(pitch[lag:] * pitch[:-lag]).sum(axis=1).mean() for lag in lags],
        mean.std(),
        pitch.max(axis=1).mean(),
        pitch.std(axis=1).mean(),
        deviation(pitch).mean(),
    ]
    check(jax.jit(chroma.chroma, static_argnums=1)(x[None], RATE_HZ), np.array(expected))


def test_chroma_does_not_depend_on_the_key():
    """Mel bands are not semitones: the weights are tested alone, the rest on rotated vectors."""
    weights = chroma._pitch_class_weights(128, RATE_HZ)
    hz = band_centres_hz(128, 0, RATE_HZ / 2)
    a4 = int(np.abs(hz - 440).argmin())
    assert weights[a4].argmax() == 9
    assert not weights[hz < 150].any() and not weights[hz > 2500].any()


def padded_patches(x: np.ndarray, frames: int) -> np.ndarray:
    centred = x - x.mean(axis=0)
    centred = np.pad(centred, ((0, max(0, frames - len(x))), (0, 0)))
    starts = range(0, len(centred) - frames + 1, frames // 2)
    return np.stack([centred[start : start + frames] for start in starts])


def log_bins(count: int) -> list[range]:
    """Returns the rates 1..64 in bins of at least one rate, as equal on a logarithmic scale."""
    edges = [1]
    for edge in 65 ** (np.arange(1, count + 1) / count):
        edges.append(max(edges[-1] + 1, round(edge)))
    return [range(low, high) for low, high in itertools.pairwise(edges)]


@pytest.mark.parametrize("count", [12, 14])
def test_logarithmic_bins_hold_every_rate_once(count):
    rates = [rate for bin_ in log_bins(count) for rate in bin_]
    assert rates == list(range(1, 65))
    weights = modulation_statistics._bins(count)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)
    assert [np.count_nonzero(column) for column in weights.T] == [len(b) for b in log_bins(count)]


@pytest.mark.parametrize("size", SIZES)
def test_fluctuations(size):
    x = clip(*size)
    patches = padded_patches(x.reshape(len(x), -1, 8).mean(axis=2), 128)
    patches = (patches - patches.mean(axis=1, keepdims=True)) * np.hanning(128)[:, None]
    spectrum = np.abs(np.fft.rfft(patches, axis=1)).mean(axis=0)
    expected = [np.log(spectrum[[*bin_]].mean(axis=0) + 0.3) for bin_ in log_bins(14)]
    check(jax.jit(modulation_statistics.fluctuations)(x[None]), np.array(expected).T)


@pytest.mark.parametrize("size", SIZES)
def test_long_modulations(size):
    x = clip(*size)
    window = np.outer(np.hanning(128), np.hanning(32))
    expected = []
    for register in range(x.shape[1] // 32):
        patches = padded_patches(x[:, register * 32 : register * 32 + 32], 128)
        spectrum = np.abs(np.fft.fft2(patches * window)).mean(axis=0)
        binned = np.array([spectrum[[*bin_]].mean(axis=0) for bin_ in log_bins(12)])
        expected += [binned[:, :8].ravel(), binned[:, -7:].ravel()]
    actual = jax.jit(modulation_statistics.long_modulations)(x[None])
    check(actual, np.log(np.concatenate(expected) + 0.3))


@pytest.mark.parametrize("size", SIZES)
def test_register_bank(size):
    x = clip(*size)
    bank = BANKS["registers_8"]
    rng = np.random.default_rng(1)
    learnt = {name: rng.normal(size=shape) for name, shape in bank.shapes(size[1]).items()}
    centroids = learnt["registers_8_centroids"]
    centroids = centroids / np.linalg.norm(centroids, axis=0)
    expected = []
    for first in range(0, x.shape[1] - 31, 16):
        register = x[:, first : first + 32]
        register = register - register.mean(axis=0)
        patches = np.array([register[i : i + 8].ravel() for i in range(len(x) - 7)])
        white = (patches - learnt["registers_8_mean"]) @ learnt["registers_8_whitening"]
        white /= np.linalg.norm(white, axis=1, keepdims=True)
        response = np.maximum(0, white @ centroids - THRESHOLD)
        largest = np.sort(response, axis=0)[-LARGEST:].mean(axis=0)
        expected += [response.mean(axis=0), deviation(response), largest]
    arrays = {name: jnp.asarray(array, jnp.float32) for name, array in learnt.items()}
    check(jax.jit(bank.responses)(x[None], arrays), np.concatenate(expected))


@pytest.mark.parametrize("name", [*STATISTICS, "chroma"])
def test_clips_of_a_batch_are_described_apart(name):
    x = jnp.asarray(np.stack([clip(60, 64, seed) for seed in range(3)]), jnp.float32)
    function = jax.jit(
        STATISTICS.get(name) or functools.partial(chroma.chroma, sample_rate_hz=RATE_HZ)
    )
    together = np.asarray(function(x))
    alone = np.concatenate([np.asarray(function(jnp.stack([one] * 3)))[:1] for one in x])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)


def test_sizes_of_the_groups():
    learnt = {
        name: jnp.zeros(shape)
        for bank in feature_groups.banks_of("large")
        for name, shape in bank.shapes(128).items()
    }
    groups = jax.jit(lambda x: describe(x, learnt, "large", RATE_HZ))(jnp.zeros((1, 387, 128)))
    sizes = {name: values.shape[1] for name, values in groups.items()}
    assert sizes == {
        "mfcc_dynamics": 96,
        "contrast": 64,
        "covariance_of_change": 210,
        "modulations": 692,
        "frames_1": 768,
        "frames_8": 1152,
        "spectrum_percentiles": 128,
        "onset_distribution": 72,
        "harmonic_percussive": 64,
        "detail": 80,
        "chroma": 34,
        "fluctuations": 224,
        "long_modulations": 720,
        "registers_8": 3360,
    }
    assert all(np.isfinite(values).all() for values in groups.values())
    assert {name: len(groups) for name, groups in FEATURE_SETS.items()} == {
        "basic": 6, "small": 12, "large": 14,
    }  # fmt: skip


def test_unknown_feature_set_is_rejected():
    with pytest.raises(UserError, match=r"config.network.feature_set: 'larg'.*large"):
        feature_groups.group_names("larg")


@pytest.mark.parametrize("name", [*feature_groups.STATISTICS, "chroma"])
def test_gradients_are_finite_where_bands_and_frames_are_constant(name):
    x = np.random.default_rng(0).normal(size=(1, 140, 64)).astype(np.float32)
    x[:, :, 40:] = x[:, 120:] = -2.5  # no sound above a frequency, and padding

    def total(values: jax.Array) -> jax.Array:
        function = {**feature_groups.STATISTICS, "chroma": feature_groups.chroma}[name]
        options = {"sample_rate_hz": 22_050} if name == "chroma" else {}
        return jnp.square(function(values, **options)).sum()

    assert bool(jnp.isfinite(jax.grad(total)(jnp.asarray(x))).all())

"""Networks on samples, and the dense one: sizes, front end, training, devices."""

from typing import Any

import flax.linen as nn
import jax
import librosa
import numpy as np
import optax
import pytest
import tiny
from jax import numpy as jnp

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.models import harmonic
from deepgenre.models.layers import norm
from deepgenre.models.pooling import global_max, max_pool
from deepgenre.models.sample_cnn import SampleBlock
from deepgenre.weights.spec import Spec

# Published input (frames, bands), classes, and parameters: the published number (=), or the sum
# over the published layers.
PUBLISHED = (
    ("sample_cnn", (59_049, 1), 50, 1_869_874),
    ("sample_cnn_se", (59_049, 1), 50, 23_929_138),
    ("sample_cnn_rese", (59_049, 1), 50, 26_166_578),
    ("sample_cnn_rese_multi", (59_049, 1), 50, 26_980_146),
    ("harmonic_cnn", (80_000, 1), 50, 3_631_551),
    # MobileNet of the release, its batch norms folded into biases.
    ("yamnet", (15_600, 1), 521, 3_729_481),
    ("dbn", (646, 128), 10, 662_026),
)
NAMES = [name for name, *_ in PUBLISHED]

# Options for a small network without dropout, and the size of an input (frames, bands).
NARROW = {"width": 1 / 32, "dropout": 0.0}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "sample_cnn": (NARROW, (1_000, 1)),
    "sample_cnn_rese_multi": ({**NARROW, "block_dropout": 0.0, "gate_ratio": 2}, (1_000, 1)),
    "harmonic_cnn": (NARROW, (6_000, 1)),
    "dbn": ({"hidden_units": (32,), "dropout": 0.0}, (20, 16)),
}


def spec_of(name: str) -> Spec:
    options, (frames, bands) = SMALL[name]
    kind = "log_mel" if name == "dbn" else "waveform"
    frontend = FrontEnd(kind=kind, sample_rate_hz=16_000, n_mels=bands, n_mfcc=1)
    return tiny.spec(model=name, network=options, frontend=frontend, window_frames=frames)


def batch_of(name: str, clips: int = 6) -> dict[str, np.ndarray]:
    """Returns *synthetic* clips: three pitches in noise; for dbn, three loud bands."""
    _, (frames, bands) = SMALL[name]
    labels = np.arange(clips, dtype=np.int32) % 3
    random = np.random.default_rng(0)
    if name == "dbn":
        levels = random.integers(0, 128, (clips, frames, bands))
        levels[np.arange(clips), :, labels] += 100
        return {"levels": levels.astype(np.uint8), "labels": labels}
    turns = np.arange(frames) * np.array([200.0, 800.0, 3200.0])[labels, None] / 16_000
    samples = 8_000 * np.sin(2 * np.pi * turns) + 800 * random.normal(size=(clips, frames))
    return {"levels": samples[..., None].astype(np.int16), "labels": labels}


def train(
    name: str, tx: optax.GradientTransformation, *, steps: int, num_devices: int = 1
) -> tuple[Any, list[float]]:
    """Returns params and running statistics after some steps on one batch, and the losses."""
    return tiny.steps_on_one_batch(spec_of(name), batch_of(name), tx, steps, num_devices)


@pytest.mark.parametrize(("name", "size", "num_classes", "_count"), PUBLISHED, ids=NAMES)
def test_output_shapes_for_different_input_lengths(name, size, num_classes, _count) -> None:
    shortest = models.network(name).min_frames
    assert shortest <= size[0]
    for frames in (shortest, shortest + 1, 123_457):
        logits, variables = tiny.shapes(name, frames, size[1], num_classes, train=True)
        assert (logits.shape, logits.dtype) == ((2, num_classes), jnp.float32)
        (embedding,) = variables["intermediates"]["embedding"]
        assert (embedding.shape[0], embedding.ndim, embedding.dtype) == (2, 2, jnp.float32)
        assert variables["params"]["logits"]["kernel"].shape == (embedding.shape[1], num_classes)


def test_input_shorter_than_a_stride_is_an_error() -> None:
    with pytest.raises(UserError, match="too small for this network"):
        tiny.shapes("sample_cnn", 2, 1, 10)


@pytest.mark.parametrize("name", SMALL)
def test_loss_decreases(name: str) -> None:
    _, losses = train(name, optax.sgd(0.1, momentum=0.9), steps=16)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["sample_cnn_rese_multi", "harmonic_cnn", "dbn"])
def test_two_devices_train_like_one(name: str) -> None:
    one, _ = train(name, optax.sgd(0.03), steps=2)
    two, _ = train(name, optax.sgd(0.03), steps=2, num_devices=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one, two)


@pytest.mark.parametrize("length", [9, 11, 33])
def test_max_pool_keeps_its_gradient_when_compiled(length: int) -> None:
    """Under jit, the output of batch norm is computed twice, with different rounding."""
    x = jax.random.normal(jax.random.key(length), (4, length, 4))
    gradients = jax.random.normal(jax.random.key(1), (4, length // 3, 4))
    normed = norm(True, jnp.float32, None)
    variables = normed.init(jax.random.key(2), x)

    def loss(x: jax.Array) -> jax.Array:
        h, _ = normed.apply(variables, x, mutable=["batch_stats"])
        return (max_pool(nn.relu(h), (3,)) * gradients).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), jax.grad(loss)(x), rtol=1e-3, atol=1e-5)


def test_max_pool_equals_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 3)).astype(np.float32)
    windows = x[:, :6, :4].reshape(2, 2, 3, 2, 2, 3)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), (3, 2)), windows.max(axis=(2, 4)))
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), (9, 9))[:, 0, 0], x.max(axis=(1, 2)))
    np.testing.assert_array_equal(global_max(jnp.asarray(x)), x.max(axis=(1, 2)))


def test_power_spectrogram_equals_librosa() -> None:
    samples = np.random.default_rng(1).normal(scale=0.1, size=(2, 5_001)).astype(np.float32)
    actual = np.asarray(harmonic.power_spectrogram(jnp.asarray(samples)))
    expected = np.abs(librosa.stft(samples, n_fft=512, hop_length=256, pad_mode="reflect")) ** 2
    np.testing.assert_allclose(actual, expected.transpose(0, 2, 1), rtol=1e-4, atol=1e-5)


def test_harmonic_front_end_has_the_published_shape() -> None:
    front = harmonic.HarmonicDecibels(sample_rate_hz=16_000, num_harmonics=6)
    decibels, _ = jax.eval_shape(
        lambda: front.init_with_output(jax.random.key(0), jnp.zeros((1, 80_000)))
    )
    assert decibels.shape == (1, 313, 128, 6)


def test_harmonic_filters_respond_to_a_tone_at_each_harmonic() -> None:
    """880 Hz is the fundamental of A5 (MIDI 81), and the second harmonic of A4 (69)."""
    tone = np.sin(2 * np.pi * 880 * np.arange(8_000) / 16_000).astype(np.float32)[None]
    front = harmonic.HarmonicDecibels(sample_rate_hz=16_000, num_harmonics=6)
    decibels, variables = front.init_with_output(jax.random.key(0), jnp.asarray(tone))
    loudest = np.asarray(decibels)[0, 10].argmax(axis=0) / harmonic.BANDS_PER_SEMITONE
    np.testing.assert_allclose(harmonic.LOWEST_MIDI + loudest[:2], [81, 69], atol=1.0)
    assert variables["params"]["quality"] == 1.0


def test_sharper_filters_pass_less_power() -> None:
    noise = jnp.asarray(np.random.default_rng(2).normal(size=(1, 8_000)), jnp.float32)
    front = harmonic.HarmonicDecibels(sample_rate_hz=16_000, num_harmonics=6)

    def loudness(quality: jax.Array) -> jax.Array:
        decibels = front.apply({"params": {"quality": quality}}, noise)
        assert isinstance(decibels, jax.Array)
        return decibels[:, :, 64:].mean()  # filters in these bands are wider than a bin

    assert jax.jit(jax.grad(loudness))(jnp.float32(1.0)) < -1.0


@pytest.mark.parametrize("residual", [False, True])
def test_gate_with_zero_weights_halves_the_output(residual: bool) -> None:
    """With dense layers of zeros, every gate is sigmoid(0)."""
    x = jax.random.normal(jax.random.key(3), (2, 30, 4))
    plain, gated = (SampleBlock(4, residual=residual, gate_ratio=ratio) for ratio in (0, 2))
    variables = gated.init(jax.random.key(4), x, train=False)
    params = variables["params"]
    gates = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("Dense_0", "Dense_1")}
    rest = {name: layer for name, layer in params.items() if name not in gates}

    def output(module: nn.Module, params: Any) -> Any:
        return module.apply({**variables, "params": params}, x, train=False)

    half, whole = output(gated, {**rest, **gates}), output(plain, rest)
    if not residual:
        np.testing.assert_allclose(half, whole / 2, rtol=1e-6)
        return
    closed = output(
        plain, {**rest, "BatchNorm_1": jax.tree.map(jnp.zeros_like, rest["BatchNorm_1"])}
    )
    np.testing.assert_allclose(closed, max_pool(nn.relu(x), (3,)), rtol=1e-6)
    halved = {**rest, "BatchNorm_1": jax.tree.map(lambda p: p / 2, rest["BatchNorm_1"])}
    np.testing.assert_allclose(half, output(plain, halved), rtol=1e-5, atol=1e-6)

"""Networks on spectrograms: training on one and two devices, and what each output depends on."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
import tiny
from jax import numpy as jnp

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.models import multi_scale
from deepgenre.models.hamel import temporal_statistics
from deepgenre.weights.spec import Spec

# Options for a small network without dropout, and the size of an input (frames, bands).
NARROW = {"width": 1 / 16, "dropout": 0.0}
NARROW_CONV = {**NARROW, "conv_dropout": 0.0}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "paper_1d_deep": ({"dropout": 0.0}, (298, 16)),
    "paper_2d_norm": ({"dropout": 0.0}, (120, 60)),
    "dieleman": ({**NARROW, "batch_norm": True}, (110, 16)),
    "dieleman_mtt": ({**NARROW, "width": 0.5}, (64, 16)),
    "fcn3": (NARROW_CONV, (64, 24)),
    "fcn4": (NARROW_CONV, (64, 24)),
    "fcn5": (NARROW_CONV, (64, 24)),
    "fcn_compact": ({**NARROW_CONV, "width": 0.25}, (64, 24)),
    "compact_cnn": ({**NARROW_CONV, "width": 0.5}, (64, 24)),
    "crnn": ({**NARROW_CONV, "width": 0.25}, (100, 24)),
    "lstm": ({**NARROW, "width": 0.25, "batch_norm": True}, (60, 16)),
    "hamel": (NARROW, (20, 16)),
    "li": ({"width": 4.0, "batch_norm": True}, (190, 13)),
    "vggish": ({**NARROW, "batch_norm": True}, (32, 16)),
    "short_chunk": (NARROW, (40, 16)),
    "short_chunk_res": (NARROW, (40, 16)),
    "resnet": (NARROW, (40, 16)),
    "attention": ({**NARROW, "layer_dropout": 0.0, "attention_dropout": 0.0}, (40, 16)),
    "gwardys": ({**NARROW, "batch_norm": True}, (40, 16)),
    "multi_scale": (NARROW, (60, 16)),
    "musicnn": (NARROW, (40, 16)),
    "musicnn_vgg": (NARROW_CONV, (66, 63)),
    "spherical_kmeans": ({"dropout": 0.0}, (50, 32)),
}


@pytest.fixture(scope="module", autouse=True)
def disable_xla_optimisations() -> Iterator[None]:
    """Disables XLA's optimisations: compilation takes most of the time of these tests."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def spec_of(name: str) -> Spec:
    options, (frames, bands) = SMALL[name]
    kind = "mfcc" if name == "li" else "log_mel"
    frontend = FrontEnd(kind=kind, n_mels=bands, n_mfcc=bands)
    return tiny.spec(model=name, network=options, frontend=frontend, window_frames=frames)


def batch_of(name: str, clips: int = 6) -> dict[str, np.ndarray]:
    """Returns *synthetic* clips: noise, with band k loud in class k."""
    _, (frames, bands) = SMALL[name]
    labels = np.arange(clips, dtype=np.int32) % 3
    levels = np.random.default_rng(0).integers(0, 128, (clips, frames, bands))
    levels[np.arange(clips), :, labels] += 100
    return {"levels": levels.astype(np.uint8), "labels": labels}


def train(name: str, *, steps: int, num_devices: int = 1) -> tuple[Any, list[float]]:
    """Returns params and running statistics after some steps on one batch, and the losses."""
    rate = 1.0 if name == "spherical_kmeans" else 0.03  # trains only its head, from zero
    tx = optax.sgd(rate, momentum=0.9)
    return tiny.steps_on_one_batch(spec_of(name), batch_of(name), tx, steps, num_devices)


@pytest.mark.parametrize("name", SMALL)
def test_loss_decreases(name: str) -> None:
    _, losses = train(name, steps=8)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]


FAMILIES = (
    "dieleman",
    "fcn_compact",
    "crnn",
    "lstm",
    "hamel",
    "li",
    "vggish",
    "short_chunk_res",
    "resnet",
    "attention",
    "gwardys",
    "multi_scale",
    "musicnn",
    "spherical_kmeans",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_devices_train_like_one(name: str) -> None:
    one, _ = train(name, steps=1)
    two, _ = train(name, steps=1, num_devices=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), one, two)


def initialised(name: str) -> tuple[nn.Module, Any, jax.Array]:
    """Returns a small network, its variables, and noise (2, frames, bands) as input."""
    options, (frames, bands) = SMALL[name]
    module = models.build(name, 3, options)
    x = jax.random.normal(jax.random.key(1), (2, frames, bands))
    return module, jax.jit(partial(module.init, train=False))(jax.random.key(0), x), x


def infer(module: nn.Module, variables: Any, x: jax.Array) -> tuple[np.ndarray, Any]:
    """Returns logits and the sown intermediates."""
    apply = jax.jit(partial(module.apply, train=False, mutable=["intermediates"]))
    logits, rest = apply(variables, x)
    return np.asarray(logits), rest["intermediates"]


def test_lstm_step_does_not_depend_on_later_frames() -> None:
    module, variables, x = initialised("lstm")
    logits, sown = infer(module, variables, x)
    (steps,) = sown["frame_logits"]
    assert steps.shape == (2, 4, 3)
    np.testing.assert_allclose(logits, steps.mean(axis=1), rtol=1e-5)
    for step in range(4):  # step i depends on frames 0 .. 8 i + 35
        (other,) = infer(module, variables, x.at[:, 8 * step + 36 :].set(0.0))[1]["frame_logits"]
        np.testing.assert_allclose(other[:, : step + 1], steps[:, : step + 1], rtol=1e-5)
    (other,) = infer(module, variables, x.at[:, 35].set(9.0))[1]["frame_logits"]
    assert np.abs(other - steps)[:, 0].max() > 1e-4


def test_crnn_pads_to_a_whole_number_of_steps() -> None:
    module, variables, x = initialised("crnn")  # 100 frames: 46 are missing on either side
    padded = jnp.pad(x, ((0, 0), (46, 46), (0, 0)))
    np.testing.assert_array_equal(
        infer(module, variables, x)[0], infer(module, variables, padded)[0]
    )


def test_multi_scale_does_not_depend_on_segment_order() -> None:
    module, variables, _ = initialised("multi_scale")
    x = jax.random.normal(jax.random.key(2), (1, 110, 16))  # two segments of 54, and a remainder
    swapped = jnp.concatenate([x[:, 54:108], x[:, :54], -x[:, 108:]], axis=1)
    logits, _ = infer(module, variables, x)
    np.testing.assert_allclose(logits, infer(module, variables, swapped)[0], rtol=1e-4, atol=1e-5)
    shifted = jnp.roll(x, 27, axis=1)
    assert np.abs(logits - infer(module, variables, shifted)[0]).max() > 1e-3


def test_multi_scale_segments_have_the_published_lengths() -> None:
    assert [math.prod(pools) for _, pools in multi_scale.SCALES] == [18, 27, 54]


@pytest.mark.parametrize(("name", "elu"), [("compact_cnn", True), ("fcn_compact", False)])
def test_embedding_is_negative_with_elu_only(name: str, elu: bool) -> None:
    (embedding,) = infer(*initialised(name))[1]["embedding"]
    assert (embedding.min() < 0) == elu


def test_dieleman_has_finite_gradients_for_zero_input() -> None:
    module, variables, x = initialised("dieleman")

    def loss(params: Any) -> jax.Array:
        logits = module.apply({**variables, "params": params}, 0 * x, train=False)
        assert isinstance(logits, jax.Array)
        return logits.sum()

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_temporal_statistics_equal_numpy() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(3, 50, 4)).astype(np.float32)
    centred = x - x.mean(axis=1, keepdims=True)
    expected = [x.mean(1), x.max(1), x.min(1), x.var(1), (centred**3).mean(1), (centred**4).mean(1)]
    actual = temporal_statistics(jnp.asarray(x))
    np.testing.assert_allclose(actual, np.concatenate(expected, axis=1), rtol=1e-4)

"""The networks that hear spectrograms: their sizes, that they learn, and what sets each apart."""

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
from deepgenre.devices import shard
from deepgenre.errors import UserError
from deepgenre.frontend import FrontEnd
from deepgenre.models.hamel import temporal_statistics
from deepgenre.models.layers import ConvBlock, scaled, shrink
from deepgenre.spec import Spec
from deepgenre.spec import build as build_module
from deepgenre.state import initial_state, num_parameters
from deepgenre.step import Recipe, compile_train_step

# Published input (frames, bands), classes, and parameters: as the source states them where it does
# (=), else summed by hand from its layers.
PUBLISHED = (
    ("paper_1d", (646, 128), 10, 2_775_818),
    ("paper_2d", (628, 128), 50, 1_732_658),
    ("dieleman", (599, 128), 40, 9_393_704),
    ("dieleman_mtt", (187, 96), 50, 66_784),  # = "66k"
    ("fcn3", (1366, 96), 50, 10_138_674),
    ("fcn4", (1366, 96), 50, 17_365_938),
    ("fcn5", (1366, 96), 50, 25_183_026),
    ("fcn_compact", (1813, 96), 50, 447_732),
    ("compact_cnn", (1366, 96), 50, 39_282),
    # 394,098, and one bias more for each of the 64 units of Flax's GRUs. The 396,786 that the
    # README states are those with a norm for each of 1,440 frames, not of 96 bands: 2 x 1,344 more.
    ("crnn", (1366, 96), 50, 394_098 + 64),
    ("lstm", (646, 128), 10, 1_347_850),
    ("hamel", (128, 128), 50, 1_559_090),
    ("li", (190, 13), 10, 11_333),
    ("vggish", (96, 64), 10, 72_141_184 + 10 * (128 + 1)),  # the release ends in the embedding
    ("short_chunk", (231, 128), 50, 3_687_348),
    ("short_chunk_res", (231, 128), 50, 12_104_244),
    # = 11,689,512 of the release, with 10 classes for 1,000 and one channel for three.
    ("resnet", (224, 224), 10, 11_689_512 - 990 * (512 + 1) - 2 * 7 * 7 * 64),
    ("attention", (938, 128), 50, 10_521_652),
    # 62,378,344 of AlexNet in one tower, with 10 classes for 1,000 and one channel for three.
    ("gwardys", (227, 227), 10, 62_378_344 - 990 * (4096 + 1) - 2 * 11 * 11 * 96),
    ("multi_scale", (1254, 128), 50, 1_998_130),
)
NAMES = [name for name, *_ in PUBLISHED]

# Options that make it quick and the same in every step, and an input (frames, bands).
NARROW = {"width": 1 / 16, "dropout": 0.0}
NARROW_CONV = {**NARROW, "conv_dropout": 0.0}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "paper_1d": ({"dropout": 0.0, "batch_norm": True, "depth": 4}, (298, 16)),
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
}


@pytest.fixture(scope="module", autouse=True)
def quick_to_compile() -> Iterator[None]:
    """Compiled code need not be fast here: most of the time is XLA's, not the networks'."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def spec_of(name: str) -> Spec:
    options, (frames, bands) = SMALL[name]
    kind = "mfcc" if name == "li" else "log_mel"
    frontend = FrontEnd(kind=kind, n_mels=bands, n_mfcc=bands)
    return tiny.spec(model=name, network=options, frontend=frontend, window_frames=frames)


def batch_of(name: str, clips: int = 6) -> dict[str, np.ndarray]:
    """Returns *synthetic* clips: of class k, band k is loud; noise elsewhere."""
    _, (frames, bands) = SMALL[name]
    labels = np.arange(clips, dtype=np.int32) % 3
    levels = np.random.default_rng(0).integers(0, 128, (clips, frames, bands))
    levels[np.arange(clips), :, labels] += 100
    return {"levels": levels.astype(np.uint8), "labels": labels}


def train(
    name: str, tx: optax.GradientTransformation, *, steps: int, num_devices: int = 1
) -> tuple[Any, list[float]]:
    """Returns params and running statistics after some steps on one batch, and the losses."""
    spec, batch, losses = spec_of(name), batch_of(name), []
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    state = initial_state(build_module(spec), tx, shape, seed=0)
    for _ in range(steps):
        state, scalars = step(state, shard(batch, num_devices) if num_devices > 1 else batch)
        losses.append(float(scalars["loss"]))
    return jax.device_get((state.params, state.batch_stats)), losses


def shapes(
    name: str,
    frames: int,
    bands: int,
    num_classes: int = 10,
    *,
    train: bool = False,
    **options: Any,
) -> tuple[Any, Any]:
    """Returns logits and variables of a new network, as shapes: nothing is computed."""
    module = models.build(name, num_classes, options, dtype="bfloat16")
    return jax.eval_shape(
        lambda: module.init_with_output(
            {"params": jax.random.key(0), "dropout": jax.random.key(1)},
            jnp.zeros((2, frames, bands)),
            train=train,
            mutable=True,
        )
    )


@pytest.mark.parametrize(("name", "size", "num_classes", "count"), PUBLISHED, ids=NAMES)
def test_parameters_are_as_many_as_published(
    name: str, size: tuple[int, int], num_classes: int, count: int
) -> None:
    _, variables = shapes(name, *size, num_classes)
    assert num_parameters(variables["params"]) == count
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("name", "size", "_classes", "_count"), PUBLISHED, ids=NAMES)
def test_any_size_from_the_shortest_on_gives_logits_and_an_embedding(
    name: str, size: tuple[int, int], _classes: int, _count: int
) -> None:
    shortest = models.network(name).min_frames
    assert shortest <= size[0]
    odd = shortest + 214  # more than a pool of any network
    for frames, bands in ((shortest, size[1]), (odd, 97), (387, 128)):  # 387: GTZAN as stored
        logits, variables = shapes(name, frames, bands, train=True)
        assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
        (embedding,) = variables["intermediates"]["embedding"]
        assert embedding.shape[0] == 2 and embedding.shape[1] >= 1 and embedding.ndim == 2
        assert embedding.dtype == jnp.float32
        assert variables["params"]["logits"]["kernel"].shape == (embedding.shape[1], 10)


def test_a_network_with_one_frame_less_than_the_shortest_says_so() -> None:
    for name in ("dieleman", "dieleman_mtt", "lstm", "li", "gwardys"):
        with pytest.raises(UserError, match="too small for this network"):
            shapes(name, models.network(name).min_frames - 1, 128)
    with pytest.raises(UserError, match="too small for this network"):
        shapes("paper_1d", 387, 128, depth=5)


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    _, losses = train(name, optax.sgd(0.03, momentum=0.9), steps=8)
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
)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_devices_train_as_one(name: str) -> None:
    one, _ = train(name, optax.sgd(0.1), steps=1)
    two, _ = train(name, optax.sgd(0.1), steps=1, num_devices=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), one, two)


def initialised(name: str) -> tuple[nn.Module, Any, jax.Array]:
    """Returns a small network, its variables, and noise (2, frames, bands) to hear."""
    options, (frames, bands) = SMALL[name]
    module = models.build(name, 3, options)
    x = jax.random.normal(jax.random.key(1), (2, frames, bands))
    return module, jax.jit(partial(module.init, train=False))(jax.random.key(0), x), x


def heard(module: nn.Module, variables: Any, x: jax.Array) -> tuple[np.ndarray, Any]:
    """Returns logits and what was sown."""
    apply = jax.jit(partial(module.apply, train=False, mutable=["intermediates"]))
    logits, rest = apply(variables, x)
    return np.asarray(logits), rest["intermediates"]


def test_lstm_says_what_it_has_heard_so_far() -> None:
    module, variables, x = initialised("lstm")
    logits, sown = heard(module, variables, x)
    (steps,) = sown["frame_logits"]
    assert steps.shape == (2, 4, 3)
    np.testing.assert_allclose(logits, steps.mean(axis=1), rtol=1e-5)
    for step in range(4):  # step i has heard frames 0 .. 8 i + 35
        (other,) = heard(module, variables, x.at[:, 8 * step + 36 :].set(0.0))[1]["frame_logits"]
        np.testing.assert_allclose(other[:, : step + 1], steps[:, : step + 1], rtol=1e-5)
    (other,) = heard(module, variables, x.at[:, 35].set(9.0))[1]["frame_logits"]
    assert np.abs(other - steps)[:, 0].max() > 1e-4


def test_crnn_adds_the_frames_that_its_last_step_lacks() -> None:
    module, variables, x = initialised("crnn")  # 100 frames: 46 are missing on either side
    padded = jnp.pad(x, ((0, 0), (46, 46), (0, 0)))
    np.testing.assert_array_equal(
        heard(module, variables, x)[0], heard(module, variables, padded)[0]
    )


def test_multi_scale_does_not_hear_the_order_of_segments() -> None:
    module, variables, _ = initialised("multi_scale")
    x = jax.random.normal(jax.random.key(2), (1, 110, 16))  # two segments of 54, and a rest
    swapped = jnp.concatenate([x[:, 54:108], x[:, :54], -x[:, 108:]], axis=1)
    logits, _ = heard(module, variables, x)
    np.testing.assert_allclose(logits, heard(module, variables, swapped)[0], rtol=1e-4, atol=1e-5)
    shifted = jnp.roll(x, 27, axis=1)
    assert np.abs(logits - heard(module, variables, shifted)[0]).max() > 1e-3


def test_dieleman_is_trainable_where_a_filter_is_silent() -> None:
    module, variables, x = initialised("dieleman")

    def loss(params: Any) -> jax.Array:
        logits = module.apply({**variables, "params": params}, 0 * x, train=False)
        assert isinstance(logits, jax.Array)
        return logits.sum()

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_temporal_statistics_are_numpys() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(3, 50, 4)).astype(np.float32)
    centred = x - x.mean(axis=1, keepdims=True)
    expected = [x.mean(1), x.max(1), x.min(1), x.var(1), (centred**3).mean(1), (centred**4).mean(1)]
    found = temporal_statistics(jnp.asarray(x))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-4)


def test_shrink_averages_to_no_more_than_asked() -> None:
    x = jnp.arange(2 * 13 * 4 * 1, dtype=jnp.float32).reshape(2, 13, 4, 1)
    assert shrink(x, (6, 4)).shape == (2, 4, 4, 1)  # 13 frames, three at a time
    np.testing.assert_allclose(shrink(x, (6, 4))[:, 0], x[:, :3].mean(axis=1))
    np.testing.assert_array_equal(shrink(x, (13, 4)), x)


def test_a_pool_larger_than_what_is_left_shrinks_to_it() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 9, 1))
    block = ConvBlock(features=2, kernel=(1, 1), pool=(5, 4))
    whole = ConvBlock(features=2, kernel=(1, 1), pool=(3, 4))
    variables = block.init(jax.random.key(1), x, False)
    pooled = block.apply(variables, x, False)
    assert isinstance(pooled, jax.Array) and pooled.shape == (2, 1, 2, 2)
    np.testing.assert_array_equal(pooled, whole.apply(variables, x, False))


def test_width_scales_and_leaves_one_at_least() -> None:
    assert scaled((64, 3, 1), 0.25) == [16, 1, 1]
    assert scaled((3, 15), 4.0) == [12, 60]

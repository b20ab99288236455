"""The musicnn networks: made as published, trainable, and heard fast without a change of result."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepgenre.models import band_maximum
from deepgenre.models.musicnn import BandPooledConv, MusiCNN, MusiCNNVgg

SMALL = (4, 66, 63)  # batch, and the least frames and bands that the VGG can pool


@pytest.fixture(scope="module", autouse=True)
def quick_to_compile() -> Iterator[None]:
    """Compiled code need not be fast here: most of the time is XLA's, not the networks'."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def logits_in_training() -> Any:
    def train(module: nn.Module, variables: Any, x: jax.Array, seed: int = 0) -> Any:
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply(variables, x, True, rngs=rngs, mutable=["batch_stats"])

    return jax.jit(train, static_argnums=0)


def initialised(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, jax.Array]:
    x = jax.random.normal(jax.random.key(0), shape)
    return jax.jit(lambda x: module.init(jax.random.key(1), x, False))(x), x


@pytest.mark.parametrize("module", [MusiCNN(3, width=1 / 16), MusiCNNVgg(3, width=1 / 32)])
def test_training_moves_statistics_and_drops(module: nn.Module, logits_in_training: Any) -> None:
    variables, x = initialised(module, SMALL)
    logits, changed = logits_in_training(module, variables, x)
    before, after = jax.device_get((variables["batch_stats"], changed["batch_stats"]))
    moved = jax.tree.map(lambda a, b: (a != b).any(), before, after)
    assert all(jax.tree.leaves(moved))
    again, _ = logits_in_training(module, variables, x, seed=1)
    assert (np.asarray(logits) != np.asarray(again)).any()


def test_batch_norm_takes_its_statistics_over_all_devices(logits_in_training: Any) -> None:
    module = MusiCNN(3, dropout=0.0, width=1 / 16)
    variables, x = initialised(module, SMALL)
    together, _ = logits_in_training(module, variables, x)

    def apart(module: nn.Module) -> float:
        """How far two devices with half the batch each end from one with all of it."""
        halves = jax.vmap(
            lambda half: logits_in_training(module, variables, half)[0], axis_name="devices"
        )(x.reshape(2, 2, *SMALL[1:]))
        return np.abs(np.asarray(halves).reshape(4, 3) - np.asarray(together)).max()

    # Norms over four numbers magnify rounding; without synchronisation they differ altogether.
    assert apart(module.clone(axis_name="devices")) < 0.01
    assert apart(module) > 0.1


# Frames and bands of the input; frames, bands and channels of the kernel.
SIZES = [
    ((187, 96), (7, 38, 5)),  # musicnn's, narrowed: shifts odd in number
    ((187, 96), (7, 67, 5)),  # and even
    ((20, 17), (4, 5, 3)),  # an odd number of bands, an even one of frames
    ((3, 8), (7, 8, 2)),  # one shift only, fewer frames than a chunk
    ((187, 96), (128, 1, 5)),  # musicnn's kernels of one band
    ((20, 17), (4, 1, 3)),  # an even number of frames
    ((3, 8), (7, 1, 2)),  # fewer frames than a chunk
]


@pytest.mark.parametrize(("size", "kernel"), SIZES)
def test_the_fast_band_maximum_is_that_of_the_convolution(
    size: tuple[int, int], kernel: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=kernel) / np.sqrt(np.prod(kernel[:2])), jnp.float32)
    plain = band_maximum.by_convolution(x, weights)
    assert plain.shape == (2, size[0], kernel[2])
    narrow = kernel[1] == 1
    by = band_maximum.by_products if narrow else band_maximum.by_fourier_transform
    fast = by(x, weights)
    np.testing.assert_allclose(fast, plain, atol=1e-5)


@pytest.mark.parametrize("bands", [5, 1])
def test_on_a_cpu_nothing_is_convolved(bands: int) -> None:
    x, kernel = jnp.zeros((1, 20, 16)), jnp.zeros((3, bands, 2))
    lowered = jax.jit(band_maximum.band_maximum).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in lowered


def test_a_layer_says_the_same_heard_fast_as_read_slowly() -> None:
    layer, rng = BandPooledConv(6, (7, 5)), np.random.default_rng(0)
    variables, x = initialised(layer, (2, 30, 16))
    drawn: Any = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), variables)
    norm = {**drawn["params"]["norm"], **drawn["batch_stats"]["norm"]}
    norm["var"] = drawn["batch_stats"]["norm"]["var"] = norm["var"] ** 2
    norm["scale"][:] = np.abs(norm["scale"]) * (1, -1, 1, -1, 1, -1)  # lines that rise, and fall
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (3, 3), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (7, 5), axis=(1, 2))
    conv = drawn["params"]["conv"]
    h = np.einsum("btsij,ijc->btsc", patches, conv["kernel"][:, :, 0]) + conv["bias"]
    h = (np.maximum(h, 0) - norm["mean"]) / np.sqrt(norm["var"] + 1e-3)
    expected = (h * norm["scale"] + norm["bias"]).max(axis=2)
    heard = jax.jit(lambda v, x: layer.apply(v, x, False))(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn), x
    )
    np.testing.assert_allclose(heard, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_vgg_hears_what_it_would_without_skipping_bands() -> None:
    """Its first pool takes every second band: in use, the others are not made at all."""
    module = MusiCNNVgg(3, conv_dropout=0.0, width=1 / 32)
    variables, x = initialised(module, (2, 66, 96))
    names = ("conv_0", "conv_1")
    _, seen = jax.jit(
        lambda v, x: module.apply(
            v,
            x,
            False,
            mutable=True,
            capture_intermediates=lambda submodule, _: submodule.name in names,
        )
    )(variables, x)
    half, pooled_then_convolved = (seen["intermediates"][name]["__call__"][0] for name in names)
    assert half.shape == (2, 66, 48, 4)
    params = variables["params"]
    normed = x / np.sqrt(1 + 1e-3)
    whole = nn.Conv(4, (3, 3)).apply({"params": params["conv_0"]}, normed[..., None])
    assert isinstance(whole, jax.Array)
    np.testing.assert_allclose(half, whole[:, :, ::2], atol=1e-5)
    pooled = nn.max_pool(nn.relu(whole) / np.sqrt(1 + 1e-3), (4, 1), strides=(2, 2))
    expected = nn.Conv(4, (3, 3)).apply({"params": params["conv_1"]}, pooled)
    assert isinstance(expected, jax.Array)
    np.testing.assert_allclose(pooled_then_convolved, expected, atol=1e-5)

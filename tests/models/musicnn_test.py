"""The musicnn networks: training, and inference that is faster with equal results."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepgenre.models import band_maximum
from deepgenre.models.musicnn import BandPooledConv, MusiCNN, MusiCNNVgg

SMALL = (4, 66, 63)  # batch, and the smallest numbers of frames and bands that the VGG accepts


@pytest.fixture(scope="module", autouse=True)
def disable_xla_optimisations() -> Iterator[None]:
    """Disables XLA's optimisations: compilation takes most of the time of these tests."""
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
def test_training_updates_statistics_and_applies_dropout(
    module: nn.Module, logits_in_training: Any
) -> None:
    variables, x = initialised(module, SMALL)
    logits, changed = logits_in_training(module, variables, x)
    before, after = jax.device_get((variables["batch_stats"], changed["batch_stats"]))
    updated = jax.tree.map(lambda a, b: (a != b).any(), before, after)
    assert all(jax.tree.leaves(updated))
    again, _ = logits_in_training(module, variables, x, seed=1)
    assert (np.asarray(logits) != np.asarray(again)).any()


def test_batch_norm_is_synchronised_over_devices(logits_in_training: Any) -> None:
    module = MusiCNN(3, dropout=0.0, width=1 / 16)
    variables, x = initialised(module, SMALL)
    together, _ = logits_in_training(module, variables, x)

    def difference(module: nn.Module) -> float:
        """Returns the difference between two devices with half a batch each and one with all."""
        halves = jax.vmap(
            lambda half: logits_in_training(module, variables, half)[0], axis_name="devices"
        )(x.reshape(2, 2, *SMALL[1:]))
        return np.abs(np.asarray(halves).reshape(4, 3) - np.asarray(together)).max()

    # Norms over four numbers magnify rounding; without synchronisation the difference is large.
    assert difference(module.clone(axis_name="devices")) < 0.01
    assert difference(module) > 0.1


# Frames and bands of the input; frames, bands and channels of the kernel.
SIZES = [
    ((187, 96), (7, 38, 5)),  # musicnn's, narrowed: an odd number of shifts
    ((187, 96), (7, 67, 5)),  # an even number of shifts
    ((20, 17), (4, 5, 3)),  # an odd number of bands, an even one of frames
    ((3, 8), (7, 8, 2)),  # one shift only, fewer frames than a chunk
    ((187, 96), (128, 1, 5)),  # musicnn's kernels of one band
    ((20, 17), (4, 1, 3)),  # an even number of frames
    ((3, 8), (7, 1, 2)),  # fewer frames than a chunk
]


@pytest.mark.parametrize(("size", "kernel"), SIZES)
def test_fast_band_maximum_equals_convolution(
    size: tuple[int, int], kernel: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=kernel) / np.sqrt(np.prod(kernel[:2])), jnp.float32)
    expected = band_maximum.by_convolution(x, weights)
    assert expected.shape == (2, size[0], kernel[2])
    narrow = kernel[1] == 1
    fast = band_maximum.by_products if narrow else band_maximum.by_fourier_transform
    np.testing.assert_allclose(fast(x, weights), expected, atol=1e-5)


@pytest.mark.parametrize("bands", [5, 1])
def test_band_maximum_on_cpu_uses_no_convolution(bands: int) -> None:
    x, kernel = jnp.zeros((1, 20, 16)), jnp.zeros((3, bands, 2))
    lowered = jax.jit(band_maximum.band_maximum).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in lowered


def test_band_pooled_conv_equals_its_definition_in_numpy() -> None:
    layer, rng = BandPooledConv(6, (7, 5)), np.random.default_rng(0)
    variables, x = initialised(layer, (2, 30, 16))
    drawn: Any = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), variables)
    norm = {**drawn["params"]["norm"], **drawn["batch_stats"]["norm"]}
    norm["var"] = drawn["batch_stats"]["norm"]["var"] = norm["var"] ** 2
    norm["scale"][:] = np.abs(norm["scale"]) * (1, -1, 1, -1, 1, -1)  # positive and negative slopes
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (3, 3), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (7, 5), axis=(1, 2))
    conv = drawn["params"]["conv"]
    h = np.einsum("btsij,ijc->btsc", patches, conv["kernel"][:, :, 0]) + conv["bias"]
    h = (np.maximum(h, 0) - norm["mean"]) / np.sqrt(norm["var"] + 1e-3)
    expected = (h * norm["scale"] + norm["bias"]).max(axis=2)
    actual = jax.jit(lambda v, x: layer.apply(v, x, False))(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn), x
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_vgg_inference_without_skipped_bands_equals_full_convolution() -> None:
    """The first pool takes every second band: in inference, the others are not computed."""
    module = MusiCNNVgg(3, conv_dropout=0.0, width=1 / 32)
    variables, x = initialised(module, (2, 66, 96))
    names = ("conv_0", "conv_1")
    _, captured = jax.jit(
        lambda v, x: module.apply(
            v,
            x,
            False,
            mutable=True,
            capture_intermediates=lambda submodule, _: submodule.name in names,
        )
    )(variables, x)
    half, pooled_then_convolved = (captured["intermediates"][name]["__call__"][0] for name in names)
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

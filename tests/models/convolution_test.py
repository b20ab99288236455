"""What is made of products on a CPU equals XLA's convolution, forward and backward."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from deepgenre.models import convolution
from deepgenre.models.convolution import by_xla, convolve
from deepgenre.models.layers import ConvBlock
from deepgenre.models.pooling import max_pool

sizes = st.integers(1, 4)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def with_gradients(function: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array) -> list:
    """Returns the output, and the gradients of x and kernel under random pulls."""
    out, pull = jax.vjp(function, x, kernel)
    return [out, *pull(normal(*out.shape, seed=1))]


def assert_close(found: list, wanted: list) -> None:
    for one, other in zip(found, wanted, strict=True):
        scale = max(1.0, float(jnp.abs(other).max()))
        np.testing.assert_allclose(one, other, atol=2e-5 * scale)


@settings(max_examples=15, deadline=None)
@given(
    spatial=st.lists(st.integers(4, 12), min_size=1, max_size=3),
    kernel=st.lists(sizes, min_size=3, max_size=3),
    strides=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    batch=sizes,
    channels=sizes,
    features=sizes,
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_convolution_equals_xla(spatial, kernel, strides, batch, channels, features, padding):
    rank = len(spatial)
    x = normal(batch, *spatial, channels)
    weights = normal(*kernel[:rank], channels, features, seed=2)
    strides = tuple(strides[:rank])
    pads = tuple(lax.padtype_to_pads(spatial, kernel[:rank], strides, padding))
    assert_close(
        with_gradients(lambda x, k: convolve(x, k, strides, padding), x, weights),
        with_gradients(lambda x, k: by_xla(x, k, strides, pads), x, weights),
    )


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(3, 17),
    width=st.integers(3, 13),
    kernel=st.tuples(sizes, sizes),
    pool=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    batch=sizes,
    features=sizes,
)
def test_pool_of_one_channel_equals_xla(height, width, kernel, pool, batch, features):
    x, weights = normal(batch, height, width, 1), normal(*kernel, 1, features, seed=2)
    pads = tuple(lax.padtype_to_pads((height, width), kernel, (1, 1), "SAME"))
    assert_close(
        with_gradients(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=pool), x, weights),
        with_gradients(lambda x, k: max_pool(by_xla(x, k, (1, 1), pads), pool), x, weights),
    )


def test_a_pool_of_many_places_is_one_too():
    x, kernel = normal(2, 20, 18, 1), normal(3, 3, 1, 2)
    pads = ((1, 1), (1, 1))
    assert_close(
        with_gradients(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=(17, 16)), x, kernel),
        with_gradients(lambda x, k: max_pool(by_xla(x, k, (1, 1), pads), (17, 16)), x, kernel),
    )


@pytest.mark.parametrize("taps", [(3, 3), (1, 4), (2, 3), (5, 5)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (0, 1))])
def test_one_channel_is_convolved_with_any_kernel_and_padding(taps, padding):
    x, kernel = normal(2, 11, 9, 1), normal(*taps, 1, 5, seed=2)
    layout = ("NHWC", "HWIO", "NHWC")
    assert_close(
        with_gradients(lambda x, k: convolve(x, k, (1, 1), padding), x, kernel),
        with_gradients(
            lambda x, k: lax.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=layout),
            x,
            kernel,
        ),
    )


def test_silence_sends_its_gradient_to_one_place_only():
    x, weights = jnp.zeros((2, 8, 6, 1)), normal(3, 3, 1, 2)
    found = with_gradients(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=(4, 3)), x, weights)
    pads = ((1, 1), (1, 1))
    plain = with_gradients(lambda x, k: max_pool(by_xla(x, k, (1, 1), pads), (4, 3)), x, weights)
    assert_close(found, plain)


@pytest.mark.parametrize("rows", [1, 100, 10**6])
def test_the_kernels_gradient_is_the_same_for_any_number_of_rows(monkeypatch, rows):
    monkeypatch.setattr(convolution, "ROWS", rows)
    x, gradient = normal(6, 9, 7, 3), normal(6, 9, 7, 4, seed=1)
    pads = ((1, 1), (1, 1))
    (plain,) = jax.vjp(lambda k: by_xla(x, k, (1, 1), pads), jnp.zeros((3, 3, 3, 4)))[1](gradient)
    found = convolution.kernel_gradient(x, gradient, (3, 3, 3, 4), (1, 1), pads)
    np.testing.assert_allclose(found, plain, atol=1e-3 * float(jnp.abs(plain).max()))


@pytest.mark.parametrize("channels", [1, 3])
def test_bfloat16_sums_in_float32(channels):
    """Sums over a batch would otherwise stop growing once an addend is below their last bit."""
    x = jnp.ones((64, 16, 16, channels), jnp.bfloat16)
    kernel = jnp.ones((3, 3, channels, 2), jnp.bfloat16)

    def total(kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel, (1, 1), "SAME", pool=(2, 2)).astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(total))(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient[1, 1], 64 * 8 * 8, rtol=0.01)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_block_pools_and_activates_in_either_order(batch_norm):
    block = ConvBlock(4, (3, 3), pool=(2, 3), batch_norm=batch_norm)
    x = normal(2, 9, 8, 1)
    variables = dict(block.init(jax.random.key(3), x, train=False))
    kernel = jnp.asarray(variables["params"]["Conv_0"]["kernel"])
    bias = jnp.arange(4.0) - 2
    variables["params"]["Conv_0"]["bias"] = bias
    h = by_xla(x, kernel, (1, 1), ((1, 1), (1, 1))) + bias[None, None, None]
    h = h / math.sqrt(1 + 1e-5) if batch_norm else h
    plain = max_pool(nn.relu(h), (2, 3))
    found = block.apply(variables, x, train=False)
    assert isinstance(found, jax.Array)
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("pool", [(), (2, 2)])
def test_other_platforms_get_xlas_convolutions_alone(pool):
    """Lowered for a GPU, nothing of a step's convolutions is made of products."""
    kernel = normal(3, 3, 1, 4)
    loss = jax.jit(jax.grad(lambda k, x: convolve(x, k, (1, 1), "SAME", pool=pool).sum()))
    for platform, products in (("cuda", 0), ("cpu", 1)):
        lowered = loss.trace(kernel, normal(2, 8, 8, 1)).lower(lowering_platforms=(platform,))
        text = lowered.as_text()
        assert ("dot_general" in text) == bool(products)
        assert ("stablehlo.convolution" in text) != bool(products)


def test_two_devices_give_the_gradient_of_one():
    x, kernel = normal(4, 9, 8, 1), normal(3, 3, 1, 4, seed=1)

    def gradient(kernel: jax.Array, x: jax.Array) -> jax.Array:
        loss = functools.partial(convolve, window_strides=(1, 1), padding="SAME", pool=(2, 2))
        return jax.grad(lambda k: (loss(x, k) ** 2).mean())(kernel)

    halves = jax.pmap(
        lambda k, x: lax.pmean(gradient(k, x), "devices"),
        "devices",
        in_axes=(None, 0),
        devices=jax.devices()[:2],
    )(kernel, x.reshape(2, 2, 9, 8, 1))
    np.testing.assert_allclose(halves[0], gradient(kernel, x), atol=1e-5)

"""Convolutions by products on a CPU equal XLA's convolution, forward and backward."""

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
    """Returns the output, and the gradients of x and kernel for a random output gradient."""
    output, vjp = jax.vjp(function, x, kernel)
    return [output, *vjp(normal(*output.shape, seed=1))]


def assert_close(actual: list, expected: list) -> None:
    for a, e in zip(actual, expected, strict=True):
        scale = max(1.0, float(jnp.abs(e).max()))
        np.testing.assert_allclose(a, e, atol=2e-5 * scale)


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


@settings(max_examples=8, deadline=None)
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


def test_pool_larger_than_max_pool_size_equals_xla():
    x, kernel = normal(2, 20, 18, 1), normal(3, 3, 1, 2)
    pads = ((1, 1), (1, 1))
    assert_close(
        with_gradients(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=(17, 16)), x, kernel),
        with_gradients(lambda x, k: max_pool(by_xla(x, k, (1, 1), pads), (17, 16)), x, kernel),
    )


@pytest.mark.parametrize("taps", [(3, 3), (1, 4), (2, 3), (5, 5)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (0, 1))])
def test_convolution_of_one_channel_equals_xla(taps, padding):
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


def test_gradient_of_equal_values_goes_to_one_index_only():
    x, weights = jnp.zeros((2, 8, 6, 1)), normal(3, 3, 1, 2)
    actual = with_gradients(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=(4, 3)), x, weights)
    pads = ((1, 1), (1, 1))
    expected = with_gradients(lambda x, k: max_pool(by_xla(x, k, (1, 1), pads), (4, 3)), x, weights)
    assert_close(actual, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_bfloat16_is_accumulated_in_float32(channels):
    """A bfloat16 sum over a batch stops growing once an addend is below its last bit."""
    x = jnp.ones((64, 16, 16, channels), jnp.bfloat16)
    kernel = jnp.ones((3, 3, channels, 2), jnp.bfloat16)

    def total(kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel, (1, 1), "SAME", pool=(2, 2)).astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(total))(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient[1, 1], 64 * 8 * 8, rtol=0.01)


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_wide_layers_in_bfloat16_are_products_within_rounding(strides):
    """Of the same inputs, against float32; XLA's own convolution deviates by as much."""
    width = convolution.MIN_WIDTH
    x, kernel = normal(2, 9, 8, width).astype("bfloat16"), normal(3, 3, width, width, seed=2)
    kernel = (kernel / width).astype("bfloat16")
    pads = tuple(lax.padtype_to_pads((9, 8), (3, 3), strides, "SAME"))
    found = jax.jit(lambda x, k: jax.vjp(lambda x, k: convolve(x, k, strides, "SAME"), x, k))
    output, vjp = found(x, kernel)
    exact, exact_vjp = jax.vjp(
        lambda x, k: by_xla(x, k, strides, pads),
        *(y.astype(jnp.float32) for y in (x, kernel)),
    )
    gradient = normal(*output.shape, seed=1).astype("bfloat16")
    expected = [exact, *exact_vjp(gradient.astype(jnp.float32))]
    for a, e in zip([output, *vjp(gradient)], expected, strict=True):
        assert a.dtype == jnp.bfloat16
        difference = jnp.abs(a.astype(jnp.float32) - e).max()
        assert difference < 2**-8 * jnp.abs(e).max()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_conv_block_equals_pool_after_activation(batch_norm):
    block = ConvBlock(4, (3, 3), pool=(2, 3), batch_norm=batch_norm)
    x = normal(2, 9, 8, 1)
    variables = dict(block.init(jax.random.key(3), x, train=False))
    kernel = jnp.asarray(variables["params"]["Conv_0"]["kernel"])
    bias = jnp.arange(4.0) - 2
    variables["params"]["Conv_0"]["bias"] = bias
    h = by_xla(x, kernel, (1, 1), ((1, 1), (1, 1))) + bias[None, None, None]
    h = h / math.sqrt(1 + 1e-5) if batch_norm else h
    expected = max_pool(nn.relu(h), (2, 3))
    actual = block.apply(variables, x, train=False)
    assert isinstance(actual, jax.Array)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("pool", [(), (2, 2)])
def test_products_are_used_only_on_cpus(pool):
    """Lowered for a GPU, all of a step's convolutions are XLA's."""
    kernel = normal(3, 3, 1, 4)
    loss = jax.jit(jax.grad(lambda k, x: convolve(x, k, (1, 1), "SAME", pool=pool).sum()))
    for platform, products in (("cuda", 0), ("cpu", 1)):
        lowered = loss.trace(kernel, normal(2, 8, 8, 1)).lower(lowering_platforms=(platform,))
        text = lowered.as_text()
        assert ("dot_general" in text) == bool(products)
        assert ("stablehlo.convolution" in text) != bool(products)


def test_wide_layers_in_bfloat16_are_products_on_cpus_only():
    width = convolution.MIN_WIDTH
    x, kernel = jnp.zeros((1, 8, width), "bfloat16"), jnp.zeros((4, width, width), "bfloat16")
    step = jax.jit(jax.grad(lambda x, k: convolve(x, k, (2,), "SAME").sum(), (0, 1)))
    for platform, convolutions in (("cuda", True), ("cpu", False)):
        text = step.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == convolutions
        assert ("dot_general" in text) != convolutions


def test_gradient_on_two_devices_equals_one_device():
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

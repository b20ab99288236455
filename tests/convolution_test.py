"""Convolution in use is the convolution, however it is computed."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from jax import numpy as jnp

from deepgenre.models.convolution import convolve_in_use
from deepgenre.models.layers import ConvBlock

LAYOUT = ("NHWC", "HWIO", "NHWC")


def drawn(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (0, 1))])
@pytest.mark.parametrize("taps", [(3, 3), (1, 4), (2, 3), (5, 5)])
@pytest.mark.parametrize(("channels", "strides"), [(1, (1, 1)), (1, (2, 1)), (3, (1, 1))])
def test_it_is_what_xla_convolves(
    channels: int, strides: tuple[int, int], taps: tuple[int, int], padding: str
) -> None:
    x, kernel = drawn(2, 11, 9, channels), drawn(*taps, channels, 5)
    wanted = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)
    found = convolve_in_use(x, kernel, strides, padding, dimension_numbers=LAYOUT)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("train", "channels", "activation", "convolves"),
    [
        (False, 1, nn.relu, False),
        (True, 1, nn.relu, True),
        (False, 2, nn.relu, True),
        (False, 1, nn.elu, True),
    ],
)
def test_on_a_cpu_one_channel_is_not_convolved_in_use(
    train: bool, channels: int, activation, convolves: bool
) -> None:
    block = ConvBlock(4, (3, 3), pool=(2, 2), activation=activation)
    x = drawn(2, 8, 8, channels)
    variables = block.init(jax.random.key(0), x, train=True)
    lowered = jax.jit(lambda x: block.apply(variables, x, train=train)).lower(x).as_text()
    assert ("stablehlo.convolution" in lowered) == convolves

"""Convolutions and gradients by matrix products equal XLA's, for any sizes, strides and pads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.models import matrix_products
from deepgenre.models.convolution import by_xla


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


axis = st.tuples(
    st.integers(4, 12),  # size
    st.integers(1, 4),  # of the kernel
    st.integers(1, 3),  # stride
    st.tuples(st.integers(0, 5), st.integers(0, 5)),  # pads, also larger than the kernel
)


@settings(max_examples=8, deadline=None)
@given(axes=st.lists(axis, min_size=1, max_size=3), rows=st.sampled_from([1, 100, 10**6]))
def test_equal_xla(axes, rows):
    sizes, kernel_sizes, strides, pads = (tuple(values) for values in zip(*axes, strict=True))
    x, kernel = normal(4, *sizes, 2), normal(*kernel_sizes, 2, 3, seed=1)
    expected, vjp = jax.vjp(lambda x, k: by_xla(x, k, strides, pads), x, kernel)
    gradient = normal(*expected.shape, seed=2)
    to_input, to_kernel = vjp(gradient)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_products, "MAX_ROWS", rows)
        found = (
            matrix_products.convolution(x, kernel, strides=strides, pads=pads),
            matrix_products.input_gradient(x.shape, kernel, gradient, strides, pads),
            matrix_products.kernel_gradient(x, gradient, kernel.shape, strides, pads),
        )
    for actual, right in zip(found, (expected, to_input, to_kernel), strict=True):
        np.testing.assert_allclose(actual, right, atol=2e-5 * max(1, float(jnp.abs(right).max())))

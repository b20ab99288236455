"""Layer-wise relevance propagation, as a backward pass with another gradient in convolutions.

S. Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise
relevance propagation", PLoS ONE 10 (7), 2015. The relevance of an activation a is a times the
gradient g that arrives at it. With the true gradient, that is rule LRP-0 for dense layers,
batch norm, ReLU, sums, means and maxima (M. Ancona et al., ICLR 2018, arXiv:1711.06104): all these
are homogeneous, apart from biases, so relevance is conserved. Convolutions have rule LRP-gamma (G.
Montavon et al., "Layer-wise relevance propagation: an overview", 2019), in its form for inputs of
both signs: contributions with the sign of the output count 1 + GAMMA times. Biases, and shifts of
batch norm and of the plane's 0, keep the relevance that they contribute:

    sum of the map + relevance of biases and shifts = logit

Other non-linear layers (gates, attention, ELU, sigmoids, powers) have the true gradient, and
conserve relevance only in part. The completeness error is the deviation from the equation above.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from deepgenre.errors import UserError
from deepgenre.explain.grad_cam import has_convolutions
from deepgenre.explain.target import Attribution, Target, relative_error
from deepgenre.models.convolution import convolve
from deepgenre.models.pooling import max_pool

GAMMA = 0.25
SHIFTS = ("bias", "mean")  # variables that hold relevance: mean is that of batch norm

Linear = Callable[[jax.Array, jax.Array], jax.Array]  # of input and kernel


def lrp(target: Target) -> Attribution:
    """Returns the relevance of each cell; raises UserError for networks without convolutions."""
    if not has_convolutions(target):
        raise UserError(
            f"--method: lrp has rules for convolutions, and {target.spec.model} has none; use "
            "gradient, which equals it there, or integrated_gradients"
        )
    flat = traverse_util.flatten_dict(target.variables)
    shifts = {name: leaf for name, leaf in flat.items() if name[-1] in SHIFTS}

    def logit(inputs: jax.Array, shifts: Any) -> jax.Array:
        variables = traverse_util.unflatten_dict({**flat, **shifts})
        with nn.intercept_methods(_intercept):
            logits = target.module.apply(variables, inputs, train=False)
        assert isinstance(logits, jax.Array)
        return logits[0, target.index]

    inputs, to_plane = jax.vjp(target.features, target.values[None])
    value, slopes = jax.value_and_grad(logit, argnums=(0, 1))(inputs, shifts)
    relevance = target.values * to_plane(slopes[0])[0][0]
    of_shifts = sum(jnp.vdot(jnp.asarray(shifts[name]), slopes[1][name]) for name in shifts)
    of_shifts += jnp.vdot(target.features(jnp.zeros_like(target.values)[None]), slopes[0])
    return Attribution(relevance, relative_error(relevance.sum() + of_shifts, value))


def _intercept(run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    """Runs a convolution with rule LRP-gamma, everything else as it is."""
    layer = context.module
    if not isinstance(layer, nn.Conv) or not layer.path:  # without a path: `plain`
        return run(*args, **kwargs)
    (x,) = args
    params = layer.variables["params"]
    # ConvBlock computes a pool within the convolution: here it follows.
    fused = layer.conv_general_dilated
    pool = fused.keywords.get("pool", ()) if isinstance(fused, functools.partial) else ()
    plain = layer.clone(
        parent=None, name=None, use_bias=False, conv_general_dilated=convolve if fused else None
    )

    def linear(x: jax.Array, kernel: jax.Array) -> jax.Array:
        output = plain.apply({"params": {"kernel": kernel}}, x)
        assert isinstance(output, jax.Array)
        return output

    bias = params.get("bias", jnp.zeros(layer.features))
    return max_pool(gamma_rule(linear)(x, params["kernel"], bias), pool)


def gamma_rule(linear: Linear) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Returns (x, kernel, bias) -> linear(x, kernel) + bias, whose gradient is that of LRP-gamma.

    Input times gradient is the input's relevance, likewise of the bias; the kernel's is 0.
    """

    @jax.custom_vjp
    def layer(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        return linear(x, kernel) + bias.reshape((1,) * (x.ndim - 1) + (-1,))

    def forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, Any]:
        return layer(x, kernel, bias), (x, kernel, bias)

    def backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, kernel, bias = saved
        rising, falling = nn.relu(kernel), -nn.relu(-kernel)
        positive_x, negative_x = nn.relu(x), -nn.relu(-x)
        shape = (1,) * (x.ndim - 1) + (-1,)
        upward, pull_upward = jax.vjp(
            lambda p, n: linear(p, rising) + linear(n, falling), positive_x, negative_x
        )
        downward, pull_downward = jax.vjp(
            lambda p, n: linear(p, falling) + linear(n, rising), positive_x, negative_x
        )
        upward += nn.relu(bias).reshape(shape)
        downward -= nn.relu(-bias).reshape(shape)
        output = upward + downward
        # Contributions with the output's sign are amplified; of one sign with it, so no division
        # by a small number.
        up = jnp.where(output >= 0, 1 + GAMMA, 1.0)
        down = jnp.where(output < 0, 1 + GAMMA, 1.0)
        amplified = up * upward + down * downward
        scaled = gradient * jnp.where(amplified == 0, 1.0, output / amplified)
        to_positive, to_negative = map(
            jnp.add, pull_upward(scaled * up), pull_downward(scaled * down)
        )
        of_bias = scaled * jnp.where(bias.reshape(shape) >= 0, up, down)
        return (
            jnp.where(x >= 0, to_positive, to_negative),
            jnp.zeros_like(kernel),
            of_bias.sum(axis=tuple(range(of_bias.ndim - 1))),
        )

    layer.defvjp(forward, backward)
    return layer

"""Grad-CAM: the last feature maps of convolutions, weighted by the gradient of the logit.

R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017, arXiv:1610.02391. With the gradient at each position instead of its mean
(HiResCAM; R. Draelos and L. Carin, 2020, arXiv:2011.08891), which is the same where the maps are
averaged: networks with a maximum over time do not use all positions.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.errors import UserError
from deepgenre.explain.target import Attribution, Target

# Along time and, unless there is one band only, along bands. Chosen on clips with a planted cue
# (benchmarks/explanations.py, 150 windows of training clips; maps of 24, 12, 6 and 3 steps: 83, 95,
# 99 and 49 % found, with one weight per channel): channels of earlier maps are of no class.
MIN_STEPS = 6
OF_PLANE = ("log_mel", "musicnn")  # front ends whose second axis is that of the plane


def grad_cam(target: Target) -> Attribution:
    """Returns the weighted sum of the feature maps, resized to the plane.

    With its negative part, which the paper leaves out: maps of other methods are signed too, and
    parts of equal importance, 0, would have no order.

    The maps are those of the last block with a convolution, its norm, activation and pool included,
    that has MIN_STEPS steps of time and bands. Maps without a frequency axis, and those whose
    second axis is not the plane's, show times only. Raises UserError where a network has no such
    maps.
    """
    planes = target.values[None]
    shapes = _traced(target, planes).shapes
    chosen = [
        index
        for index, shape in enumerate(shapes)
        if _fits(shape, has_bands=target.spec.frontend.kind in OF_PLANE)
    ]
    if not chosen:
        raise UserError(
            f"--method: grad_cam needs the feature maps of one convolution over the whole window, "
            f"with {MIN_STEPS} steps of time; {target.spec.model} has none; use "
            "integrated_gradients"
        )
    shape = shapes[chosen[-1]]

    def logit(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        blocks = _Blocks(chosen[-1], change)
        with nn.intercept_methods(blocks.intercept):
            value = target.logits(planes)[0]
        return value, blocks.maps

    slopes, maps = jax.grad(logit, has_aux=True)(jnp.zeros(shape))
    cam = (slopes * maps).sum(axis=-1)[0]
    if cam.ndim == 2 and target.spec.frontend.kind not in OF_PLANE:
        cam = cam.mean(axis=1)
    cam = cam if cam.ndim == 2 else cam[:, None]
    return Attribution(jax.image.resize(cam, target.values.shape, "linear"), jnp.array(jnp.nan))


def has_convolutions(target: Target) -> bool:
    """Returns whether any layer of the network is an `nn.Conv`."""
    return _traced(target, target.values[None]).any_convolution


def _fits(shape: tuple[int, ...], *, has_bands: bool) -> bool:
    if len(shape) not in (3, 4) or shape[0] != 1 or shape[1] < MIN_STEPS:
        return False
    return not has_bands or len(shape) == 3 or shape[2] == 1 or shape[2] >= MIN_STEPS


def _traced(target: Target, planes: jax.Array) -> "_Blocks":
    """Returns the blocks of the network, which is traced but not computed."""
    blocks = _Blocks()

    def run(planes: jax.Array) -> jax.Array:
        with nn.intercept_methods(blocks.intercept):
            return target.logits(planes)

    jax.eval_shape(run, planes)
    return blocks


@dataclasses.dataclass
class _Blocks:
    """Follows the calls of a network's blocks: the modules in it that contain a convolution.

    A block that returns several arrays is none: the step of a scan, whose maps do not leave it.
    """

    chosen: int = -1  # index of the block whose output is kept, and to which `change` is added
    change: Any = None
    maps: Any = None  # the output that was kept
    shapes: list[tuple[int, ...]] = dataclasses.field(default_factory=list)  # of the outputs
    any_convolution: bool = False
    depth: int = 0
    convolved: bool = False

    def intercept(self, run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext):
        """Calls a module's method; see `nn.intercept_methods`."""
        if context.method_name != "__call__":
            return run(*args, **kwargs)
        around = self.depth
        # Without a path, it is a network; within another one, that whose embedding that one uses.
        depth = around if context.module.path else 0
        if depth == 1:
            self.convolved = False
        self.depth = depth + 1
        output = run(*args, **kwargs)
        self.depth = around
        self.convolved |= isinstance(context.module, nn.Conv)
        self.any_convolution |= self.convolved
        if depth != 1 or not self.convolved or not isinstance(output, jax.Array):
            return output
        self.shapes.append(output.shape)
        if len(self.shapes) - 1 == self.chosen:
            self.maps = output.astype(jnp.float32)
            output = output + self.change.astype(output.dtype)
        return output

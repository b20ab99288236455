"""Explains the score of a class for one window: one call for every network and method."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from deepgenre.errors import UserError, look_up, unknown_name
from deepgenre.explain.curves import Curves, area, curves
from deepgenre.explain.grad_cam import grad_cam
from deepgenre.explain.gradients import gradient, integrated_gradients, smoothgrad
from deepgenre.explain.occlusion import occlusion, shap
from deepgenre.explain.plane import Plane, band_hz, plane_of, seconds_per_frame
from deepgenre.explain.relevance import lrp
from deepgenre.explain.target import Attribution, Target, build
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

METHODS: Mapping[str, Callable[[Target], Attribution]] = {
    "gradient": gradient,
    "smoothgrad": smoothgrad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "lrp": lrp,
    "occlusion": occlusion,
    "shap": shap,
}
DEFAULT_METHOD = "integrated_gradients"
DEFAULT_WITHOUT_CONVOLUTIONS = "occlusion"
CONVOLUTION_AXES = 3  # of a kernel, at least


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Which cells of a window's plane the score of a class rests on."""

    map: np.ndarray  # float32 (frames, bands): share of the logit; negative: against the class
    plane: np.ndarray  # float32 (frames, bands), see `plane`
    band_hz: np.ndarray  # float64 (bands,): centre frequencies
    seconds_per_frame: float  # frame 0 is centred at the start of the window
    method: str
    target: str
    logit: float
    score: float
    completeness_error: float  # relative; NaN where the method has none
    curves: Curves  # of float32 arrays

    @property
    def merit(self) -> dict[str, float]:
        """Returns the areas under the curves; deletion is best at 0, insertion at 1."""
        return {name: area(curve) for name, curve in self.curves._asdict().items()}


def explain(
    weights: Weights,
    levels: np.ndarray,
    target: str = "",
    method: str = DEFAULT_METHOD,
    *,
    seed: int = 0,
) -> Explanation:
    """Returns the explanation of a class's score for one window, with its figures of merit.

    levels: (window_frames, stored_bands), as `audio.frontend.levels` returns them. target: a class;
    '': the one with the highest score. seed: of SmoothGrad's noise and the curves' random orders.
    Code is compiled once per network and method. Raises UserError where the class or method is
    unknown, the method does not apply to the network, or levels or results are not finite.
    """
    (explanation,) = explain_by_each(weights, levels, target, [method], seed=seed)
    return explanation


def explain_by_each(
    weights: Weights, levels: np.ndarray, target: str, methods: Sequence[str], *, seed: int = 0
) -> list[Explanation]:
    """Returns what `explain` does for each method; random orders are scored once for all."""
    spec, network = weights.spec, _compiled(json.dumps(specs.to_json(weights.spec)))
    plane, logits, index = _prepare(weights, levels, target)
    where = (weights.variables, plane, np.int32(index), np.int32(seed))
    attributions = [_attribute(network, where, method) for method in methods]
    maps = np.stack([attribution.map for attribution in attributions])
    times_only = tuple(bool(np.ptp(one, axis=1).max() <= 1e-6 * np.ptp(one)) for one in maps)
    found, score = jax.device_get(network.merit(*where, maps, times_only))
    return [
        Explanation(
            map=np.asarray(attribution.map),
            plane=np.asarray(plane.values),
            band_hz=band_hz(spec),
            seconds_per_frame=seconds_per_frame(spec),
            method=method,
            target=spec.classes[index],
            logit=float(logits[index]),
            score=float(score),
            completeness_error=float(attribution.completeness_error),
            curves=of_method,
        )
        for method, attribution, of_method in zip(methods, attributions, found, strict=True)
    ]


def attribute(
    weights: Weights,
    levels: np.ndarray,
    target: str = "",
    method: str = DEFAULT_METHOD,
    *,
    seed: int = 0,
) -> Attribution:
    """Returns the map of `explain`, float32 (frames, bands), without its figures of merit."""
    network = _compiled(json.dumps(specs.to_json(weights.spec)))
    plane, _, index = _prepare(weights, levels, target)
    where = (weights.variables, plane, np.int32(index), np.int32(seed))
    return _attribute(network, where, method)


def _prepare(weights: Weights, levels: np.ndarray, target: str) -> tuple[Plane, np.ndarray, int]:
    """Returns the plane, its logits (classes,), and the index of the target."""
    spec = weights.spec
    if target and target not in spec.classes:
        raise unknown_name("--target", target, spec.classes)
    expected = (spec.window_frames, spec.frontend.stored_bands)
    if levels.shape != expected or not np.isfinite(levels).all():
        raise UserError(f"levels: must be finite, of shape {expected}; is of {levels.shape}")
    plane, logits = _compiled(json.dumps(specs.to_json(spec))).logits(weights.variables, levels)
    logits = np.asarray(logits)
    if not np.isfinite(logits).all():
        raise UserError(f"the scores of {spec.model} are not finite; use other weights")
    return plane, logits, spec.classes.index(target) if target else int(np.argmax(logits))


def default_method(weights: Weights) -> str:
    """Returns the method for weights where none is chosen.

    Of networks without convolutions, such as kernel_ridge, the features are medians, percentiles
    and the like: their gradients along the way from 0 to the window do not add up in a few steps.
    """
    kernels = jax.tree.leaves(weights.variables["params"])
    if any(np.ndim(kernel) >= CONVOLUTION_AXES for kernel in kernels):
        return DEFAULT_METHOD
    return DEFAULT_WITHOUT_CONVOLUTIONS


def _attribute(network: "_Compiled", where: tuple[Any, ...], method: str) -> Attribution:
    look_up(METHODS, method, "--method")
    attribution = jax.device_get(network.attribute(*where, method))
    if not np.isfinite(attribution.map).all():
        raise UserError(f"the map of {method} is not finite for this window; use occlusion")
    return attribution


@dataclasses.dataclass(frozen=True)
class _Compiled:
    """Compiled functions of one network."""

    logits: Callable[..., tuple[Plane, jax.Array]]
    attribute: Callable[..., Attribution]
    merit: Callable[..., tuple[list[Curves], jax.Array]]


@functools.lru_cache(maxsize=4)
def _compiled(spec_json: str) -> _Compiled:
    """Returns the compiled functions for a spec: a network is compiled once for all windows."""
    spec = specs.from_json(json.loads(spec_json))
    module = build(spec)

    def target_of(variables: Any, plane: Plane, index: Any, seed: Any) -> Target:
        key = jax.random.key(seed)
        return Target(spec, module, variables, plane.values, plane.carrier, index, key)

    @jax.jit
    def logits(variables: Any, levels: jax.Array) -> tuple[Plane, jax.Array]:
        plane = plane_of(levels, spec)
        target = target_of(variables, plane, 0, 0)
        return plane, target.all_logits(plane.values[None])[0]

    @functools.partial(jax.jit, static_argnames="method")
    def attribute(variables: Any, plane: Plane, index: Any, seed: Any, method: str) -> Attribution:
        return METHODS[method](target_of(variables, plane, index, seed))

    @functools.partial(jax.jit, static_argnames="times_only")
    def merit(
        variables: Any,
        plane: Plane,
        index: Any,
        seed: Any,
        maps: jax.Array,
        times_only: tuple[bool, ...],
    ) -> tuple[list[Curves], jax.Array]:
        target = target_of(variables, plane, index, seed)
        return curves(target, maps, times_only), target.scores(plane.values[None])[0]

    return _Compiled(logits, attribute, merit)

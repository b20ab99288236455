"""Compiled steps for scoring and inference."""

from collections.abc import Callable
from typing import Any

import jax

from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, features_of

ScoreStep = Callable[[Any, Any], jax.Array]
InferStep = Callable[[Any, Any], dict[str, jax.Array]]


def compile_score_step(spec: Spec) -> ScoreStep:
    """Returns the compiled function (variables, levels) -> scores, float32 (..., classes)."""
    module = specs.build(spec)

    def score(variables: Any, levels: jax.Array) -> jax.Array:
        logits = module.apply(variables, features_of(levels, spec), train=False)
        assert isinstance(logits, jax.Array)
        return scores(logits, multi_label=spec.multi_label)

    return jax.jit(score)


def compile_infer_step(spec: Spec) -> InferStep:
    """Returns the compiled function (variables, levels) -> all outputs of the network.

    These are 'scores', float32 (batch, classes), and the arrays that it sows: 'embedding', float32
    (batch, features), in some networks 'attention' (see `models.attention`), and in recurrent ones
    'step_scores', float32 (batch, steps, classes): after each step of the recurrent layer.
    """
    module = specs.build(spec)

    def infer(variables: Any, levels: jax.Array) -> dict[str, jax.Array]:
        outputs = module.apply(
            variables, features_of(levels, spec), train=False, mutable=["intermediates"]
        )
        logits, sown = outputs  # pyright: ignore[reportGeneralTypeIssues]
        arrays = {k: v[-1] for k, v in sown["intermediates"].items() if isinstance(v, tuple)}
        if "frame_logits" in arrays:
            steps = arrays.pop("frame_logits")
            arrays["step_scores"] = scores(steps, multi_label=spec.multi_label)
        return {"scores": scores(logits, multi_label=spec.multi_label), **arrays}

    return jax.jit(infer)


def scores(logits: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns probabilities of the shape of the logits (..., classes)."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)

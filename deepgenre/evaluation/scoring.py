"""Compiled scoring and inference steps, and the scores of prepared clips."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepgenre.data import pipeline
from deepgenre.data.store import Records, Row
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights, features_of

ScoreStep = Callable[[Any, Any], jax.Array]


InferStep = Callable[[Any, Any], dict[str, jax.Array]]


def compile_score_step(spec: Spec) -> ScoreStep:
    """Returns the compiled map of (variables, uint8 levels) to scores, float32 (batch, classes)."""
    module = specs.build(spec)

    def score(variables: Any, levels: jax.Array) -> jax.Array:
        logits = module.apply(variables, features_of(levels, spec), train=False)
        assert isinstance(logits, jax.Array)
        return scores(logits, multi_label=spec.multi_label)

    return jax.jit(score)


def compile_infer_step(spec: Spec) -> InferStep:
    """Returns the compiled map of (variables, levels) to all that the network makes of a batch.

    'scores', float32 (batch, classes), and what it sows: 'embedding', float32 (batch, features),
    and of some networks 'attention' (see `models.attention`).
    """
    module = specs.build(spec)

    def infer(variables: Any, levels: jax.Array) -> dict[str, jax.Array]:
        found = module.apply(
            variables, features_of(levels, spec), train=False, mutable=["intermediates"]
        )
        logits, sown = found  # pyright: ignore[reportGeneralTypeIssues]
        own = {k: v[-1] for k, v in sown["intermediates"].items() if isinstance(v, tuple)}
        return {"scores": scores(logits, multi_label=spec.multi_label), **own}

    return jax.jit(infer)


def scores(logits: jax.Array, *, multi_label: bool) -> jax.Array:
    """Returns probabilities of the shape of the logits (batch, classes)."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)


def clip_scores(
    score: ScoreStep,
    variables: Any,
    spec: Spec,
    store: Path,
    rows: Sequence[Row],
    *,
    batch_size: int,
) -> np.ndarray:
    """Returns scores, float32 (rows, classes): the mean over each clip's windows."""
    # Once, not with every batch; on one device, also where they are replicated over several.
    variables = jax.device_put(variables, jax.local_devices()[0])
    sums = np.zeros((len(rows), len(spec.classes)), np.float64)
    windows = np.zeros((len(rows), 1), np.int64)

    def add(scores: Any, clips: np.ndarray) -> None:
        whole = clips != pipeline.PAD_CLIP
        np.add.at(sums, clips[whole], np.asarray(scores)[whole])
        np.add.at(windows, clips[whole], 1)

    waiting = None  # one batch behind, so that the device works while the host adds up
    for levels, clips in pipeline.scoring_batches(
        Records(store, rows, spec.frontend.stored_dtype),
        rows,
        window_frames=spec.window_frames,
        hop_frames=spec.hop_frames,
        batch_size=batch_size,
    ):
        scored = score(variables, levels), clips
        if waiting:
            add(*waiting)
        waiting = scored
    if waiting:
        add(*waiting)
    return (sums / windows).astype(np.float32)


def score_rows(weights: Weights, store: Path, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights' `clip_scores` of these rows, and the rows' labels, encoded."""
    spec = weights.spec
    scores = clip_scores(
        compile_score_step(spec),
        weights.variables,
        spec,
        store,
        rows,
        batch_size=spec.config["batch_size"],
    )
    return scores, pipeline.encode_labels(rows, spec.classes, spec.multi_label)

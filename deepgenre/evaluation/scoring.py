"""Scores of prepared clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepgenre import devices
from deepgenre.data import pipeline
from deepgenre.data.store import Records, Row
from deepgenre.evaluation.steps import ScoreStep, compile_score_step
from deepgenre.weights.spec import Spec, Weights


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
    # Transferred once, not with every batch, and to one device even if training replicates them.
    variables = jax.device_put(variables, jax.local_devices()[0])
    sums = np.zeros((len(rows), len(spec.classes)), np.float64)
    windows = np.zeros((len(rows), 1), np.int64)

    def add(scores: Any, clips: np.ndarray) -> None:
        valid = clips != pipeline.PAD_CLIP
        np.add.at(sums, clips[valid], np.asarray(scores)[valid])
        np.add.at(windows, clips[valid], 1)

    pending = None  # added one batch late: the device computes while the host adds
    for levels, clips in pipeline.scoring_batches(
        Records(store, rows, spec.frontend.stored_dtype),
        rows,
        window_frames=spec.window_frames,
        hop_frames=spec.hop_frames,
        batch_size=batch_size,
    ):
        scored = score(variables, levels), clips
        if pending:
            add(*pending)
        pending = scored
    if pending:
        add(*pending)
    return (sums / windows).astype(np.float32)


def shared_clip_scores(
    score: ScoreStep,
    variables: Any,
    spec: Spec,
    store: Path,
    rows: Sequence[Row],
    *,
    batch_size: int,
) -> np.ndarray:
    """Returns `clip_scores` of all rows, in every process; each computes a share of them."""
    share = rows[jax.process_index() :: jax.process_count()]
    scores = np.zeros((0, len(spec.classes)), np.float32)
    if share:
        scores = clip_scores(score, variables, spec, store, share, batch_size=batch_size)
    return devices.gather_rows(scores, len(rows))


def score_rows(weights: Weights, store: Path, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `clip_scores` of these rows for the weights, and the encoded labels."""
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

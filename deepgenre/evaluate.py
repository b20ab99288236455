"""Mode `eval`: a checkpoint and a split to scores, metrics and figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from deepgenre import log, metrics, pipeline
from deepgenre.errors import UserError
from deepgenre.plan import part_rows
from deepgenre.prepare import prepare
from deepgenre.restored import Restored
from deepgenre.spec import Spec
from deepgenre.step import ScoreStep, compile_score_step
from deepgenre.store import Records, Row, replacing


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


def scored(restored: Restored, store: Path, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights' `clip_scores` of these rows, and the rows' labels, encoded."""
    spec = restored.spec
    scores = clip_scores(
        compile_score_step(spec),
        restored.variables,
        spec,
        store,
        rows,
        batch_size=spec.config["batch_size"],
    )
    return scores, pipeline.encode_labels(rows, spec.classes, spec.multi_label)


def evaluate(restored: Restored, store: Path, rows: Sequence[Row], folder: Path) -> metrics.Metrics:
    """Returns the metrics of the weights on these rows; writes them and figures to a folder."""
    spec = restored.spec
    scores, labels = scored(restored, store, rows)
    found = metrics.evaluate(scores, labels, multi_label=spec.multi_label)
    _write_report(folder, spec, rows, scores, labels, found)
    return found


def _write_report(
    folder: Path,
    spec: Spec,
    rows: Sequence[Row],
    scores: np.ndarray,
    labels: np.ndarray,
    found: metrics.Metrics,
) -> None:
    from deepgenre import plots  # matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "scores.npz") as path, path.open("wb") as stream:
        keys = np.array([row.key for row in rows])
        np.savez_compressed(stream, key=keys, classes=spec.classes, scores=scores, labels=labels)
    if spec.multi_label:
        plots.tag_bars(folder / "tags.png", scores, labels, spec.classes)
    else:
        plots.confusion(folder / "confusion.png", scores, labels, spec.classes)


def run(restored: Restored, data_dir: Path, part: str, workdir: Path) -> int:
    """Evaluates weights on a part of a dataset; prints the metrics as JSON; returns exit code 0."""
    config = ConfigDict(dict(restored.spec.config))
    prepared = prepare(config, data_dir)
    rows = part_rows(restored.spec, config, prepared.rows, part)
    if not rows:
        raise UserError(f"--eval_split: {part!r} holds no clip")
    folder = workdir / f"eval-{part or 'default'}"
    found = evaluate(restored, prepared.folder, rows, folder)
    log.say("evaluated %d clips of step %d; wrote %s", len(rows), restored.step, folder)
    print(json.dumps(found))
    return 0

"""Mode `eval`: a checkpoint and a split to scores, metrics and figures."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre import log
from deepgenre.data.parts import part_rows
from deepgenre.data.prepare import prepare
from deepgenre.data.store import Row
from deepgenre.errors import UserError
from deepgenre.evaluation import metrics
from deepgenre.evaluation.scoring import score_rows
from deepgenre.files import replacing
from deepgenre.weights.spec import Spec, Weights, config_of


def evaluate(weights: Weights, store: Path, rows: Sequence[Row], folder: Path) -> metrics.Metrics:
    """Returns the metrics of the weights on these rows; writes them and figures to a folder."""
    spec = weights.spec
    scores, labels = score_rows(weights, store, rows)
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
    from deepgenre.evaluation import figures  # matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "scores.npz") as path, path.open("wb") as stream:
        keys = np.array([row.key for row in rows])
        np.savez_compressed(stream, key=keys, classes=spec.classes, scores=scores, labels=labels)
    if spec.multi_label:
        figures.tag_bars(folder / "tags.png", scores, labels, spec.classes)
    else:
        figures.confusion(folder / "confusion.png", scores, labels, spec.classes)


def run(weights: Weights, data_dir: Path, part: str, workdir: Path) -> int:
    """Evaluates weights on a part of a dataset; prints the metrics as JSON; returns exit code 0."""
    config = config_of(weights.spec)
    prepared = prepare(config, data_dir)
    rows = part_rows(config, prepared.rows, weights.spec.classes, weights.spec.multi_label, part)
    if not rows:
        raise UserError(f"--eval_split: {part!r} holds no clip")
    folder = workdir / f"eval-{part or 'default'}"
    found = evaluate(weights, prepared.folder, rows, folder)
    log.info("evaluated %d clips of step %d; wrote %s", len(rows), weights.step, folder)
    print(json.dumps(found))
    return 0

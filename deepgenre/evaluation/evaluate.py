"""Mode `eval`: scores, metrics and figures of weights on one part of a dataset."""

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
from deepgenre.files import replacing, updating
from deepgenre.weights.spec import Spec, Weights, config_of


def evaluate(weights: Weights, store: Path, rows: Sequence[Row], folder: Path) -> metrics.Metrics:
    """Returns the metrics of the weights on these rows; writes metrics, scores and figures."""
    spec = weights.spec
    folder.mkdir(parents=True, exist_ok=True)
    with updating(folder):
        scores, labels = score_rows(weights, store, rows)
        results = metrics.evaluate(scores, labels, multi_label=spec.multi_label)
        _write_report(folder, spec, rows, scores, labels, results)
    return results


def _write_report(
    folder: Path,
    spec: Spec,
    rows: Sequence[Row],
    scores: np.ndarray,
    labels: np.ndarray,
    results: metrics.Metrics,
) -> None:
    from deepgenre.evaluation import figures  # matplotlib is slow to import

    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "scores.npz") as path, path.open("wb") as stream:
        keys = np.array([row.key for row in rows])
        np.savez_compressed(stream, key=keys, classes=spec.classes, scores=scores, labels=labels)
    if spec.multi_label:
        figures.tag_bars(folder / "tags.png", scores, labels, spec.classes)
    else:
        figures.confusion_matrix(folder / "confusion.png", scores, labels, spec.classes)


def run(weights: Weights, data_dir: Path, part: str, workdir: Path) -> int:
    """Evaluates weights on a part of a dataset; prints the metrics as JSON; returns exit code 0."""
    config = config_of(weights.spec)
    prepared = prepare(config, data_dir)
    rows = part_rows(config, prepared.rows, weights.spec.classes, weights.spec.multi_label, part)
    if not rows:
        raise UserError(f"--eval_split: part {part!r} contains no clips; choose another part")
    folder = workdir / f"eval-{part or 'default'}"
    results = evaluate(weights, prepared.folder, rows, folder)
    log.info("evaluated step %d on %d clips; wrote %s", weights.step, len(rows), folder)
    print(json.dumps(results))
    return 0

"""Evaluations as they lie on disk: the `eval-*` folders of a workdir, read back and checked."""

import dataclasses
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from deepgenre.errors import UserError
from deepgenre.evaluation import metrics

AGAIN = "evaluate again with deepgenre eval"
BOUNDS = ("low", "high", "chance")  # of a metric


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and metrics of weights on one part of a dataset."""

    folder: Path
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    scores: np.ndarray  # float32 (clips, classes)
    labels: np.ndarray  # int32 (clips,), or uint8 (clips, classes) for tags
    groups: tuple[str, ...]  # artist or recording of each clip; its key where not recorded
    values: Mapping[str, Mapping[str, float]]  # metric -> 'value', and of BOUNDS those known
    per_class: list[dict[str, Any]]  # a row per class, with 'class' and 'support'
    details: Mapping[str, Any]  # of evaluation.json; {} where an earlier version evaluated

    @property
    def multi_label(self) -> bool:
        """Whether the classes are tags, of which a clip has any number."""
        return self.labels.ndim == 2

    @property
    def part(self) -> str:
        """Returns the part of the dataset."""
        return str(self.details.get("part") or self.folder.name.removeprefix("eval-"))

    @property
    def confusion(self) -> np.ndarray | None:
        """Returns the confusion matrix, int64 (classes, classes); None for tags."""
        if self.multi_label:
            return None
        return metrics.confusion_matrix(self.scores, self.labels, len(self.classes))


def folders(workdir: Path) -> list[Path]:
    """Returns the evaluation folders of a workdir, test first.

    Raises UserError where there is none.
    """
    if not workdir.is_dir():
        raise UserError(f"{workdir}: no such workdir; give --workdir of a run")
    found = [path.parent for path in workdir.glob("eval-*/scores.npz")]
    if not found:
        raise UserError(
            f"{workdir}: contains no evaluation (eval-*/scores.npz); run deepgenre eval "
            f"--workdir={workdir}"
        )
    return sorted(found, key=lambda path: (path.name != "eval-test", path.name))


def read(folder: Path) -> Evaluation:
    """Returns the evaluation in a folder.

    Raises UserError where it is missing or damaged, or scores are not finite.
    """
    arrays = _arrays(folder / "scores.npz")
    keys, classes = (tuple(map(str, arrays[name])) for name in ("key", "classes"))
    scores, labels = arrays["scores"], arrays["labels"]
    _check(folder / "scores.npz", keys, classes, scores, labels)
    details = _json(folder / "evaluation.json")
    return Evaluation(
        folder=folder,
        keys=keys,
        classes=classes,
        scores=scores,
        labels=labels,
        groups=tuple(map(str, arrays.get("group", keys))),
        values=details.get("metrics") or _values(_json(folder / "metrics.json")),
        per_class=details.get("per_class") or _per_class(scores, labels, classes),
        details=details,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; run deepgenre eval") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    missing = {"key", "classes", "scores", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path}: has no array {min(missing)!r}; {AGAIN}")
    return arrays


def _check(
    path: Path,
    keys: tuple[str, ...],
    classes: tuple[str, ...],
    scores: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Raises UserError unless the arrays fit together and scores are finite."""
    expected = [(len(keys),), (len(keys), len(classes))]
    if scores.shape != expected[1] or labels.shape not in expected or not scores.size:
        raise UserError(
            f"{path}: scores {scores.shape} and labels {labels.shape} do not match {len(keys)} "
            f"clips and {len(classes)} classes; {AGAIN}"
        )
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if bad.size:
        raise UserError(
            f"{path}: scores of {bad.size} of {len(keys)} clips are NaN or infinite, first of "
            f"{keys[bad[0]]!r}; the weights have diverged: choose another checkpoint"
        )
    if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise UserError(f"{path}: a label is outside the {len(classes)} classes; {AGAIN}")


def _json(path: Path) -> dict[str, Any]:
    """Returns the contents of a JSON file; {} where an earlier version did not write it."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); {AGAIN}") from error


def _values(flat: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns metrics by name from 'accuracy', 'accuracy_low', 'accuracy_chance' and so on."""
    names = [name for name in flat if not any(name == f"{base}_{bound}" for base in flat
                                              for bound in BOUNDS)]  # fmt: skip
    return {
        name: {"value": flat[name]}
        | {bound: flat[f"{name}_{bound}"] for bound in BOUNDS if f"{name}_{bound}" in flat}
        for name in names
    }


def _per_class(
    scores: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Returns a row per class; a number that is undefined is NaN."""
    if labels.ndim == 1:
        names = ("precision", "recall", "f1", "support")
        columns = precision_recall_fscore_support(
            labels, scores.argmax(axis=1), labels=np.arange(len(classes)), zero_division=math.nan
        )
        return [
            {"class": name, **dict(zip(names, map(float, row), strict=True))}
            for name, *row in zip(classes, *columns, strict=True)
        ]
    support = labels.sum(axis=0)
    rows = [
        {"class": name, "support": int(count), "roc_auc": math.nan, "average_precision": math.nan}
        for name, count in zip(classes, support, strict=True)
    ]
    defined = np.flatnonzero((support > 0) & (support < len(labels)))
    if defined.size:
        of_tags = metrics.tag_metrics(scores[:, defined], labels[:, defined])
        for position, tag in enumerate(defined):
            rows[tag] |= {name: float(values[position]) for name, values in of_tags.items()}
    return rows

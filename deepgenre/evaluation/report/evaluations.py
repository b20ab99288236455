"""Evaluations as they lie on disk: the `eval-*` folders of a workdir, read back and checked.

Those of earlier versions are read too: they lack groups, tracks and `evaluation.json`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation import genre_metrics, summarize, tag_metrics
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.files import parse_json

AGAIN = "evaluate again with deepgenre eval"
BOUNDS = ("low", "high", "chance")  # of a metric


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and metrics of weights on one part of a dataset."""

    folder: Path
    scored: Scored
    values: Mapping[str, Mapping[str, float | None]]  # metric -> 'value', and known BOUNDS
    per_class: list[dict[str, Any]]  # a row per class, with 'class' and 'support'
    details: Mapping[str, Any]  # of evaluation.json; {} where an earlier version evaluated

    @property
    def name(self) -> str:
        """Returns the name within the workdir: the part, after a dataset that is not the run's."""
        return self.folder.name.removeprefix("eval-")

    @property
    def confusion(self) -> np.ndarray | None:
        """Returns the confusion matrix, int64 (classes, classes); None for tags."""
        if self.scored.multi_label:
            return None
        return genre_metrics.confusion_matrix(self.scored.scores, self.scored.labels)


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
    scored = _scored(folder / "scores.npz")
    details = _json(folder / "evaluation.json")
    return Evaluation(
        folder=folder,
        scored=scored,
        values=details.get("metrics") or _values(_json(folder / "metrics.json")),
        per_class=details.get("per_class") or summarize.per_class(scored, tag_metrics.THRESHOLD),
        details=details,
    )


def _scored(path: Path) -> Scored:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; run deepgenre eval") from error
    except Exception as error:  # damaged headers and zips raise ten different types
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    missing = {"key", "classes", "scores", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path}: has no array {min(missing)!r}; {AGAIN}")
    scored = Scored(
        key=arrays["key"],
        classes=tuple(map(str, arrays["classes"])),
        scores=arrays["scores"],
        labels=arrays["labels"],
        group=arrays.get("group", arrays["key"]),
        track=arrays.get("track", arrays["key"]),
    )
    _check(path, scored)
    return scored


def _check(path: Path, scored: Scored) -> None:
    """Raises UserError unless the arrays fit together and scores are finite."""
    clips, classes = len(scored.key), len(scored.classes)
    scores, labels = scored.scores, scored.labels
    fits = scores.shape == (clips, classes) and labels.shape in ((clips,), scores.shape)
    if not fits or not scores.size:
        raise UserError(
            f"{path}: scores {scores.shape} and labels {labels.shape} do not match {clips} clips "
            f"and {classes} classes; {AGAIN}"
        )
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if bad.size:
        raise UserError(
            f"{path}: the scores of {bad.size} of {clips} clips are not finite, first of "
            f"{str(scored.key[bad[0]])!r}; use other weights, and {AGAIN}"
        )
    if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < classes):
        raise UserError(f"{path}: a label is outside the {classes} classes; {AGAIN}")


def _json(path: Path) -> dict[str, Any]:
    """Returns the contents of a JSON file; {} where an earlier version did not write it."""
    if not path.exists():
        return {}
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); {AGAIN}") from error


def _values(flat: Mapping[str, float | None]) -> dict[str, dict[str, float | None]]:
    """Returns metrics by name from 'accuracy', 'accuracy_low', 'accuracy_chance' and so on."""
    bounds = {f"{name}_{bound}" for name in flat for bound in BOUNDS}
    return {
        name: {"value": value}
        | {bound: flat[f"{name}_{bound}"] for bound in BOUNDS if f"{name}_{bound}" in flat}
        for name, value in flat.items()
        if name not in bounds
    }

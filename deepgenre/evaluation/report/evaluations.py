"""Evaluations as they lie on disk: the `eval-*` folders of a workdir, read back and checked.

Those of earlier versions are read too: they lack groups, tracks and `evaluation.json`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation import genre_metrics, summarize, tag_metrics
from deepgenre.evaluation.evaluation_files import Scored, read_details, read_scores

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

    def thresholds(self, classes: Sequence[str]) -> np.ndarray:
        """Returns the thresholds of the F1 of these tags, as evaluated, float64 (classes,)."""
        of_class = {row["class"]: row.get("threshold") for row in self.per_class}
        known = [of_class.get(name) for name in classes]
        return np.array([tag_metrics.THRESHOLD if one is None else one for one in known])

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
    folds = sorted(path.parent for path in workdir.glob("fold-*/config.json"))
    if not found and folds:
        raise UserError(f"{workdir}: is a cross-validation; give a fold, e.g. --workdir={folds[0]}")
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
    scored = read_scores(folder)
    details = read_details(folder / "evaluation.json")
    flat = read_details(folder / "metrics.json")
    if not details and not flat:  # the scores out of fold of a cross-validation
        details = summarize.summarize(scored, tag_metrics.THRESHOLD)
    return Evaluation(
        folder=folder,
        scored=scored,
        values=details.get("metrics") or _values(flat),
        per_class=details.get("per_class") or summarize.per_class(scored, tag_metrics.THRESHOLD),
        details=details,
    )


def _values(flat: Mapping[str, float | None]) -> dict[str, dict[str, float | None]]:
    """Returns metrics by name from 'accuracy', 'accuracy_low', 'accuracy_chance' and so on."""
    bounds = {f"{name}_{bound}" for name in flat for bound in BOUNDS}
    return {
        name: {"value": value}
        | {bound: flat[f"{name}_{bound}"] for bound in BOUNDS if f"{name}_{bound}" in flat}
        for name, value in flat.items()
        if name not in bounds
    }

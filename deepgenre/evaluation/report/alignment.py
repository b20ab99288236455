"""Evaluations of several weights on the same clips, brought into the same order."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.report import evaluations

SAME = "evaluate both on the same data, with the same --eval_split, config.split and config.seed"
MAX_LISTED = 3


def choose(runs: Collection[Path], part: str) -> list[Path]:
    """Returns the folder of the evaluation of each run to compare.

    A run is a workdir or an evaluation's own folder. part: '' is the test part where all have it,
    else the first that they have in common. Raises UserError where they have none in common.
    """
    candidates = {
        run: [run] if (run / "scores.npz").exists() else evaluations.folders(run) for run in runs
    }
    workdirs = {run: found for run, found in candidates.items() if found != [run]}
    names = [[folder.name for folder in found] for found in workdirs.values()]
    common = [name for name in (names or [[]])[0] if all(name in other for other in names)]
    wanted = f"eval-{part}" if part else next(iter(common), "")
    if workdirs and wanted not in common:
        have = "; ".join(
            f"{run}: {', '.join(folder.name.removeprefix('eval-') for folder in found)}"
            for run, found in workdirs.items()
        )
        what = f"evaluation {part!r}" if part else "evaluation"
        raise UserError(f"compare: the runs have no {what} in common ({have}); {SAME}")
    return [run if run not in workdirs else run / wanted for run in runs]


def aligned(first: Scored, other: Scored, names: tuple[str, str]) -> Scored:
    """Returns `other` with clips and classes in the order of `first`.

    Raises UserError where their classes, clips or labels are not the same.
    """
    if first.multi_label != other.multi_label:
        raise UserError(f"{names[1]}: has {_kind(other)}, {names[0]} has {_kind(first)}")
    _check_same(first.classes, other.classes, "classes", names)
    keys = [[str(key) for key in one.key] for one in (first, other)]
    _check_same(keys[0], keys[1], "clips", names)
    clip_at = {key: index for index, key in enumerate(keys[1])}
    clips = np.array([clip_at[key] for key in keys[0]])
    classes = np.array([other.classes.index(name) for name in first.classes])
    if other.multi_label:
        labels = other.labels[clips][:, classes]
    else:
        labels = np.argsort(classes)[other.labels[clips]].astype(first.labels.dtype)
    wrong = np.flatnonzero((labels != first.labels).reshape(len(clips), -1).any(axis=1))
    if wrong.size:
        raise UserError(
            f"{names[1]}: {wrong.size} clips have other labels than in {names[0]}, first "
            f"{keys[0][wrong[0]]!r}; {SAME}"
        )
    return dataclasses.replace(
        first, scores=other.scores[clips][:, classes]
    )  # key, group, track and labels are those of `first`


def _kind(scored: Scored) -> str:
    return "tags" if scored.multi_label else "one label per clip"


def _check_same(
    first: Collection[str], other: Collection[str], what: str, names: tuple[str, str]
) -> None:
    only = [sorted({*first} - {*other}), sorted({*other} - {*first})]
    if any(only):
        listed = "; ".join(
            f"{len(extra)} only in {name}, e.g. {', '.join(map(repr, extra[:MAX_LISTED]))}"
            for extra, name in zip(only, names, strict=True)
            if extra
        )
        raise UserError(f"{names[1]}: its {what} are not those of {names[0]} ({listed}); {SAME}")

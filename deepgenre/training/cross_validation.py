"""Mode `train` with `config.folds`: cross-validation.

The clips of all parts of the split but 'test' are divided into folds with whole groups and about
equal shares of each label (`data.parts.fold_parts`); the test part is neither trained on nor
scored. Each fold is a run of its own in `<workdir>/fold-<i>`, which the same command resumes, and
skips when it is finished. The results are out-of-fold: each clip is scored by the network that was
neither trained nor selected on its fold.

    <workdir>/cross_validation.json   metrics of each fold, their mean and spread (sample standard
                                      deviation), and pooled metrics
    <workdir>/scores.npz              as of an evaluation, of every clip, and its fold
    <workdir>/confusion.png           of these scores; for tags, tags.png; the same as .svg
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from deepgenre import devices, log
from deepgenre.config import Config
from deepgenre.errors import UserError
from deepgenre.evaluation import evaluation_files, metrics
from deepgenre.evaluation.evaluate import spread
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.metrics import Metrics
from deepgenre.files import replacing, strict_json, write_json
from deepgenre.training.members import Member, run_all

PART = "held_out"
SUMMARISED = ("accuracy", "roc_auc", "average_precision", "loss")  # in the table, where they exist


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Trains what is missing, prints the results as one JSON object; returns exit code 0."""
    report = cross_validate(config, data_dir, workdir)
    if devices.is_main_process():
        print(strict_json(report))
    return 0


def cross_validate(config: Config, data_dir: Path, workdir: Path) -> dict[str, Any]:
    """Trains what is missing; returns what `cross_validation.json` contains.

    In processes other than the main one the result is {}. Raises UserError where a fold fails.
    """
    members = [
        Member(fold_folder(Path(), fold).name, ConfigDict({**config.to_dict(), "fold": fold}))
        for fold in range(config.folds)
    ]
    outcomes = run_all(members, data_dir, workdir)
    results = []
    for folder, outcome in outcomes.items():
        if isinstance(outcome, UserError):
            raise UserError(f"{folder}: {outcome}")
        results.append(outcome.get(PART, {}))  # {} in processes other than the main one
    return _report(workdir, results) if devices.is_main_process() else {}


def fold_folder(workdir: Path, fold: int) -> Path:
    """Returns the workdir of one fold."""
    return workdir / f"fold-{fold}"


def _report(workdir: Path, results: Sequence[Metrics]) -> dict[str, Any]:
    """Returns what `cross_validation.json` contains; writes it, the scores and the figure."""
    folders = [fold_folder(workdir, fold) / f"eval-{PART}" for fold in range(len(results))]
    scored, folds = join([evaluation_files.read_scores(folder) for folder in folders])
    pooled = metrics.evaluate(scored.scores, scored.labels, multi_label=scored.multi_label)
    report = {"folds": list(results), "spread": spread(results), "pooled": pooled}
    arrays = {field.name: getattr(scored, field.name) for field in dataclasses.fields(Scored)}
    with replacing(workdir / "scores.npz") as path, path.open("wb") as stream:
        np.savez_compressed(stream, fold=folds, **arrays)
    write_json(workdir / "cross_validation.json", report)
    evaluation_files.draw(workdir, scored)
    for line in table(results):
        log.info("%s", line)
    log.info("wrote cross_validation.json, scores.npz and a figure to %s", workdir)
    return report


def join(folds: Sequence[Scored]) -> tuple[Scored, np.ndarray]:
    """Returns the scores of all folds, sorted by key, and the fold of each clip, int (clips,)."""
    fold = np.repeat(np.arange(len(folds)), [len(scored.key) for scored in folds])
    order = np.argsort(np.concatenate([scored.key for scored in folds]), kind="stable")
    arrays = {
        name: np.concatenate([getattr(scored, name) for scored in folds])[order]
        for name in ("key", "scores", "labels", "group", "track")
    }
    return Scored(classes=folds[0].classes, **arrays), fold[order]


def table(results: Sequence[Metrics]) -> list[str]:
    """Returns the lines of a table: a fold per line, and mean +- spread."""
    names = [name for name in SUMMARISED if name in results[0]]
    widths = [max(len(name), 15) for name in names]
    summary = spread(results)
    rows = [["fold", "clips", *names]]
    for fold, result in enumerate(results):
        rows.append([str(fold), str(result["clips"]), *(f"{result[name]:.4f}" for name in names)])
    total = sum(int(result["clips"]) for result in results)
    cells = [f"{summary[name]['mean']:.4f} +- {summary[name]['spread']:.4f}" for name in names]
    rows.append(["mean", str(total), *cells])
    return [
        f"{first:<6}{clips:>7}"
        + "".join(f"  {cell:>{width + 2}}" for cell, width in zip(cells, widths, strict=True))
        for first, clips, *cells in rows
    ]

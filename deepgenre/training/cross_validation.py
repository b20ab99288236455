"""Mode `train` with `config.folds`: cross-validation.

The clips of all parts of the split but 'test' are divided into folds with whole groups and about
equal shares of each label (`data.parts.fold_parts`); the test part is neither trained on nor
scored. Each fold is a run of its own in `<workdir>/fold-<i>`, which the same command resumes, and
skips when it is finished. The results are out-of-fold: each clip is scored by the network that was
neither trained nor selected on its fold.

    <workdir>/cross_validation.json   metrics of each fold, their mean and spread, pooled metrics
    <workdir>/scores.npz              key, classes, scores, labels and fold of every clip
    <workdir>/confusion.png           of these scores; for tags, tags.png
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from deepgenre import devices, log
from deepgenre.config import Config, check
from deepgenre.evaluation import metrics
from deepgenre.evaluation.metrics import Metrics
from deepgenre.files import replacing
from deepgenre.training import train

PART = "held_out"
SUMMARISED = ("accuracy", "roc_auc", "average_precision", "loss")  # in the table, where they exist


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Trains what is missing, prints the results as one JSON object; returns exit code 0."""
    check(config)
    results: list[Metrics] = []
    for fold in range(config.folds):
        log.info("fold %d of %d", fold + 1, config.folds)
        of_fold = ConfigDict({**config.to_dict(), "fold": fold})
        of_parts: dict[str, Any] = {**train.train(of_fold, data_dir, fold_folder(workdir, fold))}
        results.append(of_parts.get(PART, {}))  # {} in processes other than the main one
    if devices.is_main_process():
        print(json.dumps(_report(workdir, results)))
    return 0


def fold_folder(workdir: Path, fold: int) -> Path:
    """Returns the workdir of one fold."""
    return workdir / f"fold-{fold}"


def _report(workdir: Path, results: Sequence[Metrics]) -> dict[str, Any]:
    """Returns what `cross_validation.json` contains; writes it, the scores and the figure."""
    folders = [fold_folder(workdir, fold) for fold in range(len(results))]
    merged = merge_scores([folder / f"eval-{PART}" / "scores.npz" for folder in folders])
    multi_label = merged["labels"].ndim == 2
    pooled = metrics.evaluate(merged["scores"], merged["labels"], multi_label=multi_label)
    report = {"folds": list(results), **mean_and_spread(results), "pooled": pooled}
    with replacing(workdir / "scores.npz") as path, path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **merged)
    with replacing(workdir / "cross_validation.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _draw(workdir, merged, multi_label)
    for line in table(results):
        log.info("%s", line)
    log.info("wrote cross_validation.json, scores.npz and a figure to %s", workdir)
    return report


def merge_scores(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Returns the arrays of the `scores.npz` of all folds, joined and sorted by key, and `fold`."""
    arrays: dict[str, list[np.ndarray]] = {"key": [], "scores": [], "labels": [], "fold": []}
    classes = np.array([])
    for fold, file in enumerate(files):
        with np.load(file, allow_pickle=False) as scored:
            for name in ("key", "scores", "labels"):
                arrays[name].append(scored[name])
            classes = scored["classes"]
        arrays["fold"].append(np.full(len(arrays["key"][-1]), fold))
    joined = {name: np.concatenate(parts) for name, parts in arrays.items()}
    order = np.argsort(joined["key"], kind="stable")
    return {"classes": classes, **{name: array[order] for name, array in joined.items()}}


def mean_and_spread(results: Sequence[Metrics]) -> dict[str, Metrics]:
    """Returns 'mean' and 'spread', the sample standard deviation over folds, of each metric."""
    names = [name for name, value in results[0].items() if isinstance(value, int | float)]
    values = {name: [float(result[name]) for result in results] for name in names}
    return {
        "mean": {name: statistics.fmean(column) for name, column in values.items()},
        "spread": {name: statistics.stdev(column) for name, column in values.items()},
    }


def table(results: Sequence[Metrics]) -> list[str]:
    """Returns the lines of a table: a fold per line, and mean +- spread."""
    names = [name for name in SUMMARISED if name in results[0]]
    widths = [max(len(name), 15) for name in names]
    summary = mean_and_spread(results)
    rows = [["fold", "clips", *names]]
    for fold, result in enumerate(results):
        rows.append([str(fold), str(result["clips"]), *(f"{result[name]:.4f}" for name in names)])
    total = sum(int(result["clips"]) for result in results)
    cells = [f"{summary['mean'][name]:.4f} +- {summary['spread'][name]:.4f}" for name in names]
    rows.append(["mean", str(total), *cells])
    return [
        f"{first:<6}{clips:>7}"
        + "".join(f"  {cell:>{width + 2}}" for cell, width in zip(cells, widths, strict=True))
        for first, clips, *cells in rows
    ]


def _draw(workdir: Path, merged: Mapping[str, np.ndarray], multi_label: bool) -> None:
    from deepgenre.evaluation import figures  # matplotlib is slow to import

    arguments = merged["scores"], merged["labels"], merged["classes"].tolist()
    if multi_label:
        figures.tag_bars(workdir / "tags.png", *arguments)
    else:
        figures.confusion_matrix(workdir / "confusion.png", *arguments)

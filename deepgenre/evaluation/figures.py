"""Figures, written as files; the only module that imports matplotlib."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from deepgenre.evaluation import metrics
from deepgenre.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

MAX_ROWS = 20  # of a taggram: more are not legible
warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
plt.rcParams["text.parse_math"] = False  # a class name may contain dollar signs, e.g. "$uicideboy$"


def confusion_matrix(
    path: Path, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Draws the number of clips per true class (rows) and predicted class (columns)."""
    counts = metrics.confusion_matrix(scores, labels, len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.0 + 0.55 * len(classes)
    figure, axes = plt.subplots(figsize=(size, size), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(
        xlabel="predicted", ylabel="true", title=f"{np.trace(counts)} of {counts.sum()} correct"
    )
    _save(figure, path)


def tag_bars(path: Path, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Draws the average precision of each tag, highest first, with its chance level."""
    evaluated = np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))
    precision = metrics.tag_metrics(scores[:, evaluated], labels[:, evaluated])["average_precision"]
    order = np.argsort(precision)
    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.2 * len(evaluated)), layout="constrained")
    axes.barh(
        np.arange(len(evaluated)), precision[order], color="#4477aa", label="average precision"
    )
    chance = np.asarray(labels[:, evaluated].mean(axis=0))
    axes.barh(
        np.arange(len(evaluated)),
        chance[order],
        color="#ccbb44",
        height=0.35,
        label="chance",
    )
    axes.set_yticks(np.arange(len(evaluated)), np.array(classes)[evaluated][order])
    axes.set(xlim=(0, 1), xlabel="average precision", title=f"{len(labels)} clips")
    axes.legend(loc="lower right")
    _save(figure, path)


def training_curves(path: Path, lines: Sequence[dict[str, Any]], merit: str) -> None:
    """Draws training and validation loss, and the validation metric named `merit`, by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for split in ("train", "valid"):
        logged = [line for line in lines if line["split"] == split]
        left.plot(
            [line["epoch"] for line in logged], [line["loss"] for line in logged], label=split
        )
    left.set(xlabel="epoch", ylabel="loss (cross-entropy)")
    left.legend()
    valid = [line for line in lines if line["split"] == "valid"]
    right.plot([line["epoch"] for line in valid], [line[merit] for line in valid], marker=".")
    right.set(xlabel="epoch", ylabel=f"validation {merit}", ylim=(0, 1))
    right.grid(alpha=0.3)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def taggram(
    path: Path,
    start_seconds: np.ndarray,
    window_seconds: float,
    scores: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draws the scores (windows, classes) of a song over time, the highest mean scores on top.

    Overlapping windows are drawn around their centres; gaps between windows stay blank.
    """
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:MAX_ROWS]
    edges, columns = _cells(start_seconds, window_seconds)
    cells = np.full((len(shown), len(edges) - 1), np.nan)
    cells[:, columns] = scores[:, shown].T
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.24 * len(shown)), layout="constrained")
    drawn = axes.pcolormesh(edges, np.arange(len(shown) + 1), cells, cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(drawn, label="score", pad=0.01)
    axes.set_yticks(np.arange(len(shown)) + 0.5, np.array(classes)[shown])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:02.0f}")
    axes.set(xlim=(0, None), xlabel="time (min:s)", title=title)
    _save(figure, path)


def _cells(starts: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the increasing edges of the cells, and the index of the cell of each window.

    Overlapping neighbours meet halfway; a gap between windows is an empty cell.
    """
    ends = starts + length
    meet = ends[:-1] > starts[1:] - 1e-3
    halfway = (ends[:-1] + starts[1:]) / 2
    lefts = np.concatenate([starts[:1], np.where(meet, halfway, starts[1:])])
    rights = np.concatenate([np.where(meet, halfway, ends[:-1]), ends[-1:]])
    edges, columns = [float(lefts[0])], []
    for left, right in zip(lefts, rights, strict=True):
        if left > edges[-1]:
            edges.append(float(left))
        columns.append(len(edges) - 1)
        edges.append(float(right))
    return np.array(edges), np.array(columns)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:])
    plt.close(figure)


def robustness(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the metric for each perturbation, unchanged clips first, and its value for these."""
    names = [*results]
    values = [result["metrics"][result["metric"]] for result in results.values()]
    families = [result["family"] for result in results.values()]
    colours = {name: index % 2 for index, name in enumerate(dict.fromkeys(families))}
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.3 * len(names)), layout="constrained")
    axes.barh(names, values, color=[("#4477aa", "#66ccee")[colours[name]] for name in families])
    axes.axvline(values[0], color="black", linewidth=0.8, linestyle="--")
    for row, value in enumerate(values):
        axes.text(value, row, f" {value:.3f}", va="center")
    axes.invert_yaxis()
    first = next(iter(results.values()))
    axes.set(
        xlim=(0, 1.08),
        xlabel=first["metric"].replace("_", " "),
        title=f"{first['metrics']['clips']} clips, unchanged (dashed) and perturbed",
    )
    _save(figure, path)

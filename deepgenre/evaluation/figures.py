"""Figures, written as files, and the settings of matplotlib for all of them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from deepgenre.evaluation import metrics
from deepgenre.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

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
    save(figure, path)


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
    save(figure, path)


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
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the path's suffix, and closes it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:])
    plt.close(figure)

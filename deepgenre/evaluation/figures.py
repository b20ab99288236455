"""Figures, as files; the only place that imports matplotlib."""

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
from matplotlib.ticker import MaxNLocator

MOST_ROWS = 20  # of a taggram: more cannot be read
warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it is drawn as a box
plt.rcParams["text.parse_math"] = False  # a class may be called "$uicideboy$"


def confusion(path: Path, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Draws which class was said (columns) for which true class (rows), in clips."""
    counts = metrics.confusion(scores, labels, len(classes))
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
    axes.set(xlabel="said", ylabel="true", title=f"{np.trace(counts)} of {counts.sum()} right")
    _save(figure, path)


def tag_bars(path: Path, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Draws each tag's average precision, best first, beside its chance level."""
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
    """Draws training and validation loss, and the validation metric `merit`, over the epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for split in ("train", "valid"):
        chosen = [line for line in lines if line["split"] == split]
        left.plot(
            [line["epoch"] for line in chosen], [line["loss"] for line in chosen], label=split
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
    """Draws the scores (windows, classes) of a song over its time, the strongest classes on top.

    Where windows overlap, each is drawn around its middle; what is not heard stays blank.
    """
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:MOST_ROWS]
    edges, places = _edges(start_seconds, window_seconds)
    cells = np.full((len(shown), len(edges) - 1), np.nan)
    cells[:, places] = scores[:, shown].T
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.24 * len(shown)), layout="constrained")
    drawn = axes.pcolormesh(edges, np.arange(len(shown) + 1), cells, cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(drawn, label="score", pad=0.01)
    axes.set_yticks(np.arange(len(shown)) + 0.5, np.array(classes)[shown])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}")
    axes.set(xlim=(0, None), xlabel="time (min:s)", title=title)
    _save(figure, path)


def _edges(starts: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns rising edges of cells, and which cell each window, of this length, is drawn in.

    Neighbours that overlap meet halfway; between others lies a cell of its own.
    """
    ends = starts + length
    meet = ends[:-1] > starts[1:] - 1e-3
    halfway = (ends[:-1] + starts[1:]) / 2
    lefts = np.concatenate([starts[:1], np.where(meet, halfway, starts[1:])])
    rights = np.concatenate([np.where(meet, halfway, ends[:-1]), ends[-1:]])
    edges, places = [float(lefts[0])], []
    for left, right in zip(lefts, rights, strict=True):
        if left > edges[-1]:
            edges.append(float(left))
        places.append(len(edges) - 1)
        edges.append(float(right))
    return np.array(edges), np.array(places)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:])
    plt.close(figure)

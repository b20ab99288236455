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
    axes.xaxis.set_major_formatter(_clock)
    axes.set(xlim=(0, None), xlabel="time (min:s)", title=title)
    _save(figure, path)


def explanation(
    path: Path,
    plane: np.ndarray,
    support: np.ndarray,
    times: tuple[float, float],
    band_hz: np.ndarray,
    curves: Mapping[str, np.ndarray],
    title: str,
) -> None:
    """Draws a window's plane, the support of a class on it, and deletion and insertion curves.

    plane, support: (frames, bands); support is drawn over the plane in orange, and in purple where
    it is negative. times: start and end of the window in the song, in seconds. curves: scores by
    name; those whose names begin with random are dashed.
    """
    figure, panels = plt.subplot_mosaic(
        [["plane", "deletion"], ["support", "insertion"]],
        figsize=(12, 6.4),
        width_ratios=[3, 1],
        layout="constrained",
    )
    extent = (*times, -0.5, len(band_hz) - 0.5)
    drawing: Any = {"origin": "lower", "aspect": "auto", "extent": extent}
    limit = float(np.quantile(np.abs(support), 0.98)) or 1.0
    for name in ("plane", "support"):
        panels[name].imshow(plane.T, cmap="gray" if name == "support" else "magma", **drawing)
        rows = np.linspace(0, len(band_hz) - 1, 6).round().astype(int)
        panels[name].set_yticks(rows, [f"{band_hz[row]:.0f}" for row in rows])
        panels[name].set(ylabel="frequency (Hz)")
        is_short = times[1] - times[0] < 10
        panels[name].xaxis.set_major_formatter(_clock_with_tenths if is_short else _clock)
    opacity = np.clip(np.abs(support) / limit, 0, 1).T
    colours = plt.get_cmap("PuOr_r")(np.clip(0.5 + 0.5 * support.T / limit, 0, 1))
    colours[..., 3] = 0.85 * opacity
    panels["support"].imshow(colours, **drawing)
    panels["plane"].set(title=title)
    panels["support"].set(title="orange: for the class; purple: against it", xlabel="time (min:s)")
    for name, title in (("deletion", "most important removed"), ("insertion", "... added")):
        axes = panels[name]
        for curve, style in ((name, "-"), (f"random_{name}", "--")):
            shares = np.linspace(0, 1, len(curves[curve]))
            name_of_order = "at random" if style == "--" else "by the map"
            label = f"{name_of_order} ({curves[curve].mean():.2f})"
            axes.plot(shares, curves[curve], style, label=label)
        axes.set(title=title, ylabel="score", ylim=(-0.02, 1.02), xlabel="share of the window")
        axes.legend(loc="best", fontsize="small")
        axes.grid(alpha=0.3)
    _save(figure, path)


def _clock(seconds: float, _: object) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def _clock_with_tenths(seconds: float, _: object) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:04.1f}"


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

"""Figures of classes and tags: how frequent they are, and how well each is predicted."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from deepgenre import log
from deepgenre.evaluation import tag_metrics
from deepgenre.evaluation.figures import style

ROWS_PER_COLUMN = 50


def distribution(counts: Mapping[str, int], num_clips: int, top: int = 0) -> Figure:
    """Draws the number of clips of each class or tag, most frequent first.

    The first `top` are highlighted. The scale is logarithmic where counts range over more than a
    factor of 100.
    """
    names = sorted(counts, key=lambda name: (-counts[name], name))
    columns = math.ceil(len(names) / ROWS_PER_COLUMN)
    rows = math.ceil(len(names) / columns)
    most, fewest = counts[names[0]], max(1, counts[names[-1]])
    logarithmic = most > 100 * fewest
    figure = style.new(max(6.0, 3.4 * columns), 1.3 + 0.165 * rows)
    all_axes = np.atleast_1d(figure.subplots(1, columns))
    for column, axes in enumerate(all_axes):
        shown = names[column * rows : (column + 1) * rows]
        highlighted = [not top or column * rows + place < top for place in range(len(shown))]
        colours = [style.BLUE if is_top else style.MUTED for is_top in highlighted]
        axes.barh(range(len(shown)), [counts[name] for name in shown], 0.75, color=colours)
        for place, name in enumerate(shown):
            axes.text(counts[name], place, f" {counts[name]:,}", va="center", fontsize=6)
        _name_rows(axes, shown)
        axes.set_ylim(rows - 0.5, -0.5)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        left = 10 ** math.floor(math.log10(fewest)) if logarithmic else 0
        axes.set_xlim(left, most * (4 if logarithmic else 1.12))  # room for the number
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("clips (logarithmic)" if logarithmic else "clips")
    note = f", the {top} most frequent in blue" if 0 < top < len(names) else ""
    figure.suptitle(
        f"{len(names)} classes of {log.counted(num_clips, 'clip')}{note}",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return figure


def average_precision(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draws the average precision of each tag, highest first, with its chance level.

    Of tags that have both a positive and a negative clip.
    """
    evaluated = tag_metrics.evaluated(labels)
    precision = tag_metrics.per_tag(scores, labels)["average_precision"][evaluated]
    order = np.argsort(-precision, kind="stable")
    names = [classes[int(tag)] for tag in evaluated[order]]
    figure = style.new(6.5, 1.3 + 0.19 * max(1, len(names)))
    axes = figure.subplots()
    axes.barh(range(len(names)), precision[order], color=style.BLUE, label="average precision")
    chance = np.asarray(labels[:, evaluated].mean(axis=0))[order]
    axes.barh(range(len(names)), chance, color=style.ORANGE, height=0.35, label="chance")
    _name_rows(axes, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlim=(0, 1), xlabel="average precision", title=log.counted(len(labels), "clip"))
    axes.legend(loc="lower right")
    return figure


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), style.labels(names), fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")

"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from deepgenre import log
from deepgenre.evaluation.figures import style

MAX_COUNTED = 30  # classes: counts in smaller cells are not legible


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draws the number of clips per true class (rows) and predicted class (columns).

    counts: int (classes, classes). The colour is the share of the true class.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + min(0.48, 14 / len(classes)) * len(classes)
    figure = style.new(size + 1.0, size)
    axes = figure.subplots()
    edges = np.arange(len(classes) + 1) - 0.5
    cells = axes.pcolormesh(edges, edges, shares, cmap=style.SHARES, vmin=0, vmax=1)
    if len(classes) <= MAX_COUNTED:
        for row, column in np.argwhere(counts):
            colour = "#ffffff" if shares[row, column] > 0.5 else "#000000"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    names, size_points = style.labels(classes), 9 if len(classes) <= MAX_COUNTED else 6
    axes.set_xticks(range(len(classes)), names, fontsize=size_points, rotation=45, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(classes)), names, fontsize=size_points)
    axes.set(
        xlabel="predicted class",
        ylabel="true class",
        title=f"{np.trace(counts)} of {log.counted(counts.sum(), 'clip')} correct",
        aspect="equal",
    )
    axes.invert_yaxis()
    figure.colorbar(cells, label="share of the clips of the true class", shrink=0.7, pad=0.02)
    return figure

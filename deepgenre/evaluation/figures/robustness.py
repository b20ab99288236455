"""A metric of the same clips, unchanged and perturbed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from deepgenre import log
from deepgenre.evaluation.figures import style

SHADES = (0.6, 0.35)  # opacity of families in turn; lines on the bars stay visible


def robustness(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws the metric under each perturbation; dashed: on the unchanged clips, the first.

    results: as of `evaluation.robustness.compare`. Families of perturbations alternate in shade.
    Lines on the bars are the intervals of the changes: one that does not reach the dashed line is a
    change beyond chance.
    """
    values = [result["metrics"][result["metric"]] for result in results.values()]
    families = [result["family"] for result in results.values()]
    number = {family: index for index, family in enumerate(dict.fromkeys(families))}
    colours = [(style.BLUE, SHADES[number[family] % 2]) for family in families]
    first = next(iter(results.values()))
    bounds = values[0] + np.array([[result["low"], result["high"]] for result in results.values()])
    figure = style.new(6.5, 0.9 + 0.23 * len(results))
    axes = figure.subplots()
    axes.barh(range(len(results)), values, 0.75, color=colours)
    axes.axvline(values[0], color=style.INK, linewidth=0.8, linestyle="--", clip_on=False)
    rows = np.arange(1, len(results))  # the unchanged clips do not change
    axes.hlines(rows, *np.clip(bounds[1:].T, 0, 1), color=style.INK, linewidth=1.2)
    for row, value in enumerate(values):
        axes.text(1.02, row, f"{value:.3f}", va="center", fontsize=8)  # beside all bars
    axes.set_yticks(range(len(results)), [*results], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(results) - 0.5, -0.5)
    clips = log.counted(first["metrics"]["clips"], "clip")
    axes.set(
        xlim=(0, 1),
        xlabel=first["metric"].replace("_", " "),
        title=f"{clips}; lines: 95 % interval of the change",
    )
    return figure

"""A metric of the same clips, unchanged and perturbed."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from deepgenre import log
from deepgenre.evaluation.figures import style


def robustness(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws the metric under each perturbation; dashed: on the unchanged clips, the first.

    results: as of `evaluation.robustness.compare`. Families of perturbations alternate in colour.
    """
    values = [result["metrics"][result["metric"]] for result in results.values()]
    families = [result["family"] for result in results.values()]
    number = {family: index for index, family in enumerate(dict.fromkeys(families))}
    colours = [(style.BLUE, style.SKY)[number[family] % 2] for family in families]
    first = next(iter(results.values()))
    figure = style.new(6.5, 0.9 + 0.23 * len(results))
    axes = figure.subplots()
    axes.barh(range(len(results)), values, 0.75, color=colours)
    axes.axvline(values[0], color=style.INK, linewidth=0.8, linestyle="--", clip_on=False)
    for row, value in enumerate(values):
        axes.text(1.02, row, f"{value:.3f}", va="center", fontsize=8)  # beside all bars
    axes.set_yticks(range(len(results)), [*results], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set(
        xlim=(0, 1),
        xlabel=first["metric"].replace("_", " "),
        title=f"{log.counted(first['metrics']['clips'], 'clip')}, unchanged (dashed) and perturbed",
    )
    return figure

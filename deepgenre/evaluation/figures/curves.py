"""Loss and metrics over training."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepgenre.evaluation.figures import style

Lines = Sequence[Mapping[str, Any]]  # of metrics.jsonl
ACCURACIES = ("accuracy", "argmax_accuracy")  # of genres and of tags, which training logs too
PARTS = {"train": style.BLUE, "valid": style.ORANGE}


def training_curves(lines: Lines, merit: str) -> Figure:
    """Draws the loss, the accuracy of training and the metric `merit`, by epoch.

    Each of training and validation, where it is logged. The epoch of the best validation `merit` is
    marked.
    """
    logged = [name for name in ACCURACIES if _points(lines, "train", name)]
    names = list(dict.fromkeys(("loss", *logged, merit)))
    figure = style.new((4.75 if len(names) < 3 else 4.0) * len(names), 3.6)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        _draw(axes, lines, name)
        axes.set_ylabel("loss (cross-entropy, nats)" if name == "loss" else name.replace("_", " "))
        if name != "loss":
            axes.set_ylim(0, 1)
        valid = _points(lines, "valid", name) if name == merit else []
        if valid:
            sign = -1 if merit == "loss" else 1
            epoch, best = max(valid, key=lambda point: sign * point[1])
            axes.plot(epoch, best, "o", color=style.VERMILION, label=f"best: {best:.3f}")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        if axes.lines:
            axes.legend()
    return figure


def compared_curves(runs: Mapping[str, Lines], merit: str) -> Figure:
    """Draws the validation loss and `merit` of several runs, by epoch."""
    figure = style.new(9.5, 3.6)
    for axes, name in zip(figure.subplots(1, 2), ("loss", merit), strict=True):
        for run, lines in runs.items():
            points = _points(lines, "valid", name)
            axes.plot(*_columns(points), marker=".", label=style.label(run))
        axes.set(xlabel="epoch", ylabel=f"validation {name.replace('_', ' ')}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        axes.legend()
    return figure


def _draw(axes: Axes, lines: Lines, name: str) -> None:
    for part, colour in PARTS.items():
        points = _points(lines, part, name)
        if points:
            marker = "." if len(points) <= 60 else ""
            axes.plot(*_columns(points), color=colour, marker=marker, label=part)


def _points(lines: Lines, part: str, name: str) -> list[tuple[float, float]]:
    """Returns (epoch, value) of the lines of a part that log the metric."""
    return [(line["epoch"], line[name]) for line in lines if line["split"] == part and name in line]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [epoch for epoch, _ in points], [value for _, value in points]

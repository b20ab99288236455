"""A network: its layers with shapes and parameters, and which layer feeds which."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from deepgenre.evaluation.figures import style
from deepgenre.models.layer_table import INPUT, Layer

ROW_INCHES = 0.36
MAX_CURVE_ROWS = 6  # curves over more rows are not drawn wider
BOX, SHAPE_AT, BAR, COUNT_AT = (0.0, 5.0), 5.9, (7.9, 10.2), 10.3  # in units of the x axis


def network(name: str, layers: Sequence[Layer], frames: int, bands: int) -> Figure:
    """Draws a row per layer: kind and options, output shape, and number of parameters.

    Arrows lead from each layer to those that read its output. Axes of shapes: time first, channels
    last.
    """
    total = sum(layer.num_parameters for layer in layers)
    num_rows = len(layers) + 2
    figure = style.new(9.0, 0.9 + ROW_INCHES * num_rows)
    axes = figure.subplots()
    has_curves = any(at != index - 1 for index, one in enumerate(layers) for at in one.sources)
    axes.set(xlim=(-2.2 if has_curves else -0.1, 12.2), ylim=(num_rows - 0.4, -0.6))
    axes.axis("off")
    axes.text(BOX[0], 0, "layer", color=style.MUTED, va="center")
    axes.text(SHAPE_AT, 0, "output shape", color=style.MUTED, va="center")
    axes.text(BAR[0], 0, "parameters", color=style.MUTED, va="center")
    _row(axes, 1, "input", _shape((frames, bands)), "frames × bands", fill=style.GREEN)
    largest = max((layer.num_parameters for layer in layers), default=0)
    for index, layer in enumerate(layers):
        row = _row_of(index)
        text = f"{layer.kind}  {layer.options}" if layer.options else layer.kind
        _row(axes, row, style.label(text, 52), _shape(layer.shape), "", fill=style.BLUE)
        if layer.num_parameters:
            width = (BAR[1] - BAR[0]) * layer.num_parameters / largest
            axes.barh(row, width, 0.5, BAR[0], color=style.ORANGE)
            axes.text(BAR[0] + width + 0.1, row, f"{layer.num_parameters:,}", va="center",
                      fontsize=8)  # fmt: skip
        for source in layer.sources:
            _arrow(axes, _row_of(source), row)
    axes.set_title(f"{name}: {total:,} parameters")
    return figure


def _row_of(index: int) -> int:
    return 1 if index == INPUT else index + 2


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in shape)


def _row(axes: Axes, row: int, text: str, shape: str, unit: str, *, fill: str) -> None:
    width = BOX[1] - BOX[0]
    axes.add_patch(
        FancyBboxPatch(
            (BOX[0], row - 0.3), width, 0.6, "round,pad=0,rounding_size=0.1",
            facecolor=fill, edgecolor="none", alpha=0.18,
        )
    )  # fmt: skip
    axes.text(BOX[0] + 0.12, row, text, va="center", fontsize=8)
    axes.text(SHAPE_AT, row, f"{shape}  {unit}".rstrip(), va="center", fontsize=8)


def _arrow(axes: Axes, start: int, end: int) -> None:
    """Draws an arrow down from one row to the next, or a curve beside the rows in between."""
    if end == start + 1:
        middle = BOX[0] + 0.25
        points, curve = ((middle, start + 0.3), (middle, end - 0.3)), "arc3"
    else:
        points = ((BOX[0], start), (BOX[0], end))
        curve = f"arc3,rad={0.45 * min(1.0, MAX_CURVE_ROWS / (end - start)):.3f}"
    axes.add_patch(
        FancyArrowPatch(
            *points, connectionstyle=curve, arrowstyle="-|>", mutation_scale=7,
            color=style.INK, linewidth=0.8, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip

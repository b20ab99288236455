"""The figure of an explanation: a window, what supports a class in it, and its figures of merit."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from deepgenre.audio.frontend import FrontEnd
from deepgenre.evaluation.figures import over_time, style

# Orange for the class, purple against it; without the ends, which are nearly black.
SUPPORT = ListedColormap(matplotlib.colormaps["PuOr_r"](np.linspace(0.1, 0.9, 256)))


def explanation(
    levels: np.ndarray,
    frontend: FrontEnd,
    start_seconds: float,
    support: np.ndarray,
    curves: Mapping[str, np.ndarray],
    areas: Mapping[str, float],
    title: str,
) -> Figure:
    """Draws a window in dB, the support of a class on it, and deletion and insertion curves.

    levels: as stored, (frames, stored_bands), from `start_seconds` of the song. support: (frames,
    bands) over the same time and frequencies, not always of the same number of frames and bands;
    drawn over the levels in orange, and in purple where it is negative. curves: scores by name;
    those whose names begin with random are dashed. areas: under them, by the same names.
    """
    figure = style.new(12, 6.4)
    layout: Any = [["levels", "deletion"], ["support", "insertion"]]
    panels = figure.subplot_mosaic(layout, width_ratios=[3, 1])
    decibels, shown_as = over_time.decibels_of(levels, frontend)
    image = over_time.draw_levels(panels["levels"], decibels, shown_as, start_seconds)
    panels["levels"].set(title=style.label(title, 100), xlabel="")
    left, right, low, high = image.get_extent()
    over_time.draw_mel(
        panels["support"], decibels, (left, right), over_time.centres_hz(shown_as),
        colours="gray", limits=over_time.range_of(shown_as),
    )  # fmt: skip
    limit = float(np.quantile(np.abs(support), 0.98)) or 1.0
    panels["support"].imshow(
        _colours(support / limit), origin="lower", aspect="auto", extent=(left, right, low, high)
    )
    panels["support"].set(title="orange: for the class; purple: against it")
    signed = ScalarMappable(Normalize(-1, 1), SUPPORT)
    figure.colorbar(signed, ax=panels["support"], label="relative support", pad=0.01)
    for name, heading in (("deletion", "most important removed"), ("insertion", "... added")):
        _draw_curves(panels[name], name, curves, areas, heading)
    return figure


def _colours(support: np.ndarray) -> np.ndarray:
    """Returns red, green, blue and opacity, (bands, frames, 4), of support in -1..1."""
    colours = SUPPORT(np.clip(0.5 + 0.5 * support.T, 0, 1))
    colours[..., 3] = 0.85 * np.clip(np.abs(support), 0, 1).T
    return colours


def _draw_curves(
    axes: Axes,
    name: str,
    curves: Mapping[str, np.ndarray],
    areas: Mapping[str, float],
    heading: str,
) -> None:
    orders = ((name, "-", "by the map"), (f"random_{name}", "--", "at random"))
    for curve, line, order in orders:
        shares = np.linspace(0, 1, len(curves[curve]))
        axes.plot(shares, curves[curve], line, label=f"{order} (area {areas[curve]:.2f})")
    axes.set(title=heading, ylabel="score", ylim=(-0.02, 1.02), xlabel="share of the window")
    axes.legend(loc="best", fontsize="small")
    axes.grid()

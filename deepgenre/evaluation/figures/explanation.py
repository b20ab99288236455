"""The figure of an explanation: a window, what supports a class in it, and its figures of merit."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepgenre.evaluation.figures import style

SUPPORT = "PuOr_r"  # orange for the class, purple against it
SHORT_SECONDS = 10  # times of shorter windows have tenths of a second


def explanation(
    plane: np.ndarray,
    support: np.ndarray,
    times: tuple[float, float],
    band_hz: np.ndarray,
    curves: Mapping[str, np.ndarray],
    title: str,
) -> Figure:
    """Draws a window's plane, the support of a class on it, and deletion and insertion curves.

    plane, support: (frames, bands); support is drawn over the plane in orange, and in purple where
    it is negative. times: start and end of the window in the song, in seconds. curves: scores by
    name; those whose names begin with random are dashed.
    """
    figure = style.new(12, 6.4)
    layout: Any = [["plane", "deletion"], ["support", "insertion"]]
    panels = figure.subplot_mosaic(layout, width_ratios=[3, 1])
    drawing: Any = {
        "origin": "lower",
        "aspect": "auto",
        "extent": (*times, -0.5, len(band_hz) - 0.5),
    }
    panels["plane"].imshow(plane.T, cmap=style.DECIBELS, **drawing)
    panels["plane"].set(title=style.label(title, 100))
    panels["support"].imshow(plane.T, cmap="gray", **drawing)
    panels["support"].imshow(_colours(support), **drawing)
    panels["support"].set(title="orange: for the class; purple: against it", xlabel="time (min:s)")
    for name in ("plane", "support"):
        _set_scales(panels[name], times, band_hz)
    for name, heading in (("deletion", "most important removed"), ("insertion", "... added")):
        _draw_curves(panels[name], name, curves, heading)
    return figure


def _colours(support: np.ndarray) -> np.ndarray:
    """Returns red, green, blue and opacity, (bands, frames, 4)."""
    limit = float(np.quantile(np.abs(support), 0.98)) or 1.0
    colours = matplotlib.colormaps[SUPPORT](np.clip(0.5 + 0.5 * support.T / limit, 0, 1))
    colours[..., 3] = 0.85 * np.clip(np.abs(support) / limit, 0, 1).T
    return colours


def _set_scales(axes: Axes, times: tuple[float, float], band_hz: np.ndarray) -> None:
    rows = np.linspace(0, len(band_hz) - 1, 6).round().astype(int)
    axes.set_yticks(rows, [f"{band_hz[row]:.0f}" for row in rows])
    axes.set(ylabel="frequency (Hz)")
    tenths = 1 if times[1] - times[0] < SHORT_SECONDS else 0
    width = 4 if tenths else 2
    axes.xaxis.set_major_formatter(
        lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:0{width}.{tenths}f}"
    )


def _draw_curves(axes: Axes, name: str, curves: Mapping[str, np.ndarray], heading: str) -> None:
    orders = ((name, "-", "by the map"), (f"random_{name}", "--", "at random"))
    for curve, line, order in orders:
        shares = np.linspace(0, 1, len(curves[curve]))
        axes.plot(shares, curves[curve], line, label=f"{order} ({curves[curve].mean():.2f})")
    axes.set(title=heading, ylabel="score", ylim=(-0.02, 1.02), xlabel="share of the window")
    axes.legend(loc="best", fontsize="small")
    axes.grid()

"""Reliability diagrams: how often scores of a size are right."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from deepgenre.evaluation.calibration import Reliability, calibration_error, reliability
from deepgenre.evaluation.figures import style
from deepgenre.evaluation.metrics import wilson_interval

SIZE_INCHES = (4.6, 4.8)


def reliability_diagram(scores: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> Figure:
    """Draws the share of right scores against their mean, in bins, and how many there are.

    scores: (clips, classes); of a genre the highest counts, of tags each. labels: class indices
    (clips,), or 0 and 1 (clips, classes). Bars: 95 % intervals, as if scores were independent.
    Scores that are right as often as they say are on the diagonal.
    """
    found = reliability(scores, labels, multi_label=multi_label)
    error = calibration_error(scores, labels, multi_label=multi_label)
    figure = style.new(*SIZE_INCHES)
    upper, lower = figure.subplots(2, 1, height_ratios=(3.2, 1), sharex=True)
    upper.plot([0, 1], [0, 1], "--", color=style.MUTED, linewidth=1, label="calibrated")
    below, above = _bars(found)
    upper.errorbar(
        found.mean_score, found.share_right, (below, above), fmt="o", color=style.BLUE,
        markersize=4, elinewidth=1.0, label="these scores",
    )  # fmt: skip
    what = "tags that apply" if multi_label else "clips that are right"
    upper.set(ylabel=f"share of {what}", ylim=(-0.02, 1.02), xlim=(0, 1),
              title=f"calibration error {error:.3f}")  # fmt: skip
    upper.legend(loc="upper left")
    upper.grid()
    edges = np.linspace(0, 1, len(found.counts) + 1)
    lower.bar(edges[:-1], found.counts, np.diff(edges), align="edge", color=style.ORANGE)
    lower.set(xlabel="score" if multi_label else "highest score of a clip",
              ylabel="scores" if multi_label else "clips")  # fmt: skip
    if multi_label:  # most scores of tags are near 0
        lower.set_yscale("log")
        lower.yaxis.set_major_formatter("{x:,.0f}")  # the default is TeX, which is not drawn
        lower.yaxis.set_minor_locator(NullLocator())
    else:
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    figure.align_ylabels()
    return figure


def _bars(found: Reliability) -> tuple[np.ndarray, np.ndarray]:
    """Returns how far the interval of each share reaches below and above it."""
    intervals = [
        wilson_interval(round(share * count), int(count)) if count else (np.nan, np.nan)
        for share, count in zip(found.share_right, found.counts, strict=True)
    ]
    low, high = np.array(intervals).T
    return np.maximum(found.share_right - low, 0), np.maximum(high - found.share_right, 0)

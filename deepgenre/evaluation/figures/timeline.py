"""The figure of a song over time: waveform, spectrogram, scores, and where they change."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepgenre import log
from deepgenre.audio.mel import band_centres_hz
from deepgenre.audio.overview import RANGE_DB, Picture
from deepgenre.evaluation.figures import over_time, style

MAX_ROWS = 20  # of classes: more are not legible
MAX_LINES = 30  # changes that are marked over the whole height: more would hide what is below
SHORT_LINE = 0.07  # share of the waveform's height that more changes take


def timeline(
    picture: Picture,
    start_seconds: np.ndarray,
    length_seconds: np.ndarray,
    scores: np.ndarray,
    change_seconds: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Draws scores (times, classes) under the song's waveform and spectrogram.

    The classes with the highest mean scores are on top. Scores are those of parts of
    `length_seconds` (times,) from `start_seconds`; overlapping ones are drawn around their centres,
    and gaps stay blank. Vertical lines mark the changes; where there are many, short ones above the
    waveform.
    """
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:MAX_ROWS]
    rows_inches = 0.24 * len(shown)
    figure = style.new(10, 4.2 + rows_inches)
    panels = figure.subplots(3, 1, height_ratios=(1, 1.6, max(1.2, rows_inches)), sharex=True)
    top, middle, bottom = panels
    _waveform(top, picture)
    num_columns, num_bands = picture.decibels.shape
    times = (0.0, num_columns * picture.column_seconds)
    centres = band_centres_hz(num_bands, 0.0, picture.top_hz)
    image = over_time.draw_mel(middle, picture.decibels, times, centres, limits=(-RANGE_DB, 0.0))
    over_time.scale(middle, image, "level (dB re maximum)")
    middle.set_xlabel("")
    edges, columns = cells(start_seconds, length_seconds)
    values = np.full((len(shown), len(edges) - 1), np.nan)
    values[:, columns] = scores[:, shown].T
    drawn = bottom.pcolormesh(
        edges, np.arange(len(shown) + 1), values, cmap=style.SCORES, vmin=0, vmax=1
    )
    figure.colorbar(drawn, ax=bottom, label="score", pad=0.01)
    bottom.set_yticks(np.arange(len(shown)) + 0.5, style.labels([classes[int(i)] for i in shown]))
    bottom.invert_yaxis()
    over_time.set_time(bottom, 0.0, max(times[1], float(edges[-1])))
    lines = {top: style.VERMILION, middle: "white", bottom: "white"}
    if len(change_seconds) > MAX_LINES:
        lines = {top: style.VERMILION}
    for axes, colour in lines.items():
        for second in change_seconds:
            lowest, dashes = (0.0, "--") if len(lines) > 1 else (1 - SHORT_LINE, "-")
            axes.axvline(second, lowest, color=colour, linestyle=dashes, linewidth=1.2)
    top.set_title(f"{style.label(title, 90)}  ({log.counted(len(change_seconds), 'change')})")
    return figure


def _waveform(axes: Axes, picture: Picture) -> None:
    seconds = np.arange(len(picture.lowest)) * picture.column_seconds
    axes.fill_between(seconds, picture.lowest, picture.highest, color=style.BLUE, linewidth=0.3)
    axes.set(ylabel="amplitude", ylim=(-1.05, 1.05))


def cells(starts: np.ndarray, length: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the increasing edges of the cells, and the index of the cell of each part.

    Overlapping neighbours meet halfway; a gap between parts is an empty cell.
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

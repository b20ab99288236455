"""Figures over the time of a clip or song: its spectrogram, and the scores of its windows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from deepgenre.audio.frontend import MAX_LEVEL, FrontEnd, log_mel
from deepgenre.audio.mel import band_centres_hz
from deepgenre.evaluation.figures import style

MAX_ROWS = 20  # of a taggram: more are not legible
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)


def spectrogram(levels: np.ndarray, frontend: FrontEnd, title: str) -> Figure:
    """Draws stored levels (frames, stored_bands) as dB relative to their maximum.

    Of a waveform: the log-mel spectrogram of the default front end at its rate.
    """
    decibels, shown_as = decibels_of(levels, frontend)
    figure = style.new(8.5, 3.4)
    axes = figure.subplots()
    image = _image(axes, decibels, shown_as, len(decibels) / shown_as.frames_per_second)
    axes.set(title=style.label(title, 70))
    figure.colorbar(image, label="level (dB re maximum)", pad=0.01)
    return figure


def small_spectrogram(decibels: np.ndarray, frontend: FrontEnd, seconds: float) -> Figure:
    """Draws dB (frames, bands) of a length in seconds, small and without a scale of its colours."""
    figure = style.new(4.2, 1.9)
    axes = figure.subplots()
    _image(axes, decibels, frontend, seconds)
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
    return figure


def decibels_of(levels: np.ndarray, frontend: FrontEnd) -> tuple[np.ndarray, FrontEnd]:
    """Returns dB relative to the maximum, (frames, bands), and the front end that they are of."""
    if frontend.kind == "waveform":
        shown_as = FrontEnd(sample_rate_hz=frontend.sample_rate_hz)
        return log_mel(levels[:, 0] / np.float32(32768), shown_as), shown_as
    if frontend.kind == "musicnn":  # power
        power = np.maximum(levels.astype(np.float32), 1e-10)
        return 10 * np.log10(power / power.max()), frontend
    return (levels / np.float32(MAX_LEVEL) - 1) * frontend.dynamic_range_db, frontend


def taggram(
    start_seconds: np.ndarray,
    window_seconds: float,
    scores: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Draws the scores (windows, classes) of a song over time, the highest mean scores on top.

    Overlapping windows are drawn around their centres; gaps between windows stay blank.
    """
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:MAX_ROWS]
    edges, columns = cells(start_seconds, window_seconds)
    values = np.full((len(shown), len(edges) - 1), np.nan)
    values[:, columns] = scores[:, shown].T
    figure = style.new(10, 1.6 + 0.24 * len(shown))
    axes = figure.subplots()
    drawn = axes.pcolormesh(
        edges, np.arange(len(shown) + 1), values, cmap=style.SCORES, vmin=0, vmax=1
    )
    figure.colorbar(drawn, label="score", pad=0.01)
    axes.set_yticks(np.arange(len(shown)) + 0.5, style.labels([classes[int(i)] for i in shown]))
    axes.invert_yaxis()
    _minutes(axes, edges[-1])
    axes.set(title=style.label(title, 90))
    return figure


def cells(starts: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the increasing edges of the cells, and the index of the cell of each window.

    Overlapping neighbours meet halfway; a gap between windows is an empty cell.
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


def _image(axes: Axes, decibels: np.ndarray, frontend: FrontEnd, seconds: float) -> AxesImage:
    image = axes.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        cmap=style.DECIBELS,
        vmin=-frontend.dynamic_range_db,
        vmax=0,
        extent=(0, seconds, -0.5, decibels.shape[1] - 0.5),
        interpolation="nearest",
    )
    _mel_ticks(axes, frontend)
    _minutes(axes, seconds)
    return image


def _mel_ticks(axes: Axes, frontend: FrontEnd) -> None:
    centres_hz = band_centres_hz(frontend.n_mels, frontend.fmin_hz, frontend.top_hz)
    ticks_hz = [hz for hz in TICKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    bands = np.interp(ticks_hz, centres_hz, np.arange(len(centres_hz)))
    axes.set_yticks(bands, [f"{hz / 1000:g}" for hz in ticks_hz])
    axes.set_ylabel("frequency (kHz)")


def _minutes(axes: Axes, seconds: float) -> None:
    axes.set_xlim(0, seconds)
    if seconds < 60:
        axes.set_xlabel("time (s)")
        return
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}")
    axes.set_xlabel("time (min:s)")

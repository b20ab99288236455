"""The figure of a song over time: waveform, spectrogram, scores, and where they change."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from deepgenre.audio.mel import band_edges_hz
from deepgenre.audio.overview import Picture
from deepgenre.evaluation.figures import save

MAX_ROWS = 20  # of classes: more are not legible
TICKS_HZ = (200, 500, 1000, 2000, 4000, 8000)


def timeline(
    path: Path,
    picture: Picture,
    start_seconds: np.ndarray,
    length_seconds: np.ndarray,
    scores: np.ndarray,
    change_seconds: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draws scores (times, classes) under the song's waveform and spectrogram.

    The classes with the highest mean scores are on top. Scores are those of parts of
    `length_seconds` (times,) from `start_seconds`; overlapping ones are drawn around their centres,
    and gaps stay blank. Vertical lines mark the changes.
    """
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:MAX_ROWS]
    figure, (top, middle, bottom) = plt.subplots(
        3,
        1,
        figsize=(10, 4.2 + 0.24 * len(shown)),
        height_ratios=(1, 1.6, max(1.2, 0.24 * len(shown))),
        sharex=True,
        layout="constrained",
    )
    _waveform(top, picture)
    drawn = _spectrogram(middle, picture)
    figure.colorbar(drawn, ax=middle, label="level (dB)", pad=0.01)
    edges, columns = cells(start_seconds, length_seconds)
    values = np.full((len(shown), len(edges) - 1), np.nan)
    values[:, columns] = scores[:, shown].T
    drawn = bottom.pcolormesh(
        edges, np.arange(len(shown) + 1), values, cmap="viridis", vmin=0, vmax=1
    )
    figure.colorbar(drawn, ax=bottom, label="score", pad=0.01)
    bottom.set_yticks(np.arange(len(shown)) + 0.5, np.array(classes)[shown])
    bottom.invert_yaxis()
    bottom.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    bottom.xaxis.set_major_formatter(lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:02.0f}")
    bottom.set(xlim=(0, None), xlabel="time (min:s)")
    for axes, colour in ((top, "#cc3311"), (middle, "white"), (bottom, "white")):
        for second in change_seconds:
            axes.axvline(second, color=colour, linestyle="--", linewidth=1.2)
    top.set_title(f"{title}  ({len(change_seconds)} changes)")
    save(figure, path)


def _waveform(axes: Axes, picture: Picture) -> None:
    seconds = np.arange(len(picture.lowest)) * picture.column_seconds
    axes.fill_between(seconds, picture.lowest, picture.highest, color="#4477aa", linewidth=0.3)
    axes.set(ylabel="amplitude", ylim=(-1.05, 1.05))


def _spectrogram(axes: Axes, picture: Picture) -> AxesImage:
    num_columns, num_bands = picture.decibels.shape
    extent = (0, num_columns * picture.column_seconds, -0.5, num_bands - 0.5)
    drawn = axes.imshow(
        picture.decibels.T, cmap="magma", origin="lower", aspect="auto", extent=extent
    )
    set_mel_ticks(axes, num_bands, 0.0, picture.top_hz)
    return drawn


def set_mel_ticks(axes: Axes, num_bands: int, fmin_hz: float, fmax_hz: float) -> None:
    """Labels an axis of mel bands, whose unit is a band, in kHz."""
    ticks_hz = [hz for hz in TICKS_HZ if fmin_hz <= hz < fmax_hz]
    centres_hz = band_edges_hz(num_bands, fmin_hz, fmax_hz)[1:-1]
    axes.set_yticks(
        np.interp(ticks_hz, centres_hz, np.arange(num_bands)), [f"{hz / 1000:g}" for hz in ticks_hz]
    )
    axes.set_ylabel("frequency (kHz, mel)")


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

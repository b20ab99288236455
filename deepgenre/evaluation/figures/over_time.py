"""Spectrograms of mel bands over time: one drawing, and the axes of all figures over time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from deepgenre.audio.frontend import FULL_SCALE, FrontEnd, log_mel, stored_db
from deepgenre.audio.mel import band_centres_hz
from deepgenre.evaluation.figures import style

TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
SHORT_SECONDS = 10  # axes of fewer seconds have tenths
Limits = tuple[float, float]


def spectrogram(levels: np.ndarray, frontend: FrontEnd, title: str) -> Figure:
    """Draws stored levels (frames, stored_bands) as dB relative to their maximum.

    Of a waveform: the log-mel spectrogram of the default front end at its rate.
    """
    decibels, shown_as = decibels_of(levels, frontend)
    figure = style.new(8.5, 3.4)
    axes = figure.subplots()
    draw_levels(axes, decibels, shown_as)
    axes.set(title=style.label(title, 70))
    return figure


def small_spectrogram(decibels: np.ndarray, frontend: FrontEnd, seconds: float) -> Figure:
    """Draws dB (frames, bands) of a length in seconds, small and without a scale of its colours."""
    figure = style.new(4.2, 1.9)
    axes = figure.subplots()
    draw_mel(axes, decibels, (0, seconds), centres_hz(frontend), limits=range_of(frontend))
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
    return figure


def decibels_of(levels: np.ndarray, frontend: FrontEnd) -> tuple[np.ndarray, FrontEnd]:
    """Returns dB relative to the maximum, (frames, bands), and the front end that they are of."""
    if frontend.kind == "waveform":
        shown_as = FrontEnd(sample_rate_hz=frontend.sample_rate_hz)
        return log_mel(levels[:, 0] / np.float32(FULL_SCALE), shown_as), shown_as
    decibels = stored_db(levels, frontend)
    return decibels - decibels.max(), frontend


def draw_levels(
    axes: Axes, decibels: np.ndarray, frontend: FrontEnd, start_seconds: float = 0.0
) -> AxesImage:
    """Draws dB relative to the maximum, (frames, bands), with a scale of their colours."""
    end_seconds = start_seconds + len(decibels) / frontend.frames_per_second
    times, limits = (start_seconds, end_seconds), range_of(frontend)
    image = draw_mel(axes, decibels, times, centres_hz(frontend), limits=limits)
    scale(axes, image, "level (dB re maximum)")
    return image


def draw_mel(
    axes: Axes,
    values: np.ndarray,
    times: Limits,
    centres: np.ndarray,
    *,
    colours: str = style.DECIBELS,
    limits: Limits | None = None,
) -> AxesImage:
    """Draws values (frames, bands) over time and frequency, with both axes labelled.

    times: start and end, in seconds. centres: of the bands, in Hz. limits: values of the first and
    the last colour; None: the smallest and the largest.
    """
    low, high = limits or (None, None)
    image = axes.imshow(
        values.T, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="auto",
        extent=(*times, -0.5, len(centres) - 0.5), interpolation="nearest",
    )  # fmt: skip
    ticks_hz = [hz for hz in TICKS_HZ if centres[0] <= hz <= centres[-1]]
    bands = np.interp(ticks_hz, centres, np.arange(len(centres)))
    axes.set_yticks(bands, [f"{hz / 1000:g}" for hz in ticks_hz])
    axes.set_ylabel("frequency (kHz)")
    set_time(axes, *times)
    return image


def scale(axes: Axes, image: AxesImage, label: str) -> None:
    """Adds the scale of the colours of an image beside its axes."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=axes, label=label, pad=0.01)


def centres_hz(frontend: FrontEnd) -> np.ndarray:
    """Returns the centres of a front end's mel bands, float64 (n_mels,)."""
    return band_centres_hz(frontend.n_mels, frontend.fmin_hz, frontend.top_hz)


def range_of(frontend: FrontEnd) -> Limits:
    """Returns the dB, relative to the maximum, of the first and the last colour."""
    return -frontend.dynamic_range_db, 0.0


def set_time(axes: Axes, start_seconds: float, end_seconds: float) -> None:
    """Labels an axis of seconds; with minutes where it ends after one or more."""
    axes.set_xlim(start_seconds, end_seconds)
    if end_seconds < 60:
        axes.set_xlabel("time (s)")
        return
    digits = 4 if end_seconds - start_seconds < SHORT_SECONDS else 2
    if digits == 2:
        axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(
        lambda at, _: f"{at // 60:.0f}:{at % 60:0{digits}.{digits // 4}f}"
    )
    axes.set_xlabel("time (min:s)")

"""Spectrograms over the time of a clip, and the axes of all figures over time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from deepgenre.audio.frontend import MAX_LEVEL, FrontEnd, log_mel
from deepgenre.audio.mel import band_centres_hz
from deepgenre.evaluation.figures import style

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
    set_mel_ticks(axes, frontend.n_mels, frontend.fmin_hz, frontend.top_hz)
    set_time(axes, seconds)
    return image


def set_mel_ticks(axes: Axes, num_bands: int, fmin_hz: float, fmax_hz: float) -> None:
    """Labels an axis of mel bands, whose unit is a band, in kHz."""
    centres_hz = band_centres_hz(num_bands, fmin_hz, fmax_hz)
    ticks_hz = [hz for hz in TICKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    bands = np.interp(ticks_hz, centres_hz, np.arange(num_bands))
    axes.set_yticks(bands, [f"{hz / 1000:g}" for hz in ticks_hz])
    axes.set_ylabel("frequency (kHz)")


def set_time(axes: Axes, seconds: float) -> None:
    """Labels an axis of seconds from 0, with minutes where it is long."""
    axes.set_xlim(0, seconds)
    if seconds < 60:
        axes.set_xlabel("time (s)")
        return
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}")
    axes.set_xlabel("time (min:s)")

"""Figures of synthesis: spectrograms before and after, and what filters respond to."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from deepgenre.audio.frontend import FrontEnd
from deepgenre.evaluation.figures import over_time, style
from deepgenre.synthesis.channels import Channel, Excerpt
from deepgenre.synthesis.experiment import Result
from deepgenre.weights.spec import Spec

LIMITS_DB = (-80.0, 0.0)


def change(result: Result, spec: Spec, title: str) -> Figure:
    """Draws the mel spectrogram before and after, the change that was optimised, and the loss."""
    figure = style.new(11, 6.4)
    (before, after), (gain, loss) = figure.subplots(2, 2)
    loudest = max(result.before_db.max(), result.after_db.max())
    for axes, name, decibels in (
        (before, "before", result.before_db),
        (after, "after (measured of the sound)", result.after_db),
    ):
        drawn = _draw(axes, decibels - loudest, spec.frontend, LIMITS_DB, style.DECIBELS)
        over_time.scale(axes, drawn, "level (dB re maximum)")
        axes.set_title(name)
    difference = result.wanted_db - result.before_db
    limit = float(np.percentile(np.abs(difference), 99.5)) or 1.0
    drawn = _draw(gain, difference, spec.frontend, (-limit, limit), "RdBu_r")
    over_time.scale(gain, drawn, "gain (dB)")
    gain.set_title("gain, as optimised")
    loss.plot(np.arange(1, len(result.losses) + 1), result.losses)
    loss.set(xlabel="step", ylabel="loss with prior", ylim=(0, None), title="optimisation")
    loss.grid()
    figure.suptitle(style.label(title, 100))
    return figure


def channels(examined: Sequence[Channel], spec: Spec, title: str) -> Figure:
    """Draws a row per channel: the maximised spectrogram, and the excerpts with what was used."""
    num_columns = 1 + max(len(channel.excerpts) for channel in examined)
    figure = style.new(2.3 * num_columns, 0.6 + 1.9 * len(examined))
    panels = figure.subplots(len(examined), num_columns, squeeze=False)
    for row, channel in zip(panels, examined, strict=True):
        for axes in row[1 + len(channel.excerpts) :]:
            axes.set_visible(False)
        shown = [channel.maximised.excerpt, *channel.excerpts]
        for axes, excerpt in zip(row, shown, strict=False):
            deviations = (excerpt.response - channel.mean) / max(channel.deviation, 1e-9)
            _excerpt(axes, excerpt, spec.frontend)
            name = style.visible(excerpt.name)
            axes.set_title(f"{name[-24:]}\n{deviations:+.1f} s.d.", fontsize=7)
        row[0].set_ylabel(f"channel {channel.index}\nkHz (mel)", fontsize=8)
    for column in panels.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        lowest.set_xlabel("time (s)", fontsize=7)
    figure.suptitle(style.label(title, 100))
    return figure


def _excerpt(axes: Axes, excerpt: Excerpt, frontend: FrontEnd) -> None:
    loudest = float(excerpt.decibels.max())
    _draw(axes, excerpt.decibels - loudest, frontend, LIMITS_DB, style.DECIBELS)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(labelsize=6)
    first, last, low, high = excerpt.used
    rate = frontend.frames_per_second
    corner, size = (first / rate, low - 0.5), ((last - first) / rate, high - low)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=style.SKY, linewidth=1.5))


def _draw(
    axes: Axes, values: np.ndarray, frontend: FrontEnd, limits: over_time.Limits, colours: str
) -> AxesImage:
    """Draws values (frames, n_mels) over seconds and frequency."""
    times = (0.0, len(values) / frontend.frames_per_second)
    centres = over_time.centres_hz(frontend)
    return over_time.draw_mel(axes, values, times, centres, colours=colours, limits=limits)

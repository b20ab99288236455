"""Draws how speed and memory grow with length, batch, number of songs, cores and devices.

    python benchmarks/train_speed.py --batches=8,2,32 --frames=628,314,1256 --devices=1,2 \
        --repeats=1 --output=training.json
    python benchmarks/predict_scaling.py --cores=1,2 --output=prediction.json
    python benchmarks/scaling_figure.py --training=training.json --prediction=prediction.json \
        --output=docs/scaling
"""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepgenre.evaluation.figures import style

_TRAINING = flags.DEFINE_string("training", "train_speed.json", "Output of train_speed.py.")
_PREDICTION = flags.DEFINE_string("prediction", "predict_scaling.json", "Of predict_scaling.py.")
_OUTPUT = flags.DEFINE_string("output", "scaling", "Figure, without suffix: .png and .svg.")

Rows = list[dict[str, Any]]


def lines(
    axes: Axes, rows: Rows, x: str, y: Callable[[dict[str, Any]], float], by: Sequence[str]
) -> None:
    """Draws a line over the field x for every combination of the fields `by`."""
    for series in dict.fromkeys(tuple(row[name] for name in by) for row in rows):
        of_series = [row for row in rows if tuple(row[name] for name in by) == series]
        points = sorted((row[x], y(row)) for row in of_series)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label(by, series))
    axes.grid(visible=True)
    axes.set_ylim(bottom=0)


def label(names: Sequence[str], values: Sequence[Any]) -> str:
    """Returns e.g. 'gtzan, 2 cores'."""
    units = {"cores": " cores", "devices": " devices"}
    parts = [f"{v}{units.get(name, '')}" for name, v in zip(names, values, strict=True)]
    return ", ".join(parts).replace(" 1 cores", " 1 core").replace(" 1 devices", " 1 device")


def clips_per_second(row: dict[str, Any]) -> float:
    """Returns the rate of a row of training."""
    return row["batch"] / statistics.median(
        statistics.median(run["seconds"]) for run in row["ours"]
    )


def mb_per_clip(row: dict[str, Any]) -> float:
    """Returns the peak memory of a row of training, divided by its clips."""
    return statistics.median(run["bytes"] for run in row["ours"]) / row["batch"] / 1e6


def at_default(rows: Rows, varied: str) -> Rows:
    """Returns the rows of each network in which only `varied` differs from its first row."""
    others = {"batch", "frames", "devices"} - {varied}
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["network"], row)
    return [row for row in rows if all(row[key] == first[row["network"]][key] for key in others)]


def drawn(training: Rows, prediction: Rows) -> Figure:
    """Returns the figure: speed above, memory below."""
    figure = style.new(13, 6)
    axes = figure.subplots(2, 5)
    for column, (varied, name) in enumerate(
        (("batch", "clips per step"), ("frames", "frames per clip"), ("devices", "virtual devices"))
    ):
        rows = at_default(training, varied)
        lines(axes[0, column], rows, varied, clips_per_second, ["network", "dtype"])
        lines(axes[1, column], rows, varied, mb_per_clip, ["network", "dtype"])
        axes[0, column].set(title=f"training, by {varied}", ylabel="clips/s", yscale="log")
        axes[1, column].set(xlabel=name, ylabel="peak memory, MB per clip")
    for column, varied, x, name in (
        (3, "songs", "songs", "songs of 30 s"),
        (4, "length", "song_seconds", "length of one song, s"),
    ):
        rows = [row for row in prediction if row["varied"] == varied]
        lines(axes[0, column], rows, x, lambda row: row["seconds"], ["weights", "cores"])
        lines(axes[1, column], rows, x, lambda row: row["peak_mb"], ["weights", "cores"])
        axes[0, column].set(title=f"predict, by {varied}", ylabel="s", xscale="log", yscale="log")
        axes[1, column].set(xlabel=name, ylabel="peak memory, MB", xscale="log")
    axes[0, 0].legend()
    axes[0, 3].legend()
    return figure


def main(argv: Sequence[str]) -> None:
    """Draws the figure."""
    del argv
    training, prediction = (
        json.loads(Path(name).read_text()) for name in (_TRAINING.value, _PREDICTION.value)
    )
    style.write_both(drawn(training, prediction), Path(_OUTPUT.value))


if __name__ == "__main__":
    app.run(main)

"""Mode `filters`: what the channels of a convolution respond to, to look at and to hear.

For each channel: the excerpts of songs with the strongest responses, at most one a song, and a
spectrogram found by activation maximisation, which begins with the mean levels of the songs. A
channel may respond to a sound that no name describes; a maximised one is not a natural sound.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log, summary
from deepgenre.audio import sounds
from deepgenre.audio.discover import Found
from deepgenre.audio.mel import band_edges_hz
from deepgenre.errors import UserError, unknown_name
from deepgenre.evaluation.clips import own_clips
from deepgenre.files import write_json_lines
from deepgenre.inference import windows
from deepgenre.log import escape_controls
from deepgenre.synthesis import clips, differentiable, inversion, responses
from deepgenre.synthesis.channels import Channel, Excerpt, examine
from deepgenre.synthesis.experiment import new_folder
from deepgenre.synthesis.responses import Top
from deepgenre.weights.spec import Spec, Weights

NUM_CHANNELS = 6  # shown where none are given
MAX_KEPT = 20  # excerpts per channel


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of mode `filters`; `cli.flags` describes each."""

    output: Path | None
    layer: str = ""
    channels: Sequence[int] = ()
    num_excerpts: int = 4
    summary: Path | None = None


def run_on_files(weights: Weights, inputs: Found, options: Options) -> int:
    """Writes what channels respond to in audio files; returns 1 if a file failed, else 0."""
    folder, layer = _checked(weights, options)
    if not inputs.files:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    with summary.batch("filters", options.summary) as counts:
        counts.files = len(inputs.files)
        read = windows.reader(inputs.failures)
        items = responses.windows_of_files(
            inputs.files, weights.spec, read, counts.failed, counts.succeeded
        )
        with log.progress(items, total=0, unit="window", title="filters") as shown:
            top = responses.strongest(weights, layer, shown, options.num_excerpts)
        if not top.count:
            raise UserError("filters: none of the files can be used")
        _write(folder, weights, layer, top, options)
        counts.results.append(folder)
    return 1 if counts.failures else 0


def run_on_dataset(weights: Weights, data_dir: Path, part: str, options: Options) -> int:
    """Writes what channels respond to in the clips of a part of a dataset; returns 0."""
    folder, layer = _checked(weights, options)
    spec = weights.spec
    chosen = own_clips(spec, data_dir, part, exclude_unknown=False)
    if not chosen.rows:
        raise UserError(f"--eval_split: part {part!r} contains no clips; choose another part")
    items = responses.windows_of_store(chosen.store, chosen.rows, spec)
    top = responses.strongest(weights, layer, items, options.num_excerpts)
    _write(folder, weights, layer, top, options)
    log.info(
        "examined %s of %s; wrote %s",
        *(log.counted(top.count, "window"), log.counted(len(chosen.rows), "clip"), folder),
    )
    return 0


def _checked(weights: Weights, options: Options) -> tuple[Path, str]:
    """Returns the folder and the layer; raises UserError where an option is out of range."""
    if not 1 <= options.num_excerpts <= MAX_KEPT:
        raise UserError(f"--top_k: must be 1 to {MAX_KEPT}, is {options.num_excerpts}")
    differentiable.network_of(weights.spec, 0.0)
    return new_folder(options.output), choose_layer(weights, options.layer)


def choose_layer(weights: Weights, name: str) -> str:
    """Returns the name of a layer: the given one, or the last convolution."""
    shapes = differentiable.layer_shapes(weights)
    if name and name not in shapes:
        raise unknown_name("--layer", name, shapes)
    return name or [*shapes][-1]


def choose_channels(top: Top, given: Sequence[int]) -> list[int]:
    """Returns the given channels, or those whose strongest response is the most exceptional.

    In standard deviations above the mean over windows.
    """
    if wrong := [channel for channel in given if not 0 <= channel < len(top.best)]:
        raise UserError(f"--channels: must be 0 to {len(top.best) - 1}, is {wrong[0]}")
    strongest = np.array([best[0][0] for best in top.best])
    excess = (strongest - top.mean()) / np.maximum(top.deviation(), 1e-9)
    excess[top.deviation() < 1e-9] = -np.inf  # a channel without any response
    return list(given) or np.argsort(-excess, kind="stable")[:NUM_CHANNELS].tolist()


def _write(folder: Path, weights: Weights, layer: str, top: Top, options: Options) -> None:
    from deepgenre.evaluation.figures import style as figure_style  # matplotlib: slow to import
    from deepgenre.synthesis import figures

    spec = weights.spec
    channels = choose_channels(top, options.channels)
    examined = examine(weights, layer, top, channels)
    lines = []
    for channel in examined:
        lines.append(_line(folder, channel, spec))
        print(_text(channel))
    write_json_lines(folder / "filters.jsonl", lines)
    figure = figures.channels(examined, spec, f"{spec.model}, layer {layer}")
    figure_style.write(figure, folder / "filters.png")


def _line(folder: Path, channel: Channel, spec: Spec) -> dict[str, Any]:
    """Writes the sounds of a channel; returns what is known of it."""
    rate_hz, stem = spec.frontend.sample_rate_hz, f"channel-{channel.index:03d}"
    sounds.write(folder / f"{stem}-maximised.wav", channel.maximised.waveform, rate_hz)
    excerpts = []
    for rank, excerpt in enumerate(channel.excerpts, start=1):
        waveform, name = _sound(excerpt, spec), f"{stem}-{rank}.wav"
        sounds.write(folder / name, waveform, rate_hz)
        excerpts.append(_about(excerpt, spec) | {"sound": name} | sounds.measure(waveform, rate_hz))
    maximised = channel.maximised
    return {
        "channel": channel.index,
        "mean": channel.mean,
        "deviation": channel.deviation,
        "excerpts": excerpts,
        "maximised": _about(maximised.excerpt, spec)
        | {"sound": f"{stem}-maximised.wav", "response_to_sound": maximised.sound_response}
        | sounds.measure(maximised.waveform, rate_hz),
    }


def _sound(excerpt: Excerpt, spec: Spec) -> np.ndarray:
    """Returns an excerpt of the audio or, of a clip in a store, a reconstruction of it."""
    seconds = len(excerpt.decibels) / spec.frontend.frames_per_second
    if excerpt.path:
        rate_hz = spec.frontend.sample_rate_hz
        return sounds.limited(clips.excerpt(excerpt.path, rate_hz, excerpt.start_seconds, seconds))
    power = 10 ** (excerpt.decibels / 10)
    return sounds.at_peak(inversion.from_mel_power(power, spec.frontend))


def _about(excerpt: Excerpt, spec: Spec) -> dict[str, Any]:
    first, last, low, high = excerpt.used
    rate, frontend = spec.frontend.frames_per_second, spec.frontend
    edges_hz = band_edges_hz(frontend.n_mels, frontend.fmin_hz, frontend.top_hz)
    return {
        "song": excerpt.name,
        "response": excerpt.response,
        "start_seconds": round(excerpt.start_seconds + first / rate, 3),
        "end_seconds": round(excerpt.start_seconds + last / rate, 3),
        "lowest_hz": round(float(edges_hz[low]), 1),
        "highest_hz": round(float(edges_hz[high + 1]), 1),
    }


def _text(channel: Channel) -> str:
    """Returns a line: responses in standard deviations above the mean over windows."""

    def relative(response: float) -> str:
        return f"{(response - channel.mean) / max(channel.deviation, 1e-9):.1f}"

    songs = ", ".join(f"{e.name} ({relative(e.response)})" for e in channel.excerpts)
    maximised = channel.maximised
    reached = (relative(maximised.excerpt.response), relative(maximised.sound_response))
    return escape_controls(
        f"channel {channel.index}: {songs}; maximised ({reached[0]}, as sound {reached[1]})"
    )

"""Explains songs: per song numbers, a figure and the important parts as sound."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from deepgenre import log, summary
from deepgenre.audio import sounds
from deepgenre.audio.discover import Found
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import InterruptedRunError, UserError, look_up, unknown_name
from deepgenre.explain import song_window
from deepgenre.explain.explanation import METHODS, Explanation, default_method, explain
from deepgenre.explain.gradients import TOLERANCE
from deepgenre.explain.grid import grid
from deepgenre.explain.song_window import SongWindow
from deepgenre.explain.sound import important_parts, smoothed
from deepgenre.files import fingerprint, parse_json, replacing, write_json
from deepgenre.inference import aggregation, taggram, windows
from deepgenre.inference.infer import FileOutputs, infer_files, with_windows
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Weights

PARTS = (10, 8)  # of the grid in which the most important parts are named: times, bands
NAMED_PARTS = 3
LOW_SCORE = 0.1  # a warning states that the network does not find a class with a lower one


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an explanation; `cli.flags` describes each."""

    output: Path | None
    target: str = ""
    method: str = ""  # of METHODS; '': `default_method`
    start_seconds: float | None = None
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    resume: bool = False  # keep explanations of the same files, weights and options
    summary: Path | None = None


def run(weights: Weights, inputs: Found, options: Options) -> int:
    """Explains every song; returns 1 if one failed, else 0.

    Writes <name>.json, .npz, .png and .flac into the output folder.
    """
    options = dataclasses.replace(options, method=options.method or default_method(weights))
    look_up(METHODS, options.method, "--method")
    if options.target and options.target not in weights.spec.classes:
        raise unknown_name("--target", options.target, weights.spec.classes)
    if not options.output or options.output.is_file():
        raise UserError("--output: give a folder for figures and sounds, e.g. --output=explained/")
    if not inputs.files:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    with summary.batch("explain", options.summary) as counts:
        counts.files = len(inputs.files)
        _explain_all(weights, inputs, options, counts)
    return 1 if counts.failures else 0


def _explain_all(weights: Weights, inputs: Found, options: Options, counts: Batch) -> None:
    names = taggram.names(inputs.files)
    identity = _identity(weights, options)
    assert options.output
    written = {path: options.output / f"{names[path]}.json" for path in inputs.files}
    missing = [
        path
        for path in inputs.files
        if not (options.resume and _is_kept(written[path], path, identity))
    ]
    counts.kept = len(inputs.files) - len(missing)
    if counts.kept:
        log.info("resumed: %d of %d songs are explained", counts.kept, len(inputs.files))
    every = infer_files(weights, missing, read=windows.reader(inputs.failures))
    progress = log.progress(
        None, total=counts.files, initial=counts.kept, unit="song", title="explain"
    )
    with stop_requests() as stop_requested, contextlib.closing(every), progress as bar:
        for outputs in every:
            try:
                if outputs.error:
                    raise UserError(outputs.error)
                line = _explain_song(weights, outputs, names[outputs.path], options, identity)
            except UserError as error:
                message = str(error)
                if str(outputs.path) not in message:
                    message = f"{outputs.path}: {message}"
                counts.failed(message, outputs.path)
            else:
                counts.succeeded(outputs.seconds)
                counts.results = [path for path in [options.output] if path]
                log.result(line)
            bar.update()
            if stop_requested():
                break
    if counts.processed < len(missing):
        raise InterruptedRunError(
            f"stopped after {counts.kept + counts.processed} of {counts.files} files; --resume "
            "continues"
        )


def _identity(weights: Weights, options: Options) -> dict[str, Any]:
    """Returns what an explanation depends on beside the song."""
    fields = ("target", "method", "start_seconds", "window_seconds", "hop_seconds")
    return {"weights": scores_digest(weights)} | {name: getattr(options, name) for name in fields}


def _is_kept(written: Path, song: Path, identity: dict[str, Any]) -> bool:
    """Returns whether an explanation, whose .json is written last, is of this song and identity."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        fields = parse_json(written.read_text(encoding="utf-8"))
        return fields["file"] == encodable(str(song)) and fields["made_with"] == {
            **identity,
            "fingerprint": _stamp(song),
        }
    return False


def _stamp(song: Path) -> list[int]:
    return list(fingerprint(song) or ())


def _explain_song(
    weights: Weights, outputs: FileOutputs, name: str, options: Options, identity: dict[str, Any]
) -> str:
    """Writes the explanation of a song; returns the line to print."""
    spec, path = weights.spec, outputs.path
    assert options.output
    song_scores = aggregation.song_scores(outputs, spec, "mean")
    index = spec.classes.index(options.target) if options.target else int(np.argmax(song_scores))
    chosen = song_window.window_index(outputs, index, options.start_seconds)
    window = song_window.read(path, spec, float(outputs.start_seconds[chosen]))
    window_seconds = spec.window_frames / spec.frontend.frames_per_second
    rate_hz = spec.frontend.sample_rate_hz
    if window_seconds - window.samples.size / rate_hz > 2 / spec.frontend.frames_per_second:
        log.info(
            "%s: is shorter than a window of %.1f s; the rest is padded, as in predict",
            path, window_seconds,
        )  # fmt: skip
    explanation = explain(weights, window.levels, spec.classes[index], options.method)
    if explanation.score < LOW_SCORE:
        best = int(np.argmax(outputs.scores[chosen]))
        log.warning(
            "%s: the score of %s is %.3f in this window, the best is %s with %.3f: the map "
            "explains a class that the network does not find",
            path, spec.classes[index], explanation.score, spec.classes[best],
            float(outputs.scores[chosen, best]),
        )  # fmt: skip
    if explanation.completeness_error > TOLERANCE:
        log.warning(
            "%s: the map of %s adds up to %.0f %% more or less than the change of the logit; "
            "compare it with --method=occlusion",
            path, options.method, 100 * explanation.completeness_error,
        )  # fmt: skip
    sound = important_parts(window.samples, rate_hz, explanation)
    fields = {
        "file": encodable(str(path)),
        "start_seconds": round(window.start_seconds, 3),
        "window_seconds": round(window_seconds, 3),
        "song_score": round(float(song_scores[index]), 4),
        **to_json(explanation, window.start_seconds),
        "sound": {
            "gain_db": round(sound.gain_db, 2),
            **sounds.measure(sound.samples, rate_hz),
        },
        "made_with": {**identity, "fingerprint": _stamp(path)},
    }
    base = options.output / name
    sounds.write(base.with_name(f"{name}.flac"), sound.samples, rate_hz)
    _write_numbers(base.with_name(f"{name}.npz"), explanation, window.start_seconds)
    _draw(base.with_name(f"{name}.png"), weights.spec.frontend, window, explanation, path)
    write_json(base.with_name(f"{name}.json"), fields)
    return _line(fields, path)


def to_json(explanation: Explanation, start_seconds: float) -> dict[str, Any]:
    """Returns the numbers of an explanation; times are those of the song."""
    error = explanation.completeness_error
    return {
        "target": explanation.target,
        "method": explanation.method,
        "score": round(explanation.score, 4),
        "logit": round(explanation.logit, 4),
        "completeness_error": None if np.isnan(error) else round(error, 5),
        **{name: round(value, 4) for name, value in explanation.merit.items()},
        "parts": _parts(explanation, start_seconds),
    }


def _parts(explanation: Explanation, start_seconds: float) -> list[dict[str, float]]:
    """Returns the segments that support the target most, the first most; none against it."""
    cells = grid(explanation.map.shape, PARTS)
    support = np.asarray(cells.means(jnp.asarray(explanation.map))) * cells.sizes
    total, parts = np.maximum(support, 0).sum(), []
    for flat in np.argsort(-support, axis=None)[:NAMED_PARTS]:
        time, band = np.unravel_index(flat, support.shape)
        frames = np.flatnonzero(cells.of_frame == time)
        hz = explanation.band_hz[cells.of_band == band]
        if support[time, band] > 0:
            parts.append(
                {
                    "start_seconds": start_seconds + frames[0] * explanation.seconds_per_frame,
                    "end_seconds": start_seconds + (frames[-1] + 1) * explanation.seconds_per_frame,
                    "low_hz": float(hz[0]),
                    "high_hz": float(hz[-1]),
                    "share": float(support[time, band] / total),
                }
            )
    return [{name: round(float(value), 3) for name, value in part.items()} for part in parts]


def _write_numbers(path: Path, explanation: Explanation, start_seconds: float) -> None:
    """Writes the map and the plane, (frames, bands), with times and frequencies of their cells."""
    frames = np.arange(len(explanation.map))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            map=explanation.map,
            plane=explanation.plane,
            seconds=start_seconds + frames * explanation.seconds_per_frame,
            hz=explanation.band_hz,
            **explanation.curves._asdict(),
        )


def _draw(
    path: Path, frontend: FrontEnd, window: SongWindow, explanation: Explanation, song: Path
) -> None:
    from deepgenre.evaluation.figures import explanation as figures  # matplotlib is slow to import
    from deepgenre.evaluation.figures import style

    figure = figures.explanation(
        window.levels,
        frontend,
        window.start_seconds,
        smoothed(explanation.map, explanation.seconds_per_frame),
        explanation.curves._asdict(),
        explanation.merit,
        title=f"{escape_controls(encodable(song.name))}: {explanation.target} "
        f"{explanation.score:.2f}, by {explanation.method}",
    )
    style.write(figure, path)


def _line(fields: dict[str, Any], song: Path) -> str:
    where = "nothing in this window supports it"
    if fields["parts"]:
        part = fields["parts"][0]
        minutes, seconds = divmod(part["start_seconds"], 60)
        where = (
            f"most at {minutes:.0f}:{seconds:04.1f}, {part['low_hz']:.0f}-{part['high_hz']:.0f} Hz"
        )
    return f"{fields['target']} {fields['score']:.3f}  {where}  {escape_controls(song)}"

"""A song's scores over time, and where they change: numbers (.npz) and a figure (.png) per song."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepgenre.audio import overview
from deepgenre.files import replacing
from deepgenre.inference.change_points import change_points
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights.spec import Spec

SHORTEST_SECONDS = 8.0  # between changes
MAX_NAME_BYTES = 180  # file systems allow 255, of which number and suffix take some


class OverTime(NamedTuple):
    """The scores of the parts of a song, and where they change."""

    starts: np.ndarray  # float64 (parts,), in seconds
    length_seconds: np.ndarray  # float64 (parts,)
    scores: np.ndarray  # float32 (parts, classes), not calibrated
    changes: np.ndarray  # float64 (changes,), in seconds


def over_time(outputs: FileOutputs, spec: Spec) -> OverTime:
    """Returns the scores of a song's windows; of a recurrent network, those of `steps`.

    Of windows that are longer than the song, or end after it, without what is padding only.
    """
    window_seconds = spec.window_frames / spec.frontend.frames_per_second
    starts, scores = outputs.start_seconds, outputs.scores
    length_seconds = np.full(len(starts), window_seconds)
    if outputs.step_scores is not None:
        starts, ends, scores = steps(starts, outputs.step_scores, window_seconds)
        length_seconds = ends - starts
    in_song = starts < outputs.seconds
    starts, scores = starts[in_song], scores[in_song]
    length_seconds = np.minimum(length_seconds[in_song], outputs.seconds - starts)
    return OverTime(starts, length_seconds, scores, change_times(starts, length_seconds, scores))


def names(files: Sequence[Path]) -> dict[Path, str]:
    """Returns a file name without suffix per song: its own, with a number if it is a duplicate.

    Names that differ only in case are duplicates, as on case-insensitive file systems.
    """
    taken: set[str] = set()
    stems = {}
    for path in files:
        stem = os.fsdecode(os.fsencode(path.stem)[:MAX_NAME_BYTES])
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        stems[path] = name
    return stems


def write(
    folder: Path, name: str, outputs: FileOutputs, spec: Spec, picture: overview.Picture
) -> None:
    """Writes <name>.npz and <name>.png of the outputs of a song.

    The .npz contains 'times', float64 (windows,): starts of the windows in seconds; 'scores',
    float32 (windows, classes), not calibrated; 'classes' (classes,); 'window_seconds'; and
    'changes', float64 (changes,): where the scores change, in seconds. Of a recurrent network also
    'step_times', float64 (steps,), and 'step_scores', float32 (steps, classes), of `steps`, which
    the figure shows and the changes are those of.
    """
    from deepgenre.evaluation.figures import style, timeline  # matplotlib: a second to import

    found = over_time(outputs, spec)
    recurrent: dict[str, Any] = {}
    if outputs.step_scores is not None:
        ends = found.starts + found.length_seconds
        recurrent = {"step_times": ends, "step_scores": found.scores}
    with replacing(folder / f"{name}.npz") as path, path.open("wb") as stream:
        np.savez_compressed(
            stream,
            times=outputs.start_seconds,
            scores=outputs.scores,
            classes=np.array(spec.classes),
            window_seconds=spec.window_frames / spec.frontend.frames_per_second,
            changes=found.changes,
            **recurrent,
        )
    figure = timeline.timeline(
        picture,
        found.starts,
        found.length_seconds,
        found.scores,
        found.changes,
        spec.classes,
        title=outputs.path.name,
    )
    style.write(figure, folder / f"{name}.png")


def steps(
    starts: np.ndarray, step_scores: np.ndarray, window_seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the start and end in s, and scores (steps, classes), of a recurrent network's steps.

    A score of a window's step i of n depends on about the first (i + 1) / n of the window, which is
    where the step ends. Where windows (starting at `starts`) overlap, a step is that of the
    earliest: the one that most of the song precedes. The network begins anew with each window.

    step_scores: (windows, steps, classes).
    """
    num_steps = step_scores.shape[1]
    ends = starts[:, None] + window_seconds * np.arange(1, num_steps + 1) / num_steps
    reached = np.maximum.accumulate(np.concatenate([[-np.inf], ends[:-1, -1]]))
    is_new = ends > reached[:, None] + window_seconds / num_steps / 2
    kept, length_seconds = ends[is_new], window_seconds / num_steps
    begins = kept - length_seconds
    # Steps of different windows are not exactly one apart.
    joined = begins[1:] - kept[:-1] < length_seconds
    begins[1:] = np.where(joined, kept[:-1], begins[1:])
    return begins, kept, step_scores[is_new]


def change_times(times: np.ndarray, length_seconds: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns where scores (times, classes) change, float64 (changes,), in seconds.

    times: starts of the parts, of `length_seconds` (parts,), that were scored. A change is halfway
    between the centres of two parts. Between changes are at least SHORTEST_SECONDS.
    """
    if len(times) < 2:
        return np.zeros(0)
    hop_seconds = float(np.median(np.diff(times)))
    found = change_points(scores, max(1, round(SHORTEST_SECONDS / hop_seconds)))
    centres = times + length_seconds / 2
    return np.array([(centres[i - 1] + centres[i]) / 2 for i in found])

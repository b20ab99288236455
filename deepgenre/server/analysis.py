"""What the page shows of a song, computed in one decoding, as values for JSON."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.describe import Describer
from deepgenre.audio.overview import Overview, Picture
from deepgenre.errors import UserError
from deepgenre.inference import aggregation, taggram, thresholds, vocabulary, windows
from deepgenre.inference.embed import song_vector
from deepgenre.inference.infer import FileOutputs, InferBatch, compile_infer_batch, infer_files
from deepgenre.inference.tags import Choice, choose_tags, merged_scores
from deepgenre.weights.spec import Spec, Weights

MAX_RATE_HZ = 768_000  # a song that is decoded whole then takes 1 GB at most
DESCRIBED = ("tempo", "key")
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Network:
    """Weights that are ready: compiled, on the device."""

    weights: Weights
    choice: Choice  # of the tags that are proposed
    infer_batch: InferBatch

    @classmethod
    def of(cls, weights: Weights) -> "Network":
        """Returns the weights with their fitted thresholds."""
        return cls(weights, thresholds.library_choice(weights.spec), compile_infer_batch(weights))


@dataclasses.dataclass(frozen=True)
class Watch:
    """Follows a decoding: reports progress, and ends it where it is cancelled or too long."""

    report: Callable[[Json], None]
    is_cancelled: Callable[[], bool]
    max_seconds: float

    def observe(self, start: int, samples: np.ndarray, rate_hz: int) -> None:
        """Receives decoded blocks, see `decoding.Observe`; raises UserError to end the decoding."""
        seconds = (start + len(samples)) / rate_hz
        if self.is_cancelled():
            raise UserError("cancelled")
        if rate_hz > MAX_RATE_HZ:
            raise UserError(f"the sample rate of {rate_hz} Hz is above {MAX_RATE_HZ} Hz")
        if seconds > self.max_seconds:
            raise UserError(
                f"is longer than {self.max_seconds / 60:g} minutes; upload a part of it"
            )
        self.report({"stage": "decoding", "seconds": round(seconds, 1)})


def analyse(network: Network, path: Path, watch: Watch) -> Json:
    """Returns scores, tags, taggram, embedding, waveform and descriptors of a song.

    Raises UserError where it cannot be decoded, is silent, too long, or cancelled.
    """
    spec, picture, describer = network.weights.spec, Overview(), Describer(DESCRIBED)

    def observe(start: int, samples: np.ndarray, rate_hz: int) -> None:
        watch.observe(start, samples, rate_hz)
        picture.observe(start, samples, rate_hz)
        describer.observe(start, samples, rate_hz)

    def read(path: Path, specs: Sequence[Spec]) -> Iterator[tuple[int, windows.Windows]]:
        is_first = True
        for piece in windows.file_windows(path, specs, observe):
            if is_first:  # decoded as far as `waveforms.LOADED_SECONDS`
                watch.report({"stage": "scoring", "waveform": waveform(picture.picture())})
            is_first = False
            yield piece

    (outputs,) = infer_files(
        network.weights, [path], embed=True, infer_batch=network.infer_batch, read=read
    )
    if outputs.error:
        raise UserError(outputs.error)
    scores = aggregation.song_scores(outputs, spec, "mean")
    order = np.argsort(-scores, kind="stable")
    return {
        "seconds": round(outputs.seconds, 3),
        "scores": {spec.classes[i]: round(float(scores[i]), 5) for i in order},
        "tags": tags(scores, spec.classes, network.choice),
        "taggram": scores_over_time(outputs, spec, network.choice),
        "windows": {
            "starts": outputs.start_seconds.tolist(),
            "best": {  # start of the window with the highest score of each class
                name: float(outputs.start_seconds[index])
                for name, index in zip(spec.classes, outputs.scores.argmax(axis=0), strict=True)
            },
        },
        "embedding": song_vector(outputs).tolist(),
        "waveform": waveform(picture.picture()),
        "descriptors": describer.values(),
    }


def tags_of_scores(network: Network, scores: Mapping[str, float]) -> list[str]:
    """Returns the tags that are proposed for scores by class."""
    classes = network.weights.spec.classes
    values = np.array([scores[name] for name in classes], np.float32)
    return [tag["name"] for tag in tags(values, classes, network.choice) if tag["proposed"]]


def tags(scores: np.ndarray, classes: Sequence[str], choice: Choice) -> list[Json]:
    """Returns the tags by score: whether they are proposed, and the class that gave the score."""
    merged, names = merged_scores(scores, classes, choice)
    of_tag = dict(vocabulary.groups(tuple(classes))) if choice.merge_synonyms else {}
    proposed = {*choose_tags(scores, classes, choice)}
    return [
        {
            "name": names[i],
            "score": round(float(merged[i]), 5),
            "proposed": names[i] in proposed,
            "class": max(
                (classes[c] for c in of_tag.get(names[i], (i,))),
                key=lambda name: scores[classes.index(name)],
            ),
        }
        for i in np.argsort(-merged, kind="stable")
    ]


def scores_over_time(outputs: FileOutputs, spec: Spec, choice: Choice) -> Json:
    """Returns the scores of the song's parts, and the best tag between two of their changes."""
    found = taggram.over_time(outputs, spec)
    merged, names = merged_scores(found.scores, spec.classes, choice)
    edges = [0.0, *found.changes.tolist(), outputs.seconds]
    segments = []
    centres = found.starts + found.length_seconds / 2
    for start, end in itertools.pairwise(edges):
        inside = (centres >= start) & (centres < end)
        if not inside.any():  # a song shorter than a window
            inside = np.ones(len(centres), bool)
        mean = merged[inside].mean(axis=0)
        best = int(mean.argmax())
        segments.append({"start": round(start, 3), "end": round(end, 3), "tag": names[best],
                         "score": round(float(mean[best]), 4)})  # fmt: skip
    return {
        "starts": found.starts.round(3).tolist(),
        "lengths": found.length_seconds.round(3).tolist(),
        "tags": list(names),
        "scores": np.asarray(merged, np.float64).round(4).tolist(),
        "segments": segments,
    }


def waveform(picture: Picture) -> Json:
    """Returns the smallest and largest sample of each column of a recording."""
    return {
        "column_seconds": picture.column_seconds,
        "lowest": picture.lowest.astype(np.float64).round(3).tolist(),
        "highest": picture.highest.astype(np.float64).round(3).tolist(),
    }

"""A head for classes from labelled songs: what it is worth, its weights, and what to ask next."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre import models
from deepgenre.data.clip import Clip
from deepgenre.errors import UserError
from deepgenre.fewshot import examples, report, selection
from deepgenre.fewshot.asking import Question
from deepgenre.fewshot.examples import Examples
from deepgenre.files import expand_home
from deepgenre.training import logistic
from deepgenre.training.logistic import Fitted, Head
from deepgenre.weights import heads, loading
from deepgenre.weights.spec import Weights

NUM_QUANTILES = 101  # of the familiarity of the examples
BEST_SHOWN = 3  # classes beside a question


@dataclasses.dataclass(frozen=True)
class Learned:
    """A head, and what it was learned from."""

    given: Examples  # those with an embedding
    targets: np.ndarray  # 0 or 1, float64 (songs, classes)
    fitted: Fitted
    results: Mapping[str, float]  # see `report.measure`
    weights: Weights  # of the head, without its body
    quantiles: np.ndarray  # of the familiarity of the examples, ascending


def body_name(body: Weights, source: str, output: Path | None = None) -> str:
    """Returns the name by which the head's file names its body; raises UserError without one.

    source: where the body was loaded from. output: the head's file; None: one beside the body's.
    """
    if body.spec.model == models.LINEAR_HEAD:
        raise UserError(f"--weights: {source} is itself a head; give the weights below it")
    path = expand_home(source)
    if path.is_dir():
        raise UserError(
            f"--weights: {source} is a run; write its weights as a file first, with deepgenre "
            f"export --weights={source} --output=NAME.safetensors"
        )
    if not path.is_file():
        return source
    beside = (output or path).absolute().parent
    if path.stem not in loading.named_files() and path.absolute().parent != beside:
        raise UserError(
            f"--weights: {source} must be found by name later; put it beside --output, or into "
            f"{loading.imported_folder()}"
        )
    return path.stem


def with_answers(given: Examples, answers: Sequence[Clip]) -> Examples:
    """Returns the examples with the songs that were answered, not those skipped."""
    kept = {clip.key: clip for clip in given.clips}
    answered = [examples.with_artist(clip) for clip in answers if clip.labels]
    kept |= {clip.key: clip for clip in answered}
    return dataclasses.replace(given, clips=tuple(kept.values()))


def learn(body: Weights, name: str, given: Examples, vectors: Mapping[str, np.ndarray]) -> Learned:
    """Returns the head of the examples that have an embedding.

    name: of the body. vectors: by key of the clip, the embeddings of its windows, float32 (windows,
    features). Raises UserError where fewer than two classes are left.
    """
    usable = tuple(clip for clip in given.clips if clip.key in vectors)
    given = dataclasses.replace(given, clips=usable)
    targets = _targets(given)
    if targets.any(axis=0).sum() < 2:
        raise UserError("--examples: fewer than two classes have a song that can be used")
    songs = [vectors[clip.key] for clip in usable]
    fitted = logistic.fit(songs, targets, usable, given.multi_label)
    results = report.measure(fitted, targets, given)
    weights, quantiles = _weights(body, name, fitted, given, results)
    return Learned(given, targets, fitted, results, weights, quantiles)


def _targets(given: Examples) -> np.ndarray:
    """Returns 0 or 1, float64 (songs, classes)."""
    return np.array(
        [[name in clip.labels for name in given.classes] for clip in given.clips], float
    )


def _weights(
    body: Weights, name: str, fitted: Fitted, given: Examples, results: Mapping[str, float]
) -> tuple[Weights, np.ndarray]:
    """Returns the head as weights without its body, and the quantiles of the familiarity."""
    head = fitted.head
    tested = fitted.familiarity[fitted.testable] if fitted.testable.any() else fitted.familiarity
    quantiles = np.quantile(tested, np.linspace(0, 1, NUM_QUANTILES))
    spec = heads.spec_of(
        body, name, given.classes, multi_label=given.multi_label, num_songs=len(given.clips)
    )
    network = {**spec.network, "familiarity": [round(float(value), 6) for value in quantiles]}
    arrays = {
        "params": {"logits": {"kernel": head.kernel, "bias": head.bias}},
        "batch_stats": {"mean": head.mean, "scale": head.scale, "examples": head.examples},
    }
    spec = dataclasses.replace(spec, network=network)
    return Weights(spec, arrays, step=1, metrics=dict(results)), quantiles


def questions(
    head: Head, paths: Sequence[Path], embeddings: np.ndarray, classes: Sequence[str], count: int
) -> list[Question]:
    """Returns the songs whose classes help most, at most `count`.

    embeddings: of the songs of the paths, none of them labelled, (songs, features).
    """
    scores = head.scores(embeddings)
    return [
        Question(paths[row], tuple((classes[i], float(scores[row, i])) for i in _best(scores[row])))
        for row in selection.most_useful(head, embeddings, count)
    ]


def _best(scores: np.ndarray) -> list[int]:
    return [int(index) for index in np.argsort(-scores, kind="stable")[:BEST_SHOWN]]

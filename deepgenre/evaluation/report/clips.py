"""The clips that a report shows: the best, the worst, and the most confident errors."""

import dataclasses

import numpy as np
from sklearn.metrics import label_ranking_average_precision_score

from deepgenre.evaluation.evaluation_files import Scored

PER_LIST = 6


@dataclasses.dataclass(frozen=True)
class Shown:
    """A clip of a list, with the number that placed it there."""

    index: int
    value: float
    predicted: str = ""  # the false class or tag of an error


@dataclasses.dataclass(frozen=True)
class ClipList:
    """A list of clips, in the order in which they are shown."""

    title: str
    explanation: str
    clips: list[Shown]


def clip_lists(scored: Scored) -> list[ClipList]:
    """Returns the most confident errors, the worst and the best clips."""
    if scored.multi_label:
        return _of_tags(scored)
    return _of_genres(scored)


def _of_genres(scored: Scored) -> list[ClipList]:
    scores, labels = scored.scores, scored.labels
    of_label = scores[np.arange(len(labels)), labels]
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    errors = wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")][:PER_LIST]
    return [
        ClipList(
            "Most confident errors",
            "Highest score of a class that is not the label.",
            [Shown(int(i), float(scores[i].max()), scored.classes[predicted[i]]) for i in errors],
        ),
        _ranked("Worst clips", "Lowest score of the true class.", of_label),
        _ranked("Best clips", "Highest score of the true class.", of_label, best=True),
    ]


def _of_tags(scored: Scored) -> list[ClipList]:
    scores, labels = scored.scores, scored.labels
    false = np.where(labels == 1, -np.inf, scores)
    highest = false.max(axis=1)
    errors = [i for i in np.argsort(-highest, kind="stable")[:PER_LIST] if highest[i] > -np.inf]
    quality = np.full(len(labels), np.nan)
    for i in np.flatnonzero(labels.any(axis=1)):
        quality[i] = label_ranking_average_precision_score(labels[i : i + 1], scores[i : i + 1])
    of_clip = "average precision of the clip's tags in the order of the scores."
    return [
        ClipList(
            "Most confident errors",
            "Highest score of a tag that the clip does not carry.",
            [Shown(int(i), float(highest[i]), scored.classes[false[i].argmax()]) for i in errors],
        ),
        _ranked("Worst clips", f"Lowest {of_clip}", quality),
        _ranked("Best clips", f"Highest {of_clip}", quality, best=True),
    ]


def _ranked(title: str, explanation: str, values: np.ndarray, *, best: bool = False) -> ClipList:
    """Returns the clips with the lowest, or highest, values; those without a value are left out."""
    order = np.argsort(-values if best else values, kind="stable")
    kept = [int(i) for i in order if not np.isnan(values[i])][:PER_LIST]
    return ClipList(title, explanation, [Shown(i, float(values[i])) for i in kept])

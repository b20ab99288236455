"""The labels of songs, and the names by which they are written into files."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre.inference.tags import UNKNOWN, Choice, choose_tags, merged_scores, possible_tags
from deepgenre.library import mapping, policies
from deepgenre.library.policies import Tagging
from deepgenre.library.report import Song
from deepgenre.library.tag_fields import Values
from deepgenre.weights.spec import Spec, has_moods


@dataclasses.dataclass(frozen=True)
class Labelling:
    """How songs get their labels, and files the names of these."""

    spec: Spec
    choice: Choice
    tagging: Tagging  # with its defaults
    names: Mapping[str, str]  # of the mapping file, see `mapping`

    @property
    def labels(self) -> tuple[str, ...]:
        """Returns all labels that songs can have, in the order of the classes."""
        return possible_tags(self.spec.classes, self.choice)


def labelling(spec: Spec, choice: Choice, tagging: Tagging) -> Labelling:
    """Returns the labelling of these weights: of genres, which exclude each other, a song has one.

    Raises UserError where the mapping file is wrong.
    """
    choice = choice if spec.multi_label else dataclasses.replace(choice, top_k=1)
    tagging = policies.resolve(tagging, multi_label=spec.multi_label, moods=has_moods(spec))
    labels = possible_tags(spec.classes, choice)
    names = mapping.read(tagging.mapping, [*labels, *spec.classes]) if tagging.mapping else {}
    return Labelling(spec, choice, tagging, names)


def labelled(
    path: Path, seconds: float, scores: np.ndarray, tags: Sequence[str], how: Labelling
) -> Song:
    """Returns the song with its labels. scores: float (classes,).

    tags: of the prediction, which are UNKNOWN for a song unlike those of training.
    """
    classes = how.spec.classes
    chosen = tags if tuple(tags) == (UNKNOWN,) else choose_tags(scores, classes, how.choice)
    labels = tuple(sorted({*chosen} - {UNKNOWN}))
    merged, names = merged_scores(scores, classes, how.choice)
    best = int(merged.argmax())
    return Song(path, seconds, labels, names[best], float(merged[best]))


def names_of(song: Song, how: Labelling) -> Values:
    """Returns the names to write into a song's file; none for a song without labels."""
    capitalised = how.tagging.field == "genre" or has_moods(how.spec)
    return mapping.names_of(song.labels, how.names, genre=capitalised)

"""The labels of songs, and what is written into their files: names of labels, descriptors."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre.audio.describe import Descriptor
from deepgenre.errors import UserError
from deepgenre.inference import thresholds
from deepgenre.inference.prediction_files.rows import Result
from deepgenre.inference.tags import UNKNOWN, Choice, choose_tags, merged_scores, possible_tags
from deepgenre.library import descriptor_fields, mapping, policies
from deepgenre.library.policies import Tagging
from deepgenre.library.report import Song
from deepgenre.library.tag_fields import Values
from deepgenre.weights.spec import Spec, has_moods

MOOD_FIELD = "mood"


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


def labellings(specs: Sequence[Spec], choice: Choice, tagging: Tagging) -> tuple[Labelling, ...]:
    """Returns that of the labels, by the first spec, and that of the moods beside, if any.

    specs: one, or two, of which the second has moods. Raises UserError where both have one field.
    """
    first, *others = specs
    how = labelling(first, choice, tagging)
    if others and how.tagging.field == MOOD_FIELD:
        raise UserError("--moods: the field mood gets the labels already; leave out --moods")
    of_moods = Tagging(field=MOOD_FIELD)
    return how, *(labelling(s, thresholds.library_choice(s), of_moods) for s in others)


def song_of(
    path: Path,
    seconds: float,
    results: Sequence[Result],
    descriptors: Mapping[str, Descriptor],
    labellings: Sequence[Labelling],
) -> Song:
    """Returns the song with the labels of the first network, and other fields to write.

    results: of each network; labellings: likewise. descriptors: by column.
    """
    song, *others = (
        labelled(path, seconds, result.scores, result.tags, how)
        for result, how in zip(results, labellings, strict=True)
    )
    fields = descriptor_fields.values_of(descriptors)
    for other, how in zip(others, labellings[1:], strict=True):
        fields[how.tagging.field] = names_of(other, how)
    return dataclasses.replace(song, fields=fields)


def fields_of(song: Song, how: Labelling) -> dict[str, Values]:
    """Returns the values to write into a song's file, by field; () for none of a field."""
    return {how.tagging.field: names_of(song, how), **song.fields}


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

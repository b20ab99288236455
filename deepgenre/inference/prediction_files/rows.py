"""Rows of prediction files: a file's scores and tags, or why it could not be processed."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.describe import Descriptor
from deepgenre.files import Fingerprint

COLUMNS = ("path", "bytes", "mtime_ns", "error", "tags")  # before one column per class


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The scores and tags of a file, or why it could not be processed."""

    path: Path
    fingerprint: Fingerprint | None  # None: the file does not exist
    scores: np.ndarray | None  # float32 (classes,)
    tags: tuple[str, ...] = ()
    error: str = ""
    descriptors: Mapping[str, Descriptor] = dataclasses.field(default_factory=dict)  # by column


@dataclasses.dataclass(frozen=True)
class Row:
    """What a written row states about its file."""

    name: str  # the path as the format writes it
    fingerprint: Fingerprint | None
    failed: bool


Write = Callable[[Prediction], None]
Keep = Callable[[Row], bool]


def columns(classes: Sequence[str], described: Sequence[str] = ()) -> list[str]:
    """Returns the names of all columns; a class named like another column gets a prefix."""
    taken = {*COLUMNS, *described}
    scores = (f"score_{name}" if name in taken else name for name in classes)
    return [*COLUMNS, *described, *scores]


def cells(
    prediction: Prediction, classes: Sequence[str], described: Sequence[str] = ()
) -> list[Any]:
    """Returns the values of the columns; None where a value is missing."""
    scores = [None] * len(classes) if prediction.scores is None else rounded(prediction.scores)
    size_and_time = prediction.fingerprint or (None, None)
    tags = "|".join(prediction.tags)
    values = [prediction.descriptors.get(name) for name in described]
    return [str(prediction.path), *size_and_time, prediction.error, tags, *values, *scores]


def rounded(scores: np.ndarray) -> list[float]:
    """Returns the scores rounded to six decimals, about the precision of float32."""
    return [round(float(score), 6) for score in scores]


def encodable(text: str) -> str:
    """Returns the text with escapes for what UTF-8 cannot encode, e.g. bytes of file names."""
    return text.encode("utf-8", "backslashreplace").decode()

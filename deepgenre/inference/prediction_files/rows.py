"""Rows of prediction files: a file's scores and tags, or why it could not be processed."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.files import Fingerprint

COLUMNS = ("path", "bytes", "mtime_ns", "error", "tags")  # before a column a class


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was heard in a file; or why it could not be heard."""

    path: Path
    fingerprint: Fingerprint | None  # None: there is no such file
    scores: np.ndarray | None  # float32 (classes,)
    tags: tuple[str, ...] = ()
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """What a written row says of its song's file."""

    name: str  # as `Format.name` spells the path
    fingerprint: Fingerprint | None
    failed: bool


Write = Callable[[Prediction], None]


Keep = Callable[[Row], bool]


def columns(classes: Sequence[str]) -> list[str]:
    """Returns the names of all columns; a class that is called like another column is marked."""
    return [*COLUMNS, *(f"score_{name}" if name in COLUMNS else name for name in classes)]


def cells(prediction: Prediction, classes: Sequence[str]) -> list[Any]:
    """Returns what stands in the columns; None where there is nothing to say."""
    scores = [None] * len(classes) if prediction.scores is None else rounded(prediction.scores)
    size_and_time = prediction.fingerprint or (None, None)
    tags = "|".join(prediction.tags)
    return [str(prediction.path), *size_and_time, prediction.error, tags, *scores]


def rounded(scores: np.ndarray) -> list[float]:
    """Returns the scores with six decimals: as many as are sure in float32."""
    return [round(float(score), 6) for score in scores]


def encodable(text: str) -> str:
    """Returns the text with an escape for what is no UTF-8, as in names of other encodings."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Rows of prediction files: a file's descriptors, scores and tags, or why it has none.

Of several networks side by side, each has its own columns of tags and scores, whose names begin
with the name of the network and a colon.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.describe import Descriptor
from deepgenre.files import Fingerprint

FILE_COLUMNS = ("path", "bytes", "mtime_ns", "error")  # before those of the networks
TAGS, SCORES = "tags", "scores"  # of each network

# The classes of each network by its name; the name of the only network of a file is ''.
Networks = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What determines the columns of a prediction file."""

    networks: Networks
    described: Sequence[str] = ()  # columns of descriptors, see `audio.describe`


@dataclasses.dataclass(frozen=True)
class Result:
    """The scores and tags of a file by one network."""

    scores: np.ndarray  # float32 (classes,)
    tags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The result of a file by each network, or why it could not be processed."""

    path: Path
    fingerprint: Fingerprint | None  # None: the file does not exist
    results: tuple[Result, ...]  # empty with an error
    error: str = ""
    descriptors: Mapping[str, Descriptor] = dataclasses.field(default_factory=dict)  # by column
    seconds: float | None = None  # length of the song; JSON lines contain it


@dataclasses.dataclass(frozen=True)
class Row:
    """What a written row states about its file."""

    name: str  # the path as the format writes it
    fingerprint: Fingerprint | None
    failed: bool


Write = Callable[[Prediction], None]
# What rows of one file have in common, of which the last is kept; None drops the row.
Key = Callable[[Row], Hashable | None]


def prefixed(network: str, column: str) -> str:
    """Returns the name of a network's column: as it is where the file has one network only."""
    return f"{network}:{column}" if network else column


def columns(layout: Layout) -> list[str]:
    """Returns the names of all columns; a class named like another column gets a prefix."""
    names = [*FILE_COLUMNS, *layout.described]
    taken = {*names, TAGS}
    for network, classes in layout.networks.items():
        scores = (f"score_{name}" if name in taken else name for name in classes)
        names += [prefixed(network, column) for column in (TAGS, *scores)]
    return names


def cells(prediction: Prediction, layout: Layout) -> list[Any]:
    """Returns the values of the columns; None where a value is missing."""
    size_and_time = prediction.fingerprint or (None, None)
    values = [str(prediction.path), *size_and_time, prediction.error]
    values += [prediction.descriptors.get(name) for name in layout.described]
    for result in prediction.results:
        values += ["|".join(result.tags), *rounded(result.scores)]
    if not prediction.results:
        for classes in layout.networks.values():
            values += ["", *[None] * len(classes)]
    return values


def last_of_each(keys: Iterable[Hashable | None]) -> set[int]:
    """Returns the position of the last of each key; None is no key."""
    return {*{key: index for index, key in enumerate(keys) if key is not None}.values()}


def rounded(scores: np.ndarray) -> list[float]:
    """Returns the scores rounded to six decimals, about the precision of float32."""
    return [round(float(score), 6) for score in scores]


def encodable(text: str) -> str:
    """Returns the text with escapes for what UTF-8 cannot encode, e.g. bytes of file names."""
    return text.encode("utf-8", "backslashreplace").decode()

"""How similar songs are: a weighted mean of terms, each 1 for equal songs.

embedding  cosine of the embeddings, -1 to 1
tags       cosine of the scores, 0 to 1
tempo      1 - octaves / TEMPO_OCTAVES, at least 0, where half and double tempo count as equal: an
           estimate cannot tell them reliably
key        1 - steps / KEY_STEPS, at least 0: steps on the circle of fifths between the keys of the
           same notes, and one more between major and minor
loudness   1 - LU / LOUDNESS_LU, at least 0

A term of a song whose tempo, key or loudness is unknown is UNKNOWN.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from deepgenre.errors import UserError, look_up
from deepgenre.inference.song_details import KEYS
from deepgenre.inference.song_index import Song
from deepgenre.inference.song_search import unit_vectors

TEMPO_OCTAVES = 0.25  # a ratio of 1.19
KEY_STEPS = 4
LOUDNESS_LU = 12.0
UNKNOWN = 0.5
EMBEDDING = "embedding"
DEFAULT = {EMBEDDING: 1.0}  # weights where none are given
TERMS = (EMBEDDING, "tags", "tempo", "key", "loudness")  # those after the first need `song_details`
TONES = len(KEYS) // 2


@dataclasses.dataclass(frozen=True)
class Table:
    """What songs are compared by, a row per song."""

    units: np.ndarray  # float32 (songs, features), of length 1
    scores: np.ndarray  # float32 (songs, classes), of length 1; of zeros where unknown
    tempo_bpm: np.ndarray  # float32 (songs,), NaN where unknown
    loudness_lufs: np.ndarray  # likewise
    key: np.ndarray  # int64 (songs,): position in KEYS, -1 where unknown

    def take(self, rows: Sequence[int] | np.ndarray) -> "Table":
        """Returns the given rows."""
        fields = dataclasses.fields(self)
        return Table(**{field.name: getattr(self, field.name)[rows] for field in fields})


def parse_weights(entries: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each term of entries such as 'tempo:0.5'; {} where there are none.

    Raises UserError where an entry is wrong, a term is given twice, or no weight is above 0.
    """
    weights: dict[str, float] = {}
    for entry in entries:
        name, colon, text = (part.strip() for part in entry.partition(":"))
        look_up(dict.fromkeys(TERMS), name, "--similarity")
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not colon or not 0 <= weight < math.inf:
            raise UserError(
                f"--similarity: {entry!r} needs a weight of 0 or more after a colon, such as "
                f"{name}:0.5"
            )
        if name in weights:
            raise UserError(f"--similarity: {name!r} is given twice")
        weights[name] = weight
    if weights and not any(weights.values()):
        raise UserError("--similarity: all weights are 0; give one that is above 0")
    return {name: weight for name, weight in weights.items() if weight}


def needed(weights: Mapping[str, float]) -> list[str]:
    """Returns the details that songs need for the weights, of `song_details.NAMES`."""
    return [name for name in weights if name != EMBEDDING]


def table(songs: Sequence[Song]) -> Table:
    """Returns the table of songs whose embeddings have the same length."""
    details = [song.details for song in songs]
    num_classes = max((each.scores.size for each in details if each.scores is not None), default=0)
    scores = np.zeros((len(songs), num_classes), np.float32)
    for row, each in zip(scores, details, strict=True):
        if each.scores is not None:
            row[:] = each.scores
    return Table(
        unit_vectors(np.stack([song.vector for song in songs])),
        unit_vectors(scores),
        np.array([each.tempo_bpm for each in details], np.float32),
        np.array([each.loudness_lufs for each in details], np.float32),
        np.array([KEYS.index(each.key) if each.key else -1 for each in details], np.int64),
    )


def similarities(first: Table, second: Table, weights: Mapping[str, float]) -> np.ndarray:
    """Returns the similarity of each song of one table to each of another, float32 (first, second).

    weights: by term, at least one above 0.
    """
    terms = {name: (weight, _TERMS[name]) for name, weight in weights.items()}
    total = np.zeros((len(first.units), len(second.units)), np.float32)
    for weight, term in terms.values():
        total += np.float32(weight) * term(first, second)
    return total / np.float32(sum(weights.values()))


def octaves_apart(ratio: np.ndarray) -> np.ndarray:
    """Returns the distance of tempo ratios to the nearest power of two, in octaves, 0 to 0.5."""
    octaves = np.log2(ratio)
    return np.abs(octaves - np.rint(octaves))


def key_steps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the steps between keys, positions in KEYS: on the circle, and one for the mode."""
    return fifths_apart(first, second) + (first // TONES != second // TONES)


def fifths_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the steps on the circle of fifths between keys, 0 to 6; 0 for relative keys."""
    difference = (_on_circle(first) - _on_circle(second)) % TONES
    return np.minimum(difference, TONES - difference)


def _on_circle(key: np.ndarray) -> np.ndarray:
    """Returns the number of fifths from C to the major key of the same notes, modulo 12."""
    major = key % TONES + 3 * (key // TONES)  # a minor key has the notes of the major key 3 above
    return major * 7 % TONES


def _embedding_term(first: Table, second: Table) -> np.ndarray:
    return first.units @ second.units.T


def _tags_term(first: Table, second: Table) -> np.ndarray:
    return first.scores @ second.scores.T


def _tempo_term(first: Table, second: Table) -> np.ndarray:
    ratio = first.tempo_bpm[:, None] / second.tempo_bpm[None]
    return _closeness(octaves_apart(ratio) / TEMPO_OCTAVES)


def _loudness_term(first: Table, second: Table) -> np.ndarray:
    difference = np.abs(first.loudness_lufs[:, None] - second.loudness_lufs[None])
    return _closeness(difference / LOUDNESS_LU)


def _key_term(first: Table, second: Table) -> np.ndarray:
    steps = key_steps(first.key[:, None], second.key[None]) / np.float32(KEY_STEPS)
    is_known = (first.key[:, None] >= 0) & (second.key[None] >= 0)
    return _closeness(np.where(is_known, steps, np.nan))


def _closeness(distance: np.ndarray) -> np.ndarray:
    """Returns 1 for a distance of 0, 0 from 1 on, and UNKNOWN for NaN."""
    return np.where(np.isnan(distance), UNKNOWN, np.maximum(1 - distance, 0)).astype(np.float32)


_TERMS = {
    "embedding": _embedding_term,
    "tags": _tags_term,
    "tempo": _tempo_term,
    "key": _key_term,
    "loudness": _loudness_term,
}

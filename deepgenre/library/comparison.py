"""What two songs share, in words and numbers: tags, tempo, key, loudness, parts of the embedding.

The distance between two embeddings is the squared Euclidean distance of the unit vectors, 2 - 2 x
cosine. It is a sum over features, so that groups of features have exact shares of it. Weights whose
embedding has no named groups show which tags the difference of the scores consists of instead.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import models
from deepgenre.inference import thresholds
from deepgenre.inference.song_details import KEYS, Details
from deepgenre.inference.song_index import Song
from deepgenre.inference.tags import (
    RUNNER_UP_SCORE,
    UNKNOWN,
    Choice,
    choose_tags,
    merged_scores,
)
from deepgenre.library import similarity
from deepgenre.models import feature_groups
from deepgenre.weights.spec import Spec, Weights

SUFFIX = ".jsonl"
NAMES = ("tempo", "key", "loudness", "tags")  # the details that songs need
SAME_TEMPO = 0.04  # relative difference that DJs adjust without being noticed
MOST_SHARES = 8
TEMPO_RATIOS = {0.5: "half the tempo", 1.0: "the same tempo", 2.0: "double the tempo"}
# What the groups of `models.feature_groups` describe.
GROUP_WORDS = {
    "mfcc_dynamics": "timbre, how it varies",
    "contrast": "peaks against noise, by band",
    "covariance_of_change": "timbre, how it changes together",
    "spectrum_percentiles": "dynamics, by band",
    "onset_distribution": "onsets",
    "harmonic_percussive": "sustained against percussive",
    "detail": "fine structure in pitch and time",
    "chroma": "harmony, without the key",
}


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of the distance of two songs."""

    name: str
    share: float  # of the distance, 0 to 1
    text: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two songs share."""

    first: Path
    second: Path
    cosine: float
    rank: tuple[int, int] | None  # of the second among the songs nearest to the first, their number
    similarity: float | None  # weighted, where weights are given
    weights: Mapping[str, float]
    terms: Mapping[str, float]  # see `similarity`
    shared_tags: Sequence[str]
    other_tags: tuple[Sequence[str], Sequence[str]]  # of the first and second alone
    tempo: str
    key: str
    loudness: str
    parts: str  # what the shares are of
    shares: Sequence[Share]  # the largest first


def compare(
    first: Song,
    second: Song,
    weights: Weights,
    term_weights: Mapping[str, float],
    rank: tuple[int, int] | None = None,
) -> Comparison:
    """Returns the comparison of two songs that have the details of NAMES.

    term_weights: of the similarity, {} where none are given.
    """
    tables = similarity.table([first]), similarity.table([second])
    terms = {
        name: float(similarity.similarities(*tables, {name: 1.0})[0, 0])
        for name in similarity.TERMS
    }
    total = sum(term_weights.values())
    weighted = sum(terms[name] * weight for name, weight in term_weights.items())
    tags = [_tags(song.details, weights.spec) for song in (first, second)]
    groups = embedding_groups(weights)
    is_grouped = sum(groups.values()) == first.vector.size
    shares = (
        _group_shares(tables[0].units[0], tables[1].units[0], groups)
        if is_grouped
        else _tag_shares(first.details, second.details, weights.spec)
    )
    return Comparison(
        first.path,
        second.path,
        terms[similarity.EMBEDDING],
        rank,
        weighted / total if term_weights else None,
        term_weights,
        terms,
        [tag for tag in tags[0] if tag in tags[1]],
        ([tag for tag in tags[0] if tag not in tags[1]],
         [tag for tag in tags[1] if tag not in tags[0]]),
        tempo_relation(first.details.tempo_bpm, second.details.tempo_bpm),
        key_relation(first.details.key, second.details.key),
        loudness_relation(first.details.loudness_lufs, second.details.loudness_lufs),
        "distance of the embeddings" if is_grouped else "difference of the tag scores",
        sorted(shares, key=lambda share: -share.share),
    )  # fmt: skip


def embedding_groups(weights: Weights) -> dict[str, int]:
    """Returns the named groups of features of the embedding and their sizes; {} without any."""
    row = models.MODELS.get(weights.spec.model)
    if not row or not row.embedding_groups:
        return {}
    return feature_groups.group_sizes(weights.variables["batch_stats"], row.embedding_groups)


def _tags(details: Details, spec: Spec) -> tuple[str, ...]:
    assert details.scores is not None
    choice = (
        thresholds.library_choice(spec) if spec.multi_label else Choice(threshold=RUNNER_UP_SCORE)
    )
    found = choose_tags(details.scores, spec.classes, choice)
    return tuple(tag for tag in found if tag != UNKNOWN)


def _group_shares(first: np.ndarray, second: np.ndarray, groups: Mapping[str, int]) -> list[Share]:
    total = max(float(np.square(first - second).sum()), 1e-12)
    ends = np.cumsum([*groups.values()])
    shares = []
    for (name, size), end in zip(groups.items(), ends.tolist(), strict=True):
        a, b = first[end - size : end], second[end - size : end]
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        cosine = float(a @ b) / max(lengths, 1e-12)
        part = float(np.square(a - b).sum()) / total
        text = f"{GROUP_WORDS.get(name, name)} ({name}), cosine {cosine:.2f}"
        shares.append(Share(name, part, text))
    return shares


def _tag_shares(first: Details, second: Details, spec: Spec) -> list[Share]:
    assert first.scores is not None
    assert second.scores is not None
    choice = Choice(merge_synonyms=spec.multi_label)
    (a, names), (b, _) = (
        merged_scores(each, spec.classes, choice) for each in (first.scores, second.scores)
    )
    parts = np.square(a - b)
    parts = parts / max(float(parts.sum()), 1e-12)
    rows = zip(names, parts.tolist(), a.tolist(), b.tolist(), strict=True)
    return [Share(name, part, f"{name}: {x:.2f}, {y:.2f}") for name, part, x, y in rows]


def tempo_relation(first: float | None, second: float | None) -> str:
    """Returns the relation of two tempi in words; 'unknown' where one is."""
    if not first or not second:
        return "unknown"
    both, ratio = f"{first:.1f} and {second:.1f} BPM", second / first
    for exact, words in TEMPO_RATIOS.items():
        if abs(ratio / exact - 1) <= SAME_TEMPO:
            return f"{both}: {words} ({100 * (ratio / exact - 1):+.1f} %)"
    return f"{both}: {100 * abs(ratio - 1):.0f} % {'faster' if ratio > 1 else 'slower'}"


def key_relation(first: str | None, second: str | None) -> str:
    """Returns the relation of two keys on the circle of fifths in words; 'unknown' where one is."""
    if first not in KEYS or second not in KEYS:
        return "unknown"
    keys = [np.array([KEYS.index(key)]) for key in (first, second)]
    fifths = int(similarity.fifths_apart(*keys)[0])
    other_mode = first.split()[1] != second.split()[1]
    if first == second:
        relation = "the same key"
    elif fifths == 0:
        relation = "relative keys, with the same notes"
    elif first.split()[0] == second.split()[0]:
        relation = "parallel keys, with the same tonic"
    else:
        steps = "neighbours" if fifths == 1 else f"{fifths} steps apart"
        relation = f"{steps} on the circle of fifths" + ", major and minor" * other_mode
    return f"{first} and {second}: {relation}"


def loudness_relation(first: float | None, second: float | None) -> str:
    """Returns the relation of two loudnesses in words; 'unknown' where one is."""
    if first is None or second is None:
        return "unknown"
    difference = second - first
    words = "louder" if difference > 0 else "quieter"
    return f"{first:.1f} and {second:.1f} LUFS: the second is {abs(difference):.1f} LU {words}"


def to_lines(found: Comparison) -> list[str]:
    """Returns the comparison as lines of text."""
    lines = [str(found.first), str(found.second), f"  cosine    {found.cosine:.3f}"]
    if found.rank:
        lines[-1] += f": rank {found.rank[0]} of {found.rank[1]} songs"
    if found.similarity is not None:
        parts = (f"{name} {found.terms[name]:.2f} x {w:g}" for name, w in found.weights.items())
        lines.append(f"  weighted  {found.similarity:.3f}: {', '.join(parts)}")
    lines.append(f"  both      {', '.join(found.shared_tags) or '-'}")
    for name, tags in zip(("first", "second"), found.other_tags, strict=True):
        lines.append(f"  {name:<9} {', '.join(tags) or '-'}")
    lines += [
        f"  tempo     {found.tempo}",
        f"  key       {found.key}",
        f"  loudness  {found.loudness}",
        f"  shares of the {found.parts}:",
    ]
    shown = found.shares[:MOST_SHARES]
    return lines + [f"    {100 * each.share:4.1f} %  {each.text}" for each in shown]


def to_json(found: Comparison) -> dict[str, Any]:
    """Returns the comparison as a dict that JSON can encode."""
    return {
        "first": str(found.first),
        "second": str(found.second),
        "cosine": round(found.cosine, 6),
        "rank": found.rank and found.rank[0],
        "songs": found.rank and found.rank[1],
        "similarity": None if found.similarity is None else round(found.similarity, 6),
        "terms": {name: round(value, 6) for name, value in found.terms.items()},
        "shared_tags": [*found.shared_tags],
        "first_tags": [*found.other_tags[0]],
        "second_tags": [*found.other_tags[1]],
        "tempo": found.tempo,
        "key": found.key,
        "loudness": found.loudness,
        "shares_of": found.parts,
        "shares": {share.name: round(share.share, 6) for share in found.shares},
    }

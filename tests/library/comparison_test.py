"""What two songs share, in words; shares of the distance."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre import models
from deepgenre.inference.song_details import Details
from deepgenre.inference.song_index import Song
from deepgenre.library import comparison
from deepgenre.models import feature_groups
from deepgenre.weights import loading
from deepgenre.weights.spec import Weights


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (120.0, 121.2, "120.0 and 121.2 BPM: the same tempo (+1.0 %)"),
        (120.0, 61.0, "120.0 and 61.0 BPM: half the tempo (+1.7 %)"),
        (70.0, 140.0, "70.0 and 140.0 BPM: double the tempo (+0.0 %)"),
        (100.0, 125.0, "100.0 and 125.0 BPM: 25 % faster"),
        (100.0, 70.0, "100.0 and 70.0 BPM: 30 % slower"),
        (100.0, None, "unknown"),
    ],
)
def test_tempo_relation(first, second, words):
    assert comparison.tempo_relation(first, second) == words


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("A minor", "A minor", "the same key"),
        ("A minor", "C major", "relative keys, with the same notes"),
        ("A minor", "A major", "parallel keys, with the same tonic"),
        ("A minor", "E minor", "neighbours on the circle of fifths"),
        ("A minor", "G major", "neighbours on the circle of fifths, major and minor"),
        ("C major", "F# major", "6 steps apart on the circle of fifths"),
    ],
)
def test_key_relation(first, second, words):
    assert comparison.key_relation(first, second) == f"{first} and {second}: {words}"
    assert comparison.key_relation(first, None) == "unknown"


def test_loudness_relation():
    words = "-9.0 and -12.5 LUFS: the second is 3.5 LU quieter"
    assert comparison.loudness_relation(-9.0, -12.5) == words
    assert comparison.loudness_relation(None, -12.5) == "unknown"


@pytest.fixture(scope="module")
def shipped() -> Weights:
    return loading.load("gtzan")


def a_song(name: str, vector: np.ndarray, scores: np.ndarray) -> Song:
    computed = frozenset(comparison.NAMES)
    details = Details(computed, 120.0, "C major", -9.0, scores.astype(np.float32))
    return Song(Path(name), (1, 1), vector.astype(np.float32), details)


def test_shares_of_the_groups_of_the_shipped_weights(shipped):
    groups = comparison.embedding_groups(shipped)
    assert [*groups] == [*models.MODELS["kernel_ridge"].embedding_groups]
    assert {*groups} == {*comparison.GROUP_WORDS}
    size, start = sum(groups.values()), groups["mfcc_dynamics"]
    rng, rock = np.random.default_rng(0), np.eye(10)[shipped.spec.classes.index("rock")]
    vector = rng.standard_normal(size)
    changed = vector.copy()
    changed[start : start + groups["contrast"]] *= -1  # of the same length: no other group moves
    found = comparison.compare(
        a_song("a", vector, rock), a_song("b", changed, rock), shipped, {"embedding": 1, "tempo": 3}
    )
    assert found.parts == "distance of the embeddings"
    shares = {share.name: share.share for share in found.shares}
    assert next(iter(shares)) == "contrast"
    assert shares["contrast"] == pytest.approx(1, abs=1e-5)
    assert found.similarity == pytest.approx((found.cosine + 3) / 4)
    assert found.shared_tags == ["rock"]
    other = comparison.compare(
        a_song("a", vector, rock), a_song("b", rng.standard_normal(size), 1 - rock), shipped, {}
    )
    assert sum(share.share for share in other.shares) == pytest.approx(1)
    assert other.similarity is None
    assert "rock" in other.other_tags[0]


def test_shares_of_tags_where_the_embedding_has_no_groups():
    weights = tiny.untrained(tiny.spec(multi_label=True, classes=("woman", "female", "rock")))
    assert comparison.embedding_groups(weights) == {}
    vector, scores = np.ones(4), np.array([[0.2, 0.9, 0.6], [0.1, 0.1, 0.2]])
    found = comparison.compare(
        a_song("a", vector, scores[0]), a_song("b", vector, scores[1]), weights, {}
    )
    assert found.parts == "difference of the tag scores"
    shares = {share.name: share.share for share in found.shares}
    assert shares == {
        "female vocals": pytest.approx(0.64 / 0.8),
        "rock": pytest.approx(0.16 / 0.8),
    }
    lines = "\n".join(comparison.to_lines(found))
    assert "  both      rock" in lines
    assert "  first     female vocals" in lines
    assert "80.0 %  female vocals: 0.90, 0.10" in lines


def test_group_sizes_are_those_of_the_embedding(shipped):
    sizes = feature_groups.group_sizes(
        shipped.variables["batch_stats"], models.MODELS["kernel_ridge"].embedding_groups
    )
    assert sum(sizes.values()) == 748  # of the index that mode `embed` writes

"""Terms of the similarity of songs: values by hand, and properties of any songs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.errors import UserError
from deepgenre.inference.song_details import KEYS, Details
from deepgenre.inference.song_index import Song
from deepgenre.library import similarity


def song(vector=(1.0, 0.0), scores=None, **details) -> Song:
    of_classes = None if scores is None else np.array(scores, np.float32)
    return Song(
        Path("a"), (1, 1), np.array(vector, np.float32), Details(scores=of_classes, **details)
    )


def similar(first: Song, second: Song, **weights: float) -> float:
    tables = similarity.table([first]), similarity.table([second])
    return float(similarity.similarities(*tables, weights)[0, 0])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (120.0, 120.0, 1.0),
        (120.0, 60.0, 1.0),
        (75.0, 150.0, 1.0),
        (40.0, 160.0, 1.0),
        (100.0, 100 * 2**0.125, 0.5),
        (100.0, 200 * 2**-0.125, 0.5),
        (100.0, 141.4, 0.0),
        (100.0, None, 0.5),
        (None, None, 0.5),
    ],
)
def test_half_and_double_tempo_are_equal(first, second, expected):
    value = similar(song(tempo_bpm=first), song(tempo_bpm=second), tempo=1)
    assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("C major", "C major", 1.0),
        ("C major", "A minor", 0.75),  # relative
        ("C major", "G major", 0.75),
        ("C major", "F major", 0.75),
        ("C major", "E minor", 0.5),
        ("C major", "D major", 0.5),
        ("Db major", "F# major", 0.75),
        ("F# major", "Eb minor", 0.75),  # relative
        ("C major", "F# major", 0.0),
        ("C major", "C minor", 0.0),  # three fifths and the mode
        ("C major", None, 0.5),
    ],
)
def test_key_by_steps_on_the_circle_of_fifths(first, second, expected):
    assert similar(song(key=first), song(key=second), key=1) == pytest.approx(expected)


def test_loudness_tags_and_embedding():
    assert similar(song(loudness_lufs=-8.0), song(loudness_lufs=-14.0), loudness=2) == 0.5
    assert similar(song(loudness_lufs=-8.0), song(loudness_lufs=-30.0), loudness=2) == 0
    assert similar(song(loudness_lufs=-8.0), song(), loudness=2) == 0.5
    assert similar(song(scores=[1, 0]), song(scores=[1, 1]), tags=1) == pytest.approx(0.5**0.5)
    assert similar(song([1, 0]), song([-2, 0]), embedding=1) == pytest.approx(-1)


def test_weighted_mean_of_terms():
    first = song([1, 0], tempo_bpm=100.0, loudness_lufs=-8.0)
    second = song([0, 1], tempo_bpm=200.0, loudness_lufs=-14.0)
    value = similar(first, second, embedding=1, tempo=0.5, loudness=0.5)
    assert value == pytest.approx((0 + 0.5 * 1 + 0.5 * 0.5) / 2)


songs = st.builds(
    song,
    st.tuples(*[st.floats(-10, 10, width=32)] * 2),
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2),
    tempo_bpm=st.none() | st.floats(40, 240),
    key=st.none() | st.sampled_from(KEYS),
    loudness_lufs=st.none() | st.floats(-70, 0),
)
weights = st.dictionaries(
    st.sampled_from(similarity.TERMS), st.floats(1e-3, 1e3), min_size=1, max_size=5
)


@given(songs, songs, weights)
def test_similarity_is_symmetric_and_bounded(first, second, weights):
    value = similar(first, second, **weights)
    assert value == pytest.approx(similar(second, first, **weights), abs=1e-4)
    assert -1.0001 <= value <= 1.0001


def test_weights_of_the_command_line():
    assert similarity.parse_weights(["embedding:1", " tempo : .5", "key:0"]) == {
        "embedding": 1.0,
        "tempo": 0.5,
    }
    assert similarity.parse_weights([]) == {}
    assert similarity.needed({"embedding": 1.0, "tempo": 1.0, "tags": 1.0}) == ["tempo", "tags"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["tmpo:1"], "'tmpo' is unknown; did you mean 'tempo'"),
        (["tempo"], "'tempo' needs a weight of 0 or more after a colon, such as tempo:0.5"),
        (["tempo:fast"], "needs a weight"),
        (["tempo:-1"], "needs a weight"),
        (["tempo:nan"], "needs a weight"),
        (["tempo:inf"], "needs a weight"),
        (["tempo:1", "tempo:2"], "'tempo' is given twice"),
        (["tempo:0", "key:0"], "all weights are 0"),
        ([""], "is unknown"),
    ],
)
def test_wrong_weights_are_refused(entries, message):
    with pytest.raises(UserError, match="--similarity: ") as error:
        similarity.parse_weights(entries)
    assert message in str(error.value)

"""Neighbours: exact up to EXACT_SONGS, and measured where they are not. All vectors synthetic."""

import numpy as np
import pytest

from deepgenre.inference import song_index


def drawn(count: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, features)).astype(np.float32)


def cosines(questions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(questions, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None]
    return questions.astype(np.float64) @ vectors.astype(np.float64).T / norms


def test_the_nearest_are_those_of_the_cosine_whatever_the_lengths():
    vectors = drawn(500, 12, 1) * np.random.default_rng(2).uniform(0.01, 100, (500, 1))
    questions = drawn(20, 12, 3)
    found, rows = song_index.nearest(song_index.build(vectors.astype(np.float32)), questions, 7)
    wanted = cosines(questions, vectors)
    np.testing.assert_array_equal(rows, np.argsort(-wanted, axis=1)[:, :7])
    np.testing.assert_allclose(found, -np.sort(-wanted, axis=1)[:, :7], atol=1e-5)


def test_few_songs_and_silent_vectors_are_no_trouble():
    vectors = np.zeros((2, 4), np.float32)
    vectors[1, 2] = 3
    found, rows = song_index.nearest(song_index.build(vectors), vectors, 10)
    assert rows.shape == (2, 2)
    assert np.isfinite(found).all()
    assert found[1].tolist() == [1, 0]


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, song_index.Search]:
    vectors = drawn(song_index.EXACT_SONGS + 5_000, 16, 4)
    return vectors, song_index.build(vectors)


def test_very_many_songs_are_searched_in_part_and_the_recall_is_true(many):
    vectors, found_by = many
    assert 8 < found_by.index.nprobe < found_by.index.nlist / 4  # more than it begins with
    assert song_index.WANTED_RECALL <= found_by.recall <= 1
    draw = np.random.default_rng(5)
    questions = vectors[draw.choice(len(vectors), 300, replace=False)]
    _, rows = song_index.nearest(found_by, questions, 11)
    wanted = np.argsort(-cosines(questions, vectors), axis=1)[:, 1:11]
    shares = [len({*ours} & {*truth}) / 10 for ours, truth in zip(rows, wanted, strict=True)]
    assert np.mean(shares) == pytest.approx(found_by.recall, abs=0.03)
    assert np.mean(shares) > 0.9


def test_what_is_kept_of_a_search_finds_the_same(many):
    vectors, found_by = many
    again = song_index.from_bytes(song_index.to_bytes(found_by))
    assert again.recall == found_by.recall
    questions = drawn(50, 16, 6)
    for ours, theirs in zip(
        song_index.nearest(again, questions, 10),
        song_index.nearest(found_by, questions, 10),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert song_index.to_bytes(song_index.build(vectors[:1000])) == b""


def test_recall_counts_shared_neighbours_but_the_song_itself():
    nearest = np.array([[0, 1, 2], [9, 8, 7]])
    found = np.array([[0, 1, 5], [9, 7, 8]])
    assert song_index._shared(found, nearest) == pytest.approx((0.5 + 1.0) / 2)

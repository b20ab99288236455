"""Nearest songs: exact, or by cells with a measured recall; synthetic vectors."""

import itertools

import numpy as np
import pytest

from deepgenre.inference import song_search


def random_vectors(count: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, features)).astype(np.float32)


def cosines(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None]
    return queries.astype(np.float64) @ vectors.astype(np.float64).T / norms


def test_exact_search_ranks_by_cosine_independent_of_lengths():
    vectors = random_vectors(500, 12, 1) * np.random.default_rng(2).uniform(0.01, 100, (500, 1))
    queries = random_vectors(20, 12, 3)
    search = song_search.exact_search(vectors.astype(np.float32))
    similarities, rows = song_search.nearest_songs(search, queries, 7)
    expected = cosines(queries, vectors)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :7])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :7], atol=1e-5)


def test_few_songs_and_zero_vectors_are_allowed():
    vectors = np.zeros((2, 4), np.float32)
    vectors[1, 2] = 3
    similarities, rows = song_search.nearest_songs(song_search.exact_search(vectors), vectors, 10)
    assert rows.shape == (2, 2)
    assert np.isfinite(similarities).all()
    assert similarities[1].tolist() == [1, 0]


@pytest.fixture(scope="module")
def large_index() -> tuple[np.ndarray, song_search.Search]:
    vectors = random_vectors(song_search.EXACT_SONGS + 5_000, 16, 4)
    return vectors, song_search.cell_search(vectors, song_search.find_cells(vectors))


def test_large_index_probes_some_cells_with_the_reported_recall(large_index):
    vectors, search = large_index
    assert 8 < search.index.nprobe < search.index.nlist / 4  # more than the initial number
    assert song_search.TARGET_RECALL <= search.recall <= 1
    rng = np.random.default_rng(5)
    queries = vectors[rng.choice(len(vectors), 300, replace=False)]
    _, rows = song_search.nearest_songs(search, queries, 11)
    expected = np.argsort(-cosines(queries, vectors), axis=1)[:, 1:11]
    shares = [len({*row} & {*exact}) / 10 for row, exact in zip(rows, expected, strict=True)]
    assert np.mean(shares) == pytest.approx(search.recall, abs=0.03)
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("kind", ["exact", "cells"])
def test_ranking_yields_each_song_once_nearest_first(large_index, kind):
    vectors, search = large_index
    if kind == "exact":
        vectors = vectors[:500]
        search = song_search.exact_search(vectors)
    query = random_vectors(1, 16, 6)[0]
    ranked = list(itertools.islice(song_search.ranking(search, query), 700))
    assert len(ranked) == min(len(vectors), 700)
    rows = [row for _, row in ranked]
    assert len({*rows}) == len(rows)
    similarities = [cosine for cosine, _ in ranked]
    assert similarities == sorted(similarities, reverse=True)
    np.testing.assert_allclose(similarities, cosines(query[None], vectors)[0, rows], atol=1e-5)
    if kind == "exact":
        np.testing.assert_array_equal(rows, np.argsort(-cosines(query[None], vectors)[0]))


def test_recall_ignores_the_query_itself():
    nearest = np.array([[0, 1, 2], [9, 8, 7]])
    found = np.array([[0, 1, 5], [9, 7, 8]])
    assert song_search._recall(found, nearest) == pytest.approx((0.5 + 1.0) / 2)

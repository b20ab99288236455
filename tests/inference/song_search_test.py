"""The index file, and search: exact up to EXACT_SONGS, with a measured recall above; synthetic."""

from pathlib import Path

import numpy as np
import pytest

from deepgenre.inference import song_index


def random_vectors(count: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, features)).astype(np.float32)


def cosines(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None]
    return queries.astype(np.float64) @ vectors.astype(np.float64).T / norms


def test_index_file_has_the_documented_arrays(tmp_path):
    song = song_index.Song(Path("/a.mp3"), (10, 20), np.arange(3, dtype=np.float32))
    song_index.write_index(tmp_path / "v.npz", song_index.SongIndex("model", (song,)))
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"model", "paths", "stamps", "vectors", "search"}
        assert arrays["stamps"].tolist() == [[10, 20]]


def test_exact_search_ranks_by_cosine_independent_of_lengths():
    vectors = random_vectors(500, 12, 1) * np.random.default_rng(2).uniform(0.01, 100, (500, 1))
    queries = random_vectors(20, 12, 3)
    search = song_index.build_search(vectors.astype(np.float32))
    similarities, rows = song_index.nearest_songs(search, queries, 7)
    expected = cosines(queries, vectors)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :7])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :7], atol=1e-5)


def test_few_songs_and_zero_vectors_are_allowed():
    vectors = np.zeros((2, 4), np.float32)
    vectors[1, 2] = 3
    similarities, rows = song_index.nearest_songs(song_index.build_search(vectors), vectors, 10)
    assert rows.shape == (2, 2)
    assert np.isfinite(similarities).all()
    assert similarities[1].tolist() == [1, 0]


@pytest.fixture(scope="module")
def large_index() -> tuple[np.ndarray, song_index.Search]:
    vectors = random_vectors(song_index.EXACT_SONGS + 5_000, 16, 4)
    return vectors, song_index.build_search(vectors)


def test_large_index_probes_some_cells_with_the_reported_recall(large_index):
    vectors, search = large_index
    assert 8 < search.index.nprobe < search.index.nlist / 4  # more than the initial number
    assert song_index.TARGET_RECALL <= search.recall <= 1
    rng = np.random.default_rng(5)
    queries = vectors[rng.choice(len(vectors), 300, replace=False)]
    _, rows = song_index.nearest_songs(search, queries, 11)
    expected = np.argsort(-cosines(queries, vectors), axis=1)[:, 1:11]
    shares = [len({*row} & {*exact}) / 10 for row, exact in zip(rows, expected, strict=True)]
    assert np.mean(shares) == pytest.approx(search.recall, abs=0.03)
    assert np.mean(shares) > 0.9


def test_loaded_search_equals_dumped_search(large_index):
    vectors, search = large_index
    loaded = song_index.load_search(song_index.dump_search(search))
    assert loaded.recall == search.recall
    queries = random_vectors(50, 16, 6)
    for actual, expected in zip(
        song_index.nearest_songs(loaded, queries, 10),
        song_index.nearest_songs(search, queries, 10),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)
    assert song_index.dump_search(song_index.build_search(vectors[:1000])) == b""


def test_recall_ignores_the_query_itself():
    nearest = np.array([[0, 1, 2], [9, 8, 7]])
    found = np.array([[0, 1, 5], [9, 7, 8]])
    assert song_index._recall(found, nearest) == pytest.approx((0.5 + 1.0) / 2)

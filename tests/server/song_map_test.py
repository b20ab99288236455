"""Maps of songs: near songs lie near."""

import numpy as np
import pytest

from deepgenre.server import song_map


def clusters(num_songs: int) -> np.ndarray:
    """Returns embeddings in ten well separated groups, the songs of a group one after the other."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 40))
    return np.repeat(centres, num_songs // 10, axis=0) + 0.1 * rng.normal(size=(num_songs, 40))


def share_in_group(flat: np.ndarray) -> float:
    """Returns the share of songs whose nearest song on the map is of their group."""
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2) + np.diag([np.inf] * len(flat))
    groups = np.arange(len(flat)) // (len(flat) // 10)
    return float(np.mean(groups[distances.argmin(axis=1)] == groups))


def test_pca_keeps_groups_together():
    flat = song_map.pca(clusters(200).astype(np.float32))
    assert flat.shape == (200, 2)
    assert share_in_group(flat) > 0.6
    placed = song_map.scaled(flat)
    assert placed.min() == 0 and placed.max() == 1


@pytest.mark.drill
def test_umap_separates_groups_and_is_repeatable():
    pytest.importorskip("umap", reason="pip install 'deepgenre[umap]'")
    vectors = clusters(200).astype(np.float32)
    flat = song_map.umap(vectors)
    assert share_in_group(flat) == 1
    assert np.array_equal(flat, song_map.umap(vectors))


def test_umap_is_offered_for_some_sizes_only(monkeypatch):
    monkeypatch.setattr(song_map.importlib.util, "find_spec", lambda name: object())
    assert song_map.offered(9) == ["pca"]
    assert song_map.offered(10) == ["umap", "pca"]
    assert song_map.offered(20_001) == ["pca"]
    monkeypatch.setattr(song_map.importlib.util, "find_spec", lambda name: None)
    assert song_map.offered(10) == ["pca"]

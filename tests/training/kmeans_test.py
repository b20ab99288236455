"""Whitening and spherical k-means."""

import numpy as np

from deepgenre.training.kmeans import spherical_kmeans, whitening


def test_whitened_components_have_about_equal_variance():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    rows = (rng.normal(size=(5000, 6)) * [9, 7, 5, 3, 0.1, 0.01]) @ rotation + 4
    mean, matrix = whitening(rows.astype(np.float32), 4)
    white = (rows - mean) @ matrix
    assert matrix.shape == (6, 4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    covariance = np.cov(white.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=0.02)
    assert np.all((covariance.diagonal() > 0.7) & (covariance.diagonal() < 1))


def test_centroids_match_the_directions_of_the_data():
    rng = np.random.default_rng(0)
    directions = np.eye(8)[:3]
    sizes = rng.uniform(0.5, 5, size=(3, 100, 1))
    rows = sizes * directions[:, None] + 0.05 * rng.normal(size=(3, 100, 8))
    centroids = spherical_kmeans(rows.reshape(-1, 8).astype(np.float32), 12, rng, iterations=10)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-4)
    assert (centroids @ directions.T).max(axis=0).min() > 0.98
    assert (centroids @ directions.T).max(axis=1).min() > 0.9  # none is between two directions

"""Spherical k-means on whitened patches: filters learnt without labels.

A. Coates and A. Ng, "Learning feature representations with k-means", 2012.
"""

import numpy as np

RIDGE = 0.05  # share of the mean variance, added to each variance: noise is not amplified


def whitening(patches: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean (values,) and matrix (values, components) for patches, float32 (n, values).

    (patches - mean) @ matrix: the principal components, scaled to about equal variance.
    """
    mean = patches.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov((patches - mean).T))
    variances, axes = variances[::-1][:components], axes[:, ::-1][:, :components]
    matrix = axes / np.sqrt(variances + RIDGE * variances.mean())
    return mean.astype(np.float32), matrix.astype(np.float32)


def spherical_kmeans(
    rows: np.ndarray, count: int, rng: np.random.Generator, iterations: int
) -> np.ndarray:
    """Returns centroids of unit length, float32 (count, values), of rows, float32 (n, values).

    Each row belongs to the centroid with the largest cosine. Raises ValueError for fewer rows than
    centroids.
    """
    rows = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
    centroids = rows[rng.choice(len(rows), count, replace=False)]
    for _ in range(iterations):
        nearest = (rows @ centroids.T).argmax(axis=1)
        total = np.zeros_like(centroids)
        np.add.at(total, nearest, rows)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        centroids = np.where(length > 0, total / (length + 1e-6), centroids)
    return centroids.astype(np.float32)

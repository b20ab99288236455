"""Logistic regression on embeddings."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from deepgenre.data.clip import Clip
from deepgenre.training import logistic

RNG = np.random.default_rng(0)


def clips(groups: list[str]) -> list[Clip]:
    return [Clip(str(i), Path(str(i)), ("a",), group) for i, group in enumerate(groups)]


@pytest.mark.parametrize("strength", [1.0, 100.0])
def test_solution_equals_that_of_scikit_learn(strength):
    features, labels = RNG.normal(size=(30, 4)), np.arange(30) % 3
    weights = logistic.solve(
        features, np.eye(3)[labels], strength, np.zeros((5, 3)), multi_label=False
    )
    reference = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(features, labels)
    expected = reference.predict_proba(features)
    logits = features @ weights[:-1] + weights[-1]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=5e-3)


def test_each_tag_has_the_solution_that_it_has_alone():
    features, targets = RNG.normal(size=(40, 3)), (RNG.uniform(size=(40, 2)) < 0.4).astype(float)
    weights = logistic.solve(features, targets, 10.0, np.zeros((4, 2)), multi_label=True)
    for tag in range(2):
        reference = LogisticRegression(C=10.0, tol=1e-8).fit(features, targets[:, tag])
        np.testing.assert_allclose(weights[:-1, tag], reference.coef_[0], atol=1e-2)
        np.testing.assert_allclose(weights[-1, tag], reference.intercept_[0], atol=1e-2)


def songs_of_artists() -> tuple[list[np.ndarray], np.ndarray, list[str]]:
    """Returns songs that show their artist and nothing of their class; 5 artists a class."""
    songs, classes, groups = [], [], []
    for artist in range(10):
        centre = 3 * RNG.normal(size=20)
        for _ in range(4):
            songs.append(centre + 0.1 * RNG.normal(size=(3, 20)))
            classes.append(artist % 2)
            groups.append(f"artist {artist}")
    return songs, np.array(classes), groups


def test_artists_are_left_out():
    songs, classes, groups = songs_of_artists()
    by_artist = logistic.fit(songs, np.eye(2)[classes], clips(groups), False)
    by_song = logistic.fit(songs, np.eye(2)[classes], clips([str(i) for i in range(40)]), False)
    assert by_artist.testable.all()
    assert (by_song.scores.argmax(axis=1) == classes).mean() == 1
    assert (by_artist.scores.argmax(axis=1) == classes).mean() < 0.8
    assert by_artist.familiarity.max() < by_song.familiarity.min()


def test_a_class_of_one_artist_is_not_tested():
    songs = [RNG.normal(size=(2, 5)) for _ in range(6)]
    groups = ["x", "x", "x", "y", "z", "z"]
    fitted = logistic.fit(songs, np.eye(2)[[0, 0, 0, 1, 1, 1]], clips(groups), False)
    assert fitted.testable.tolist() == [False] * 3 + [True] * 3
    fitted = logistic.fit(songs, np.eye(2)[[0, 0, 0, 1, 1, 1]], clips(["x"] * 6), True)
    assert not fitted.testable.any()
    assert fitted.strength == logistic.DEFAULT_STRENGTH

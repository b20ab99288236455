"""Losses against definitions of their papers and other libraries, and weights of classes."""

from typing import Any

import jax
import numpy as np
import optax
import pytest
from sklearn.utils.class_weight import compute_class_weight

from deepgenre import config as defaults
from deepgenre.training.losses import LOSSES, Focus, balanced_weights, loss_per_clip

RNG = np.random.default_rng(0)
LOGITS: Any = (3 * RNG.standard_normal((12, 5))).astype(np.float32)
TAGS: Any = RNG.integers(0, 2, (12, 5)).astype(np.float32)
GENRES: Any = np.eye(5, dtype=np.float32)[RNG.integers(0, 5, 12)]


def focus_of(name: str, **changes: Any) -> Focus:
    config = defaults.get_config()
    config.update(changes)
    return LOSSES[name](config)


def test_cross_entropy_is_that_of_optax():
    genres = loss_per_clip(LOGITS, GENRES, multi_label=False, focus=focus_of("cross_entropy"))
    np.testing.assert_allclose(genres, optax.softmax_cross_entropy(LOGITS, GENRES), rtol=1e-5)
    tags = loss_per_clip(LOGITS, TAGS, multi_label=True, focus=focus_of("cross_entropy"))
    expected = optax.sigmoid_binary_cross_entropy(LOGITS, TAGS).mean(axis=-1)
    np.testing.assert_allclose(tags, expected, rtol=1e-5)


def test_focal_loss_is_that_of_optax_and_of_its_definition():
    focus = focus_of("focal", focal_gamma=3.0)
    tags = loss_per_clip(LOGITS, TAGS, multi_label=True, focus=focus)
    expected = optax.sigmoid_focal_loss(LOGITS, TAGS, gamma=3.0).mean(axis=-1)
    np.testing.assert_allclose(tags, expected, rtol=1e-4)
    probability = (np.asarray(jax.nn.softmax(LOGITS)) * GENRES).sum(axis=1).astype(np.float64)
    genres = loss_per_clip(LOGITS, GENRES, multi_label=False, focus=focus)
    np.testing.assert_allclose(genres, -((1 - probability) ** 3) * np.log(probability), rtol=1e-4)


def test_focal_loss_counts_what_is_predicted_well_less():
    easy: Any = np.array([[4.0, 0.0]])
    hard: Any = np.array([[-1.0, 0.0]])
    truth: Any = np.array([[1.0, 0.0]])
    focus = focus_of("focal")
    ratios = [
        float(
            loss_per_clip(logits, truth, multi_label=False, focus=focus)[0]
            / loss_per_clip(logits, truth, multi_label=False)[0]
        )
        for logits in (easy, hard)
    ]
    assert ratios[0] < 0.001 < 0.5 < ratios[1]


def test_asymmetric_loss_is_that_of_its_paper():
    focus = focus_of("asymmetric", asymmetric_gamma_present=1.0, asymmetric_margin=0.05)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    lowered = np.maximum(p - 0.05, 0)
    terms = np.where(TAGS, (1 - p) * np.log(p), lowered**4 * np.log(1 - lowered))
    loss = loss_per_clip(LOGITS, TAGS, multi_label=True, focus=focus)
    np.testing.assert_allclose(loss, -terms.mean(axis=1), rtol=1e-4)


def test_absent_tags_with_scores_below_the_margin_count_nothing():
    logits = np.full((1, 3), -4.0)  # scores of 0.018
    absent: Any = np.zeros((1, 3))
    focus = focus_of("asymmetric")

    def loss(logits: Any) -> Any:
        return loss_per_clip(logits, absent, multi_label=True, focus=focus)[0]

    value, gradient = jax.value_and_grad(loss)(logits)
    assert value == 0
    assert not np.any(gradient)
    assert np.all(jax.grad(loss)(np.zeros((1, 3))) > 0)


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradients_are_finite_at_certain_predictions(name, multi_label, gamma):
    focus = focus_of(name, focal_gamma=gamma, asymmetric_gamma_present=gamma)
    targets: Any = np.eye(3, dtype=np.float32)
    for logits in (200 * targets, -200 * targets, np.zeros((3, 3))):
        gradient = jax.grad(
            lambda x: loss_per_clip(x, targets, multi_label=multi_label, focus=focus).sum()
        )(logits.astype(np.float32))
        assert np.isfinite(gradient).all()


def test_balanced_weights_of_genres_are_those_of_scikit_learn():
    labels = np.array([0] * 9 + [1] * 3 + [3] * 2)
    present, absent = balanced_weights(labels, 4, multi_label=False)
    expected = compute_class_weight("balanced", classes=np.arange(4)[[0, 1, 3]], y=labels)
    np.testing.assert_allclose(np.array(present)[[0, 1, 3]] * 4 / 3, expected)
    assert present[2] == 1.0  # has no clip
    assert set(absent) == {1.0}
    totals = [present[k] * (labels == k).sum() for k in (0, 1, 3)]
    np.testing.assert_allclose(totals, totals[0])


def test_balanced_weights_of_tags_are_those_of_scikit_learn_for_each_tag():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]], np.uint8)
    present, absent = balanced_weights(labels, 3, multi_label=True)
    for tag in (0, 1):
        expected = compute_class_weight("balanced", classes=np.arange(2), y=labels[:, tag])
        np.testing.assert_allclose([absent[tag], present[tag]], expected)
    assert present[2] == 1.0  # no clip has it
    assert absent[2] == 0.5


@pytest.mark.parametrize("multi_label", [False, True])
def test_weights_multiply_the_terms_of_their_class(multi_label):
    targets = TAGS if multi_label else GENRES
    weights = ((1.0, 2.0, 3.0, 4.0, 0.0), (5.0, 1.0, 0.0, 2.0, 1.0))
    plain = [
        loss_per_clip(
            LOGITS,
            targets,
            multi_label=multi_label,
            weights=(tuple(np.eye(5)[k]), tuple(np.zeros(5))),
        )
        for k in range(5)
    ]
    lacking = [
        loss_per_clip(
            LOGITS,
            targets,
            multi_label=multi_label,
            weights=(tuple(np.zeros(5)), tuple(np.eye(5)[k])),
        )
        for k in range(5)
    ]
    expected = sum(weights[0][k] * plain[k] + weights[1][k] * lacking[k] for k in range(5))
    loss = loss_per_clip(LOGITS, targets, multi_label=multi_label, weights=weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert multi_label or not np.any(lacking)

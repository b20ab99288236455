"""Temperature scaling and calibration errors: hand-computed examples and properties."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from deepgenre.evaluation import calibration

SCORES = hnp.arrays(np.float64, (5, 4), elements=st.floats(0.01, 1.0))
TASKS = pytest.mark.parametrize("multi_label", [False, True])


def test_calibrated_scores_by_hand():
    genres = np.array([[0.8, 0.2]])
    warm = calibration.calibrate(genres, 2.0, multi_label=False)
    np.testing.assert_allclose(warm, [[2 / 3, 1 / 3]])  # square roots of 4 : 1
    cold = calibration.calibrate(genres, 0.5, multi_label=False)
    np.testing.assert_allclose(cold, [[16 / 17, 1 / 17]])
    tags = calibration.calibrate(np.array([0.8, 0.2, 0.5]), 0.5, multi_label=True)
    np.testing.assert_allclose(tags, [16 / 17, 1 / 17, 0.5])


@settings(deadline=None)
@TASKS
@given(scores=SCORES, temperature=st.floats(*calibration.TEMPERATURE_RANGE))
def test_calibration_keeps_order_and_range(multi_label, scores, temperature):
    scores = scores if multi_label else scores / scores.sum(axis=1, keepdims=True)
    calibrated = calibration.calibrate(scores, temperature, multi_label=multi_label)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    if not multi_label:
        np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    order = np.argsort(scores, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(calibrated, order, axis=1), axis=1) >= -1e-12).all()
    unchanged = calibration.calibrate(scores, 1.0, multi_label=multi_label)
    np.testing.assert_array_equal(unchanged, scores)


@TASKS
def test_extreme_scores_stay_finite(multi_label):
    scores = np.array([[1.0, 0.0, 0.0]], np.float32)
    for temperature in calibration.TEMPERATURE_RANGE:
        calibrated = calibration.calibrate(scores, temperature, multi_label=multi_label)
        assert calibrated.dtype == np.float32
        assert np.isfinite(calibrated).all()


@TASKS
@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_fit_recovers_the_temperature_of_the_labels(multi_label, true_temperature):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4000, 5))
    if multi_label:
        scores = 1 / (1 + np.exp(-logits))
        probabilities = calibration.calibrate(scores, true_temperature, multi_label=True)
        labels = (rng.random(probabilities.shape) < probabilities).astype(np.uint8)
    else:
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        probabilities = calibration.calibrate(scores, true_temperature, multi_label=False)
        labels = (rng.random((4000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    temperature = calibration.fit_temperature(scores, labels, multi_label=multi_label)
    assert temperature == pytest.approx(true_temperature, rel=0.1)

    def error(scores):
        return calibration.calibration_error(scores, labels, multi_label=multi_label)

    calibrated = calibration.calibrate(scores, temperature, multi_label=multi_label)
    assert error(calibrated) < 0.02
    if true_temperature != 1:
        assert error(scores) > 2 * error(calibrated)


@TASKS
@settings(deadline=None, max_examples=25)
@given(scores=SCORES, data=st.data())
def test_no_other_temperature_has_a_higher_likelihood(multi_label, scores, data):
    scores = scores if multi_label else scores / scores.sum(axis=1, keepdims=True)
    shape, max_label = ((5, 4), 1) if multi_label else ((5,), 3)
    labels = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, max_label)))

    def loss(temperature):
        calibrated = calibration.calibrate(scores, temperature, multi_label=multi_label)
        return calibration.negative_log_likelihood(calibrated, labels, multi_label=multi_label)

    best = calibration.fit_temperature(scores, labels, multi_label=multi_label)
    for other in np.geomspace(*calibration.TEMPERATURE_RANGE, 30):
        assert loss(best) <= loss(other) + 1e-6


def test_calibration_error_by_hand():
    # Two songs at 0.9 of which one is correct, two at 0.6 that are both correct.
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labels = np.array([0, 1, 0, 0])
    error = calibration.calibration_error(scores, labels, multi_label=False)
    assert error == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    tags = np.array([[1.0, 0.0], [0.52, 0.52]])
    truth = np.array([[1, 0], [1, 0]])
    error = calibration.calibration_error(tags, truth, multi_label=True)
    assert error == pytest.approx(2 * 0.02 / 4)

"""The parts of the methods, each against its definition."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.linalg
import tiny

from deepgenre.audio.frontend import FULL_SCALE, FrontEnd
from deepgenre.audio.mel import band_centres_hz
from deepgenre.explain import occlusion, plane
from deepgenre.explain.grid import grid
from deepgenre.explain.relevance import GAMMA, gamma_rule
from deepgenre.models.summary_statistics import matrix_logarithm


def test_gamma_rule_equals_its_definition():
    generator = np.random.default_rng(0)
    x, kernel, bias = (generator.standard_normal(s) for s in ((1, 5), (5, 4), (4,)))
    layer = gamma_rule(lambda x, kernel: x @ kernel)
    output, pull = jax.vjp(layer, jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(bias))
    upstream = generator.standard_normal(output.shape)
    to_x, to_kernel, to_bias = pull(jnp.asarray(upstream, output.dtype))

    contributions = np.concatenate([x.T * kernel, bias[None]])  # (inputs and bias, outputs)
    total = contributions.sum(axis=0)
    same_sign = np.sign(contributions) == np.sign(total)
    amplified = np.where(same_sign, 1 + GAMMA, 1.0) * contributions
    relevance = amplified / amplified.sum(axis=0) * (total * upstream[0])
    np.testing.assert_allclose(output[0], total, rtol=1e-5)
    np.testing.assert_allclose((x * to_x)[0], relevance[:-1].sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(bias * to_bias, relevance[-1], rtol=1e-4)
    assert not np.any(to_kernel)


def test_shapley_values_of_an_additive_game_are_exact():
    generator = np.random.default_rng(0)
    values = generator.standard_normal(12)
    rows = occlusion.coalitions(12)
    np.testing.assert_array_equal(rows[::2] + rows[1::2], 1)
    found = occlusion.constrained_least_squares(
        rows, jnp.asarray(rows @ values), jnp.asarray(values.sum())
    )
    np.testing.assert_allclose(found, values, atol=1e-4)


def test_shapley_values_of_a_game_with_an_interaction():
    """Two players that are worth something together only share it."""
    rows = occlusion.coalitions(6)
    worth = rows[:, 0] * rows[:, 1] + 3 * rows[:, 4]
    found = occlusion.constrained_least_squares(rows, jnp.asarray(worth), jnp.asarray(4.0))
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0, 3, 0], atol=0.05)


@pytest.mark.parametrize("values", [(1.0, 2.0, 5.0), (2.0, 2.0, 2.0), (1.0, 1.0, 3.0)])
def test_gradient_of_the_matrix_logarithm(values):
    """Also for equal eigenvalues, where the gradient of the eigenvectors is infinite."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    matrix = turn @ np.diag(values) @ turn.T
    change = generator.standard_normal((3, 3))
    change += change.T
    step = 1e-4
    ahead, behind = (np.asarray(scipy.linalg.logm(matrix + s * change)) for s in (step, -step))
    value, slope = jax.jvp(
        matrix_logarithm,
        (jnp.asarray(matrix, jnp.float32)[None],),
        (jnp.asarray(change, jnp.float32)[None],),
    )
    np.testing.assert_allclose(value[0], scipy.linalg.logm(matrix), atol=1e-5)
    np.testing.assert_allclose(slope[0], (ahead - behind) / (2 * step), atol=2e-3)


@pytest.mark.parametrize("samples", [6_561, 8_192])
def test_gains_of_1_return_the_samples(samples):
    spec = tiny.spec(frontend=FrontEnd(kind="waveform"), window_frames=samples)
    levels = np.random.default_rng(0).integers(-FULL_SCALE, FULL_SCALE, (samples, 1))
    values, carrier = plane.plane_of(jnp.asarray(levels, jnp.int16), spec)
    assert len(plane.band_hz(spec)) == values.shape[1]
    found = plane.features_of(values[None], carrier, spec)
    np.testing.assert_allclose(found[0], levels / FULL_SCALE, atol=1e-5)
    silent = plane.features_of(jnp.zeros_like(values)[None], carrier, spec)
    np.testing.assert_array_equal(silent, 0)


def test_centres_of_bands_equal_librosas():
    expected = librosa.mel_frequencies(n_mels=42, fmin=30.0, fmax=8000.0)[1:-1]
    np.testing.assert_allclose(band_centres_hz(40, 30.0, 8000.0), expected, rtol=1e-6)


def test_segments_cover_the_plane_once():
    cells = grid((103, 50), (10, 6))
    assert cells.shape == (10, 6)
    assert cells.sizes.sum() == 103 * 50
    assert cells.sizes.max() - cells.sizes.min() <= 11 * 9 - 10 * 8
    numbers = np.arange(60.0).reshape(10, 6)
    np.testing.assert_allclose(cells.means(cells.spread(jnp.asarray(numbers))), numbers, rtol=1e-6)
    assert grid((4, 3), (10, 6)).shape == (4, 3)

"""Summary statistics: expected values, SciPy's results, and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.linalg

from deepgenre.models import summary_statistics
from deepgenre.models.feature_groups import STATISTICS, describe
from deepgenre.models.modulation_statistics import PATCH, modulations
from deepgenre.models.spherical_kmeans import FEATURE_SET, SphericalKMeans

COMPARE_BANDS = {"contrast", "harmonic_percussive", "detail"}


def clips(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("frames", "bands"), [(41, 32), (129, 97), (387, 128)])
def test_statistics_are_finite_for_any_size_and_zeros(name, frames, bands):
    for x in (clips(2, frames, bands), jnp.zeros((2, frames, bands))):
        features = STATISTICS[name](x)
        assert features.shape[0] == 2 and features.ndim == 2
        assert np.isfinite(features).all()


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_only_comparisons_of_bands_depend_on_constant_offsets_per_band(name):
    """Such offsets come from a microphone or mastering."""
    x, offset = clips(2, 64, 64), clips(1, 1, 64, seed=1)
    change = jnp.abs(STATISTICS[name](x) - STATISTICS[name](x + offset)).max()
    assert (float(change) > 0.1) == (name in COMPARE_BANDS)


def test_mfcc_dynamics_of_a_ramp():
    ramp = jnp.broadcast_to(jnp.arange(9.0)[None, :, None], (1, 9, 1))  # identical to its DCT
    deviation, over_1, over_4, skewness = summary_statistics.mfcc_dynamics(ramp)[0]
    assert deviation == pytest.approx(np.std(np.arange(9)), abs=1e-4)
    assert over_1 == pytest.approx(0, abs=0.01)  # the change is constant
    assert over_4 == pytest.approx(0, abs=0.01)
    assert skewness == pytest.approx(0, abs=1e-4)


def test_covariance_of_change_equals_scipy():
    x = clips(1, 200, 40)
    cepstrum = scipy.fft.dct(np.asarray(x[0], np.float64), type=2, axis=1, norm="ortho")
    mfcc = np.asarray(cepstrum)[:, :20]
    covariance = np.cov((mfcc[2:] - mfcc[:-2]).T, bias=True)
    floor = summary_statistics.COVARIANCE_FLOOR * np.trace(covariance) / 20
    expected = scipy.linalg.logm(covariance + (floor + summary_statistics.EPSILON) * np.eye(20))
    actual = np.asarray(summary_statistics.covariance_of_change(x)[0])
    # Triangles have the norms of their matrices.
    np.testing.assert_allclose(np.linalg.norm(actual), np.linalg.norm(expected), rtol=1e-4)
    rows, columns = np.triu_indices(20)
    np.testing.assert_allclose(actual[rows == columns], np.diag(expected), atol=1e-3)


def test_modulations_of_a_ripple_peak_at_its_rates():
    """The ripple has 4 periods over the frames of a patch and 2 over its bands."""
    frames, bands = np.arange(4 * PATCH)[:, None], np.arange(PATCH)[None]
    ripple = np.cos(2 * np.pi * (4 * frames + 2 * bands) / PATCH)
    features = np.asarray(modulations(jnp.asarray(ripple[None], jnp.float32))[0])
    low = features[: 12 * 8].reshape(12, 8)
    assert np.unravel_index(low.argmax(), low.shape) == (4, 2)
    assert low.argmax() == features.argmax()  # not among the mirrored rates


def test_groups_of_features_have_equal_total_variance():
    x = clips(6, 60, 48)
    module = SphericalKMeans(num_classes=3)
    variables = dict(module.init(jax.random.key(0), x, train=False))
    batch_stats = dict(variables["batch_stats"])
    groups = dict(sorted(describe(x, batch_stats, FEATURE_SET).items()))
    for name, values in groups.items():  # as `pretrain` does
        batch_stats[f"mean_of_{name}"] = values.mean(axis=0)
        batch_stats[f"deviation_of_{name}"] = values.std(axis=0) + 1e-9

    def first_logit(params):
        logits = module.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
        return jnp.asarray(logits)[:, 0]

    # The gradient of a logit is the input of the head.
    inputs = jax.jacobian(first_logit)(variables["params"])["logits"]["kernel"][..., 0]
    ends = np.cumsum([values.shape[1] for values in groups.values()])
    parts = np.split(np.asarray(inputs), ends[:-1], axis=1)
    for name, part in zip(groups, parts, strict=True):
        silent = np.mean(np.ptp(part, axis=0) == 0)  # filters below the threshold for all clips
        power = np.square(part).sum(axis=1).mean()
        assert power == pytest.approx(1 - silent, rel=0.05), name

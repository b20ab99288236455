"""Statistics that describe a clip: by hand, by SciPy, and what they must not hear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.linalg

from deepgenre.models import summary_statistics
from deepgenre.models.spherical_kmeans import SphericalKMeans, describe
from deepgenre.models.summary_statistics import PATCH, STATISTICS


def clips(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("frames", "bands"), [(41, 32), (129, 97), (387, 128)])
def test_any_size_and_silence_give_finite_numbers(name, frames, bands):
    for x in (clips(2, frames, bands), jnp.zeros((2, frames, bands))):
        found = STATISTICS[name](x)
        assert found.shape[0] == 2 and found.ndim == 2
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_a_colouring_that_stays_is_not_heard(name):
    """A constant a band: what a microphone or mastering adds; contrast alone compares bands."""
    x, colour = clips(2, 64, 64), clips(1, 1, 64, seed=1)
    plain, coloured = STATISTICS[name](x), STATISTICS[name](x + colour)
    changed = float(jnp.abs(plain - coloured).max())
    assert (changed > 0.1) == (name == "contrast")


def test_dynamics_by_hand():
    ramp = jnp.broadcast_to(jnp.arange(9.0)[None, :, None], (1, 9, 1))  # its DCT is itself
    deviation, over_1, over_4, skewness = summary_statistics.mfcc_dynamics(ramp)[0]
    assert deviation == pytest.approx(np.std(np.arange(9)), abs=1e-4)
    assert over_1 == pytest.approx(0, abs=0.01)  # always the same step
    assert over_4 == pytest.approx(0, abs=0.01)
    assert skewness == pytest.approx(0, abs=1e-4)


def test_covariance_of_change_is_scipys_logarithm():
    x = clips(1, 200, 40)
    cepstrum = scipy.fft.dct(np.asarray(x[0], np.float64), type=2, axis=1, norm="ortho")
    mfcc = np.asarray(cepstrum)[:, :20]
    covariance = np.cov((mfcc[2:] - mfcc[:-2]).T, bias=True)
    floor = summary_statistics.COVARIANCE_FLOOR * np.trace(covariance) / 20
    wanted = scipy.linalg.logm(covariance + (floor + summary_statistics.EPSILON) * np.eye(20))
    found = np.asarray(summary_statistics.covariance_of_change(x)[0])
    # Distances between triangles are those between matrices.
    np.testing.assert_allclose(np.linalg.norm(found), np.linalg.norm(wanted), rtol=1e-4)
    rows, columns = np.triu_indices(20)
    np.testing.assert_allclose(found[rows == columns], np.diag(wanted), atol=1e-3)


def test_a_ripple_is_where_its_rates_are():
    """4 periods in the frames of a patch, 2 in its bands."""
    frames, bands = np.arange(4 * PATCH)[:, None], np.arange(PATCH)[None]
    ripple = np.cos(2 * np.pi * (4 * frames + 2 * bands) / PATCH)
    found = np.asarray(summary_statistics.modulations(jnp.asarray(ripple[None], jnp.float32))[0])
    low = found[: 12 * 8].reshape(12, 8)
    assert np.unravel_index(low.argmax(), low.shape) == (4, 2)
    assert low.argmax() == found.argmax()  # and not among the ripples that fall


def test_the_head_hears_groups_alike_however_many_numbers_they_have():
    x = clips(6, 60, 48)
    module = SphericalKMeans(num_classes=3)
    variables = dict(module.init(jax.random.key(0), x, train=False))
    learnt = dict(variables["batch_stats"])
    groups = dict(sorted(describe(x, learnt).items()))
    for name, values in groups.items():  # as `pretrain` does
        learnt[f"mean_of_{name}"] = values.mean(axis=0)
        learnt[f"deviation_of_{name}"] = values.std(axis=0) + 1e-9

    def first_logit(params):
        logits = module.apply({"params": params, "batch_stats": learnt}, x, train=False)
        return jnp.asarray(logits)[:, 0]

    # The gradient of a logit is what the head hears.
    heard = jax.jacobian(first_logit)(variables["params"])["logits"]["kernel"][..., 0]
    ends = np.cumsum([values.shape[1] for values in groups.values()])
    parts = np.split(np.asarray(heard), ends[:-1], axis=1)
    for name, part in zip(groups, parts, strict=True):
        silent = np.mean(np.ptp(part, axis=0) == 0)  # filters that nothing of the noise woke
        power = np.square(part).sum(axis=1).mean()
        assert power == pytest.approx(1 - silent, rel=0.05), name

"""Kernel ridge regression: the formula, the network against float64, and folds by group."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepgenre.models.kernel_ridge import NEAREST, KernelRidge, kernel
from deepgenre.training.kernel import (
    DEVIATION_SHARE,
    LEAST_DEVIATION,
    RIDGE,
    fit,
    fit_scale,
    out_of_fold,
)


@dataclasses.dataclass(frozen=True)
class Item:
    key: str
    labels: tuple[str, ...]
    group: str
    split: str = ""


def clips(count: int, seed: int, classes: int = 3) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns two groups of features, and labels on which their means depend."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    labels[:classes] = np.arange(classes)
    first = rng.normal(size=(count, 5)) + 2.5 * np.eye(5)[labels]
    second = 7 * rng.normal(size=(count, 12)) + 100
    return {"first": first, "second": second}, labels


def expected_logits(
    features: dict[str, np.ndarray], targets: np.ndarray, others: dict[str, np.ndarray]
) -> np.ndarray:
    """Returns the logits of `others`: pair by pair, with the kernel's centring written out."""
    per_group, per_group_other = [], []
    for name, values in features.items():
        spread = values.std(axis=0)
        spread = spread + DEVIATION_SHARE * max(LEAST_DEVIATION, spread.mean())
        rows = np.clip((values - values.mean(axis=0)) / spread, -4, 4)
        new = np.clip((others[name] - values.mean(axis=0)) / spread, -4, 4)
        distance = np.array([[((a - b) ** 2).mean() for b in rows] for a in rows])
        median = np.median([distance[i, j] for i in range(len(rows)) for j in range(i)])
        per_group.append(distance / median)
        per_group_other.append(np.array([[((a - b) ** 2).mean() for b in rows] for a in new]))
        per_group_other[-1] /= median
    total = np.sum(per_group, axis=0)
    median = np.median(total[np.triu_indices(len(total), 1)])

    def combined(distances: list[np.ndarray]) -> np.ndarray:
        mean = sum(np.exp(-distance) for distance in distances) / len(distances)
        return np.exp(-sum(distances) / median / 2) + 0.5 * mean

    own, other = combined(per_group), combined(per_group_other)
    n = len(own)
    centring = np.eye(n) - 1 / n
    centred = centring @ own @ centring
    weights = np.sqrt(n / (targets.shape[1] * targets.sum(axis=0)))[targets.argmax(axis=1)]
    signs = 2 * targets - 1
    mean = (weights[:, None] * signs).sum(axis=0) / weights.sum()
    ridge = np.diag(RIDGE * np.trace(centred) / n / weights)
    dual = np.linalg.solve(centred + ridge, signs - mean)
    return (other - own.mean(axis=0)) @ centring @ dual + mean


def test_logits_equal_the_formula():
    (features, labels), (others, _) = clips(40, 0), clips(9, 1)
    targets = np.eye(3)[labels]
    actual = fit(features, targets).logits(others)
    np.testing.assert_allclose(actual, expected_logits(features, targets, others), rtol=1e-8)


def test_unseen_clips_are_classified():
    (features, labels), (others, expected) = clips(200, 0), clips(100, 1)
    predicted = fit(features, np.eye(3)[labels]).logits(others).argmax(axis=1)
    assert (predicted == expected).mean() > 0.7


@pytest.mark.parametrize("rank", [0, 4, 12])
def test_network_computes_the_logits_of_the_machine(monkeypatch, rank):
    (features, labels), (others, _) = clips(40, 0), clips(9, 1)
    machine = fit(features, np.eye(3)[labels], rank)
    monkeypatch.setattr(
        "deepgenre.models.feature_groups.describe",
        lambda x, *_: {name: jnp.asarray(v, jnp.float32) for name, v in others.items()},
    )
    monkeypatch.setattr("deepgenre.models.kernel_ridge.EMBEDDING", ("first",))
    arrays = {"factor": machine.factor}
    for name, rows in machine.clips.items():
        arrays |= {f"mean_of_{name}": machine.means[name], f"clips_{name}": rows}
        arrays |= {f"deviation_of_{name}": machine.deviations[name]}
        arrays |= {f"factor_of_{name}": machine.factors[name]}
        arrays |= {f"squares_{name}": machine.squares[name]}
    arrays |= {f"axes_{name}": axes for name, axes in machine.axes.items()}
    similarities = np.sort(machine.kernel(others), axis=1)[:, -NEAREST:].mean(axis=1)
    arrays["quantiles"] = np.linspace(np.median(similarities), 2, 101)
    assert len(machine.axes) == (2 if rank == 4 else 0)
    module = KernelRidge(3, num_clips=40, rank=rank)
    x = jnp.zeros((9, 8, 32))
    fresh = dict(module.init(jax.random.key(0), x, train=False))
    stored = {name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()}
    assert stored.keys() <= fresh["batch_stats"].keys()
    params = {"dual": jnp.asarray(machine.dual), "bias": jnp.asarray(machine.bias)}
    variables = {"params": params, "batch_stats": {**fresh["batch_stats"], **stored}}
    logits, sown = module.apply(variables, x, train=False, mutable=["intermediates"])
    (familiarity,) = sown["intermediates"]["familiarity"]
    expected = np.maximum(
        0, (similarities - np.median(similarities)) / (2 - np.median(similarities))
    )
    np.testing.assert_allclose(np.asarray(familiarity), expected, atol=2e-4)
    np.testing.assert_allclose(np.asarray(logits), machine.logits(others), atol=2e-4)


def test_full_rank_changes_nothing_and_a_low_rank_little():
    (features, labels), (others, _) = clips(40, 0), clips(9, 1)
    targets = np.eye(3)[labels]
    exact = fit(features, targets).logits(others)
    np.testing.assert_array_equal(fit(features, targets, rank=12).logits(others), exact)
    low = fit(features, targets, rank=11).logits(others)
    assert 1e-6 < np.abs(low - exact).mean() < 0.2


def test_kernel_of_equal_clips_is_its_maximum():
    distances = {"a": jnp.array([[0.0, 1.0]]), "b": jnp.array([[0.0, 2.0]])}
    same, other = np.asarray(kernel(distances, 0.5))[0]
    assert same == pytest.approx(1.5)
    assert other == pytest.approx(np.exp(-0.75) + 0.25 * (np.exp(-1) + np.exp(-2)))


def test_constant_features_and_equal_clips_give_finite_logits():
    features = {"first": np.ones((6, 3)), "second": np.zeros((6, 2))}
    logits = fit(features, np.eye(2)[[0, 1] * 3]).logits(features)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits, 0, atol=1e-6)


def test_out_of_fold_do_not_see_clips_of_the_same_group():
    """Groups of three equal clips with labels at random: only a leak predicts them."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(60, 8)), 3, axis=0)
    labels = np.repeat(rng.integers(0, 2, 60), 3)
    features, targets = {"first": values}, np.eye(2)[labels]

    def accuracy(groups: list[str]) -> float:
        members = [Item(f"{i:03d}", (str(label),), groups[i]) for i, label in enumerate(labels)]
        logits, _ = out_of_fold(features, targets, members, seed=0)
        return float((logits.argmax(axis=1) == labels).mean())

    assert accuracy([str(i // 3) for i in range(180)]) < 0.65
    assert accuracy([str(i) for i in range(180)]) > 0.9


@pytest.mark.parametrize("multi_label", [False, True])
def test_scale_is_that_of_the_highest_likelihood(multi_label):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    if multi_label:
        labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-3 * logits))).astype(np.uint8)
    else:
        labels = (3 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert fit_scale(logits, labels, multi_label=multi_label) == pytest.approx(3, rel=0.1)


def test_tags_have_equal_weights():
    features, _ = clips(30, 0)
    targets = np.zeros((30, 2))
    targets[:20, 0] = targets[10:25, 1] = 1
    machine = fit(features, targets)
    assert np.isfinite(machine.logits(features)).all()
    assert (machine.logits(features)[:, 0] > 0).mean() > 0.5

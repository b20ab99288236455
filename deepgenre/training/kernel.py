"""Kernel ridge regression: the training of `models.kernel_ridge`, one solve in float64."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.special

from deepgenre.data.folds import assign_folds
from deepgenre.data.splits import Member
from deepgenre.evaluation.calibration import fit_temperature
from deepgenre.models.feature_groups import CLIP
from deepgenre.models.kernel_ridge import GROUP_SHARE, nearest

RIDGE = 0.1  # times the kernel's mean diagonal element
DEVIATION_SHARE = 1e-3  # of a group's mean deviation, added to each: constant features stay small
LEAST_DEVIATION = 1e-3
NUM_FOLDS = 5
EPSILON = 1e-6  # of a kernel whose largest value is 1.5

Groups = Mapping[str, np.ndarray]  # features (clips, features) by name


@dataclasses.dataclass(frozen=True)
class KernelMachine:
    """A fitted kernel machine; see `models.kernel_ridge`."""

    means: Groups  # (features,)
    deviations: Groups  # (features,)
    axes: Groups  # (features, rank), of groups with more features than `rank`
    clips: Groups  # (clips, features or rank), standardised
    squares: Groups  # (clips,): sums of squares of the standardised features
    factors: Mapping[str, float]
    factor: float
    dual: np.ndarray  # (clips, classes)
    bias: np.ndarray  # (classes,)

    def logits(self, features: Groups) -> np.ndarray:
        """Returns float64 (clips, classes) of the features of other clips."""
        return self.kernel(features) @ self.dual + self.bias

    def kernel(self, features: Groups) -> np.ndarray:
        """Returns float64 (clips, training clips) of the features of other clips."""
        rows = {
            name: _standardised(values, self.means[name], self.deviations[name])
            for name, values in features.items()
        }
        distances = {
            name: self.factors[name]
            * _squared_distances(
                np.square(values).sum(axis=1),
                values @ self.axes[name] if name in self.axes else values,
                self.squares[name],
                self.clips[name],
            )
            for name, values in rows.items()
        }
        return _kernel(distances, self.factor)

    def scaled(self, factor: float) -> "KernelMachine":
        """Returns the machine with its logits multiplied by a factor."""
        return dataclasses.replace(self, dual=factor * self.dual, bias=factor * self.bias)


def fit(features: Groups, targets: np.ndarray, rank: int = 0) -> KernelMachine:
    """Returns the machine that approximates the targets: 0 or 1, (clips, classes).

    Each feature is standardised; each group's squared distances are divided by their median over
    pairs of clips, and so is their sum. The kernel is centred. Where each clip has one class, clips
    of rare classes have more weight: by the square root of the number of clips per class.
    rank: see `models.kernel_ridge`.
    """
    means, deviations, axes, rows, squares, factors, distances = ({} for _ in range(7))
    for name, values in features.items():
        means[name] = values.mean(axis=0, dtype=np.float64)
        deviation = values.std(axis=0, dtype=np.float64)
        deviations[name] = deviation + DEVIATION_SHARE * max(LEAST_DEVIATION, deviation.mean())
        row = rows[name] = _standardised(values, means[name], deviations[name])
        square = squares[name] = np.square(row).sum(axis=1)
        distance = _squared_distances(square, row, square, row)
        factors[name] = 1 / _median_of_pairs(distance)
        if 0 < rank < row.shape[1]:
            axes[name] = _principal_axes(row, rank)
            rows[name] = row @ axes[name]
            distance = _squared_distances(square, rows[name], square, rows[name])
            np.fill_diagonal(distance, 0)
        distances[name] = factors[name] * distance
    factor = 1 / _median_of_pairs(np.sum(list(distances.values()), axis=0))
    dual, bias = _solve(_kernel(distances, factor), 2.0 * targets - 1, _clip_weights(targets))
    return KernelMachine(means, deviations, axes, rows, squares, factors, factor, dual, bias)


def out_of_fold(
    features: Groups, targets: np.ndarray, members: Sequence[Member], seed: int, rank: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits (clips, classes), each by a machine fitted to clips of other groups.

    Second, the similarity of each clip to these others, (clips,): `models.kernel_ridge.nearest`.
    `members`: the clips, in the order of the rows.
    """
    num_folds = min(NUM_FOLDS, len({member.group for member in members}))
    fold_of = assign_folds(members, num_folds, seed)
    folds = np.array([fold_of[member.key] for member in members])
    logits, similarities = np.zeros(targets.shape), np.zeros(len(targets))
    for fold in range(num_folds):
        kept = {name: values[folds != fold] for name, values in features.items()}
        left_out = {name: values[folds == fold] for name, values in features.items()}
        machine = fit(kept, targets[folds != fold], rank)
        logits[folds == fold] = machine.logits(left_out)
        similarities[folds == fold] = nearest(jnp.asarray(machine.kernel(left_out)))
    return logits, similarities


def fit_scale(logits: np.ndarray, labels: np.ndarray, *, multi_label: bool) -> float:
    """Returns the factor on logits that maximises the likelihood of the labels."""
    link = scipy.special.expit if multi_label else scipy.special.softmax
    scores = link(logits) if multi_label else link(logits, axis=-1)
    return 1 / fit_temperature(scores, labels, multi_label=multi_label)


def _clip_weights(targets: np.ndarray) -> np.ndarray:
    if not (targets.sum(axis=1) == 1).all():
        return np.ones(len(targets))
    per_class = np.maximum(targets.sum(axis=0), 1)
    return np.sqrt(len(targets) / (targets.shape[1] * per_class))[targets.argmax(axis=1)]


def _solve(
    kernel: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns dual weights and bias, for a kernel that is not centred."""
    means, mean = kernel.mean(axis=0), kernel.mean()
    centred = kernel - means[None] - means[:, None] + mean
    bias = weights @ targets / weights.sum()
    ridge = np.diag(RIDGE * max(EPSILON, np.trace(centred) / len(kernel)) / weights)
    dual = scipy.linalg.solve(centred + ridge, targets - bias, assume_a="sym")
    # The centring of the rows of other clips is linear: it is moved into dual weights and bias.
    total = dual.sum(axis=0)
    return dual - total / len(kernel), bias - means @ dual + mean * total


def _kernel(distances: Groups, factor: float) -> np.ndarray:
    """`models.kernel_ridge.kernel`, in float64."""
    total = np.sum(list(distances.values()), axis=0) * factor
    of_groups = np.mean([np.exp(-distance) for distance in distances.values()], axis=0)
    return np.exp(-total / 2) + GROUP_SHARE * of_groups


def _standardised(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.clip((values.astype(np.float64) - mean) / deviation, -CLIP, CLIP)


def _squared_distances(
    squares: np.ndarray, rows: np.ndarray, other_squares: np.ndarray, others: np.ndarray
) -> np.ndarray:
    return np.maximum(squares[:, None] + other_squares[None] - 2 * rows @ others.T, 0)


def _principal_axes(rows: np.ndarray, rank: int) -> np.ndarray:
    """Returns (features, rank): where there are fewer clips than `rank`, the rest is 0."""
    small = len(rows) < rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if small else rows.T @ rows)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    if small:  # from the eigenvectors of the products of clips to those of the products of features
        used = values > EPSILON * values[0]
        vectors = rows.T @ vectors * np.where(used, 1 / np.sqrt(np.maximum(values, EPSILON)), 0)
    return np.pad(vectors, ((0, 0), (0, rank - vectors.shape[1])))


def _median_of_pairs(distance: np.ndarray) -> float:
    """Returns the median, or 1 where it is 0: all clips are the same."""
    return float(np.median(distance[np.triu_indices(len(distance), 1)])) or 1.0

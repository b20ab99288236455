"""Logistic regression on embeddings of songs: the training of `models.linear_head`.

Genres: multinomial. Tags: one regression per tag, all with the same strength. The weights have an
L2 penalty, whose strength is chosen on songs of artists that are left out; the accuracy is that of
songs whose artist took part neither in the fit nor in this choice. A head is fitted to the mean
embedding of each song; a song's score is the mean over the scores of its windows, as in inference.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.special
import threadpoolctl

from deepgenre.data.folds import assign_folds
from deepgenre.data.splits import Member
from deepgenre.evaluation.calibration import negative_log_likelihood
from deepgenre.models.kernel_ridge import NEAREST

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # of the data against the penalty, ascending
DEFAULT_STRENGTH = 10.0  # where there are too few artists to choose one
INNER_FOLDS = 5  # to choose the strength
MOST_ALONE = 50  # artists; more are left out in FOLDS groups
FOLDS = 10
DEVIATION_SHARE = 1e-3  # of the mean deviation, added to each: constant features stay small
MAX_ITERATIONS = 200
SEED = 0

Songs = Sequence[np.ndarray]  # embeddings of the windows of each song, (windows, features)


@dataclasses.dataclass(frozen=True)
class Head:
    """A fitted head, and its examples; float64. See `models.linear_head`."""

    mean: np.ndarray  # (features,)
    scale: np.ndarray  # (features,)
    kernel: np.ndarray  # (features, classes)
    bias: np.ndarray  # (classes,)
    examples: np.ndarray  # (songs, features), of length 1
    multi_label: bool

    def scores(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the scores of embeddings (rows, features), float64 (rows, classes)."""
        logits = self.standardised(embeddings) @ self.kernel + self.bias
        if self.multi_label:
            return scipy.special.expit(logits)
        return scipy.special.softmax(logits, axis=1)

    def standardised(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns float64 (rows, features)."""
        return (embeddings - self.mean) * self.scale

    def familiarity(self, embeddings: np.ndarray) -> float:
        """Returns the familiarity of a song from its windows, see `models.linear_head`."""
        cosines = unit(self.standardised(embeddings)) @ self.examples.T
        nearest = np.sort(cosines, axis=1)[:, -NEAREST:]
        return float(nearest.mean())


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A head for all songs, and what it is worth for songs of other artists."""

    head: Head
    strength: float
    scores: np.ndarray  # float64 (songs, classes), by heads fitted without the song's artist
    familiarity: np.ndarray  # float64 (songs,), likewise
    testable: np.ndarray  # bool (songs,): other artists have songs of its class too


def fit(songs: Songs, targets: np.ndarray, members: Sequence[Member], multi_label: bool) -> Fitted:
    """Returns the head of all songs, and scores of each without its artist.

    targets: 0 or 1, (songs, classes). members: the songs' groups, in the same order. Where there is
    one group only, no song is testable.
    """
    with threadpoolctl.threadpool_limits(1):  # threads cost more than these small products
        return _fit(songs, targets, members, multi_label)


def _fit(songs: Songs, targets: np.ndarray, members: Sequence[Member], multi_label: bool) -> Fitted:
    groups = np.unique([member.group for member in members], return_inverse=True)[1]
    testable = ~_only_of_its_class(targets, groups, multi_label)
    scores, familiarity = np.zeros(targets.shape), np.zeros(len(songs))
    for kept, left_out in _folds(members, MOST_ALONE, FOLDS):
        inner = [members[index] for index in kept]
        head, _ = _fit_chosen([songs[i] for i in kept], targets[kept], inner, multi_label)
        for index in left_out:
            scores[index] = head.scores(songs[index]).mean(axis=0)
            familiarity[index] = head.familiarity(songs[index])
    head, strength = _fit_chosen(songs, targets, members, multi_label)
    return Fitted(head, strength, scores, familiarity, testable)


def _only_of_its_class(targets: np.ndarray, groups: np.ndarray, multi_label: bool) -> np.ndarray:
    """Returns which songs have a class that no other group has; all songs where there is one."""
    if multi_label:
        return np.full(len(targets), groups.max() == 0)
    classes = targets.argmax(axis=1)
    groups_of = [len({*groups[classes == index]}) for index in range(targets.shape[1])]
    return np.array([groups_of[index] < 2 for index in classes])


def _fit_chosen(
    songs: Songs, targets: np.ndarray, members: Sequence[Member], multi_label: bool
) -> tuple[Head, float]:
    """Returns the head of the strength that is best for left-out groups, and this strength."""
    losses = np.zeros(len(STRENGTHS))
    for kept, left_out in _folds(members, INNER_FOLDS, INNER_FOLDS):
        known = {*np.flatnonzero(targets[kept].sum(axis=0)).tolist()}
        used = [i for i in left_out if multi_label or int(targets[i].argmax()) in known]
        if not used:
            continue
        windows = np.concatenate([songs[i] for i in used])
        starts = np.cumsum([0, *(len(songs[i]) for i in used[:-1])])
        labels = targets[used] if multi_label else targets[used].argmax(axis=1)
        means = _means([songs[i] for i in kept])
        for index, head in enumerate(_path(means, targets[kept], STRENGTHS, multi_label)):
            sums = np.add.reduceat(head.scores(windows), starts, axis=0)
            scores = sums / np.diff([*starts, len(windows)])[:, None]
            loss = negative_log_likelihood(scores, labels, multi_label=multi_label)
            losses[index] += len(used) * loss
    strength = STRENGTHS[int(losses.argmin())] if losses.any() else DEFAULT_STRENGTH
    path = STRENGTHS[: STRENGTHS.index(strength) + 1]
    *_, head = _path(_means(songs), targets, path, multi_label)
    return head, strength


def _folds(
    members: Sequence[Member], most_alone: int, num_folds: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the rows that are kept and left out: each group once, alone if they are few."""
    groups = np.unique([member.group for member in members], return_inverse=True)[1]
    if groups.max() == 0:
        return
    if groups.max() < most_alone:
        folds = groups
    else:
        fold_of = assign_folds(members, num_folds, SEED)
        folds = np.array([fold_of[member.key] for member in members])
    for fold in np.unique(folds):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


def _path(
    means: np.ndarray, targets: np.ndarray, strengths: Sequence[float], multi_label: bool
) -> Iterator[Head]:
    """Yields the head of each strength, ascending: each fit starts from the one before.

    The weights are sums of examples: the fit is one of their coordinates in the space that the
    examples span, which is small and gives the same result.
    """
    mean, deviation = means.mean(axis=0), means.std(axis=0)
    deviation = deviation + DEVIATION_SHARE * max(float(deviation.mean()), DEVIATION_SHARE)
    scale = 1 / (deviation * np.sqrt(means.shape[1]))
    standard = (means - mean) * scale
    left, sizes, axes = np.linalg.svd(standard, full_matrices=False)
    weights = np.zeros((len(sizes) + 1, targets.shape[1]))
    for strength in strengths:
        weights = solve(left * sizes, targets, strength, weights, multi_label=multi_label)
        yield Head(mean, scale, axes.T @ weights[:-1], weights[-1], unit(standard), multi_label)


def solve(
    features: np.ndarray,
    targets: np.ndarray,
    strength: float,
    start: np.ndarray,
    *,
    multi_label: bool,
) -> np.ndarray:
    """Returns the weights, and in the last row the bias, (features + 1, classes), by L-BFGS.

    They minimise strength times the sum of the songs' losses plus half the sum of squares of the
    weights, without the bias.
    """
    import scipy.optimize  # slow to import, needed only here

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(start.shape)
        logits = features @ weights[:-1] + weights[-1]
        if multi_label:
            total, scores = np.logaddexp(0, logits).sum(), scipy.special.expit(logits)
        else:
            highest = logits.max(axis=1, keepdims=True)  # faster than scipy.special
            scores = np.exp(logits - highest)
            sums = scores.sum(axis=1, keepdims=True)
            total, scores = (np.log(sums) + highest).sum(), scores / sums
        slope = strength * (scores - targets)
        gradient = np.concatenate([features.T @ slope + weights[:-1], slope.sum(axis=0)[None]])
        loss = strength * (total - (targets * logits).sum()) + 0.5 * np.square(weights[:-1]).sum()
        return loss, gradient.ravel()

    options = {"maxiter": MAX_ITERATIONS, "gtol": 1e-3, "ftol": 1e-7}
    result = scipy.optimize.minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return result.x.reshape(start.shape)


def unit(rows: np.ndarray) -> np.ndarray:
    """Returns the rows with length 1."""
    return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-9)


def _means(songs: Songs) -> np.ndarray:
    return np.stack([windows.mean(axis=0) for windows in songs]).astype(np.float64)

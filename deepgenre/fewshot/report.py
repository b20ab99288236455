"""What a head is worth: accuracy on songs of other artists, with its interval, by class."""

from collections.abc import Mapping

import numpy as np

from deepgenre import log
from deepgenre.evaluation import bootstrap, genre_metrics, metrics, tag_metrics
from deepgenre.fewshot.examples import Examples
from deepgenre.inference.aggregation import UNFAMILIAR_BELOW
from deepgenre.training.logistic import FOLDS, MOST_ALONE, Fitted

SHOWN = {False: ("accuracy", "macro_f1", "loss"), True: ("roc_auc", "average_precision", "loss")}
FEW = 2  # songs of a class, below which a warning is due


def measure(fitted: Fitted, targets: np.ndarray, examples: Examples) -> dict[str, float]:
    """Returns metrics of the songs whose artist was left out, with 'NAME_low' and 'NAME_high'.

    The intervals resample artists. Where all songs are right, or none, resamples do not differ: the
    interval of the accuracy is then Wilson's for as many trials as there are artists. {} where no
    song is testable.
    """
    rows = fitted.testable
    if not rows.any():
        return {}
    labels = targets[rows] if examples.multi_label else targets[rows].argmax(axis=1)
    scores, groups = fitted.scores[rows], _groups(examples)[rows]
    results = metrics.evaluate(scores, labels, multi_label=examples.multi_label)
    compute = metrics.resampled(scores, labels, multi_label=examples.multi_label)
    spread = bootstrap.distribution(compute, bootstrap.group_indices(groups))
    for name in SHOWN[examples.multi_label]:
        results[f"{name}_low"], results[f"{name}_high"] = bootstrap.interval(spread[name])
    if results.get("accuracy") in (0.0, 1.0):
        num_artists = len({*groups})
        num_right = num_artists if results["accuracy"] else 0
        interval = metrics.wilson_interval(num_right, num_artists)
        results["accuracy_low"], results["accuracy_high"] = interval
    return results


def _groups(examples: Examples) -> np.ndarray:
    return np.array([clip.group for clip in examples.clips])


def show(
    fitted: Fitted, targets: np.ndarray, examples: Examples, results: Mapping[str, float]
) -> None:
    """Prints the metrics, how they were obtained, and a line per class."""
    testable = fitted.testable
    log.result(f"{how(examples)}, {int(testable.sum())} of {len(targets)} songs tested:")
    for name in SHOWN[examples.multi_label] if results else ():
        chance = f", chance {results[f'{name}_chance']:.3f}" if f"{name}_chance" in results else ""
        low, high = results[f"{name}_low"], results[f"{name}_high"]
        interval = (
            f"95 % interval {low:.3f} to {high:.3f}"
            if low < high
            else "no interval: the same in all resamples"
        )
        log.result(f"  {name} {results[name]:.3f} ({interval}{chance})")
    for line in _per_class(fitted, targets, examples):
        log.result(line)
    if alone := untested(fitted, targets, examples):
        log.warning(
            "not tested, as all their songs are by one artist: %s; add songs of other artists",
            ", ".join(alone),
        )
    few = [
        f"{name} ({int(count)})"
        for name, count in zip(examples.classes, targets.sum(axis=0), strict=True)
        if count < FEW
    ]
    if few:
        log.warning("fewer than %d examples of: %s", FEW, ", ".join(few))


def how(examples: Examples) -> str:
    """Returns how the scores of the songs were obtained."""
    num_groups, num_songs = len({*_groups(examples)}), len(examples.clips)
    if not examples.num_known:
        return (
            "leave-one-song-out (no artist is known: an artist's other songs make this too high; "
            "give artists in tags or a column)"
        )
    known = "" if examples.num_known == num_songs else (
        f", {num_songs - examples.num_known} songs without an artist"
    )  # fmt: skip
    way = "leave-one-artist-out" if num_groups <= MOST_ALONE else f"{FOLDS} folds by artist"
    return f"{way} ({num_groups} groups{known})"


def untested(fitted: Fitted, targets: np.ndarray, examples: Examples) -> list[str]:
    """Returns the classes all of whose songs are by one artist; of tags none."""
    return [
        name
        for name, of_class in zip(examples.classes, targets.T, strict=True)
        if not examples.multi_label and not fitted.testable[of_class == 1].any()
    ]


def class_values(
    fitted: Fitted, targets: np.ndarray, examples: Examples
) -> Mapping[str, np.ndarray]:
    """Returns figures of each class by name, see `per_class` and `per_tag`; {} without tests."""
    rows = fitted.testable
    if not rows.any():
        return {}
    if examples.multi_label:
        return tag_metrics.per_tag(fitted.scores[rows], targets[rows])
    return genre_metrics.per_class(fitted.scores[rows], targets[rows].argmax(axis=1))


def _per_class(fitted: Fitted, targets: np.ndarray, examples: Examples) -> list[str]:
    """Returns a line per class: songs, and recall, or for tags ROC-AUC and average precision."""
    width = max(map(len, examples.classes))
    counts = targets.sum(axis=0).astype(int)
    values = class_values(fitted, targets, examples)
    names = ("roc_auc", "average_precision") if examples.multi_label else ("recall", "precision")
    header = f"  {'class':<{width}}  songs  {'  '.join(names)}"
    lines = [header]
    for index, name in enumerate(examples.classes):
        cells = "  ".join(
            f"{_number(values[one][index]) if one in values else '-':>{len(one)}}" for one in names
        )
        lines.append(f"  {log.escape_controls(name):<{width}}  {counts[index]:>5}  {cells}")
    return lines


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def familiarity_line(quantiles: np.ndarray) -> str:
    """Returns from which cosine on a song is taken as one of the classes."""
    limit = float(np.quantile(quantiles, UNFAMILIAR_BELOW))
    return (
        f"'unknown': songs with a mean cosine below {limit:.3f} to their nearest examples; "
        f"{1 - UNFAMILIAR_BELOW:.0%} of the examples are above it (--unfamiliar_below)"
    )

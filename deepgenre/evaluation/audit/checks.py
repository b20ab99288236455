"""The checks of an audit: a row each, pure functions of a subject to a finding."""

from collections.abc import Callable, Sequence

import numpy as np

from deepgenre.evaluation import near_duplicates
from deepgenre.evaluation.audit import nuisances, order
from deepgenre.evaluation.audit.subject import Finding, Subject, shared, track_of

MAX_LISTED = 20  # examples in the details of a finding
COPY_COSINE = 0.9999  # of standardised features of two rows that are copies
SEPARABLE = 0.95  # area under the ROC curve of one class by a property that is not music
SEPARABLE_MEAN = 0.85  # of all classes on average
Check = Callable[[Subject], Finding]


def _unchecked(check: str, reason: str) -> Finding:
    return Finding(check, "not checked", reason)


def near_duplicate_clips(subject: Subject) -> Finding:
    """Copies of one recording: by signatures of clips, else by equal features."""
    check = "near-duplicates"
    if len(subject.bands):
        pairs = near_duplicates.find(subject.bands)
    elif subject.features is not None:
        pairs = equal_rows(subject.features)
    else:
        return _unchecked(check, "there are neither spectrograms nor features")
    if not pairs:
        return Finding(check, "ok", f"none among {len(subject.keys)} clips")
    listed, crossing, relabelled = [], 0, 0
    for pair in sorted(pairs, key=lambda pair: -pair.similarity):
        keys = subject.keys[pair.first], subject.keys[pair.second]
        own_parts = {subject.parts.get(key, "") for key in keys} - {""}
        crossing += len(own_parts) == 2
        differs = bool(subject.labels) and subject.labels[pair.first] != subject.labels[pair.second]
        relabelled += differs
        listed.append({"clips": keys, "similarity": round(pair.similarity, 3)})
    groups = near_duplicates.groups(pairs)
    text = (
        f"{len(pairs)} pairs in {len(groups)} groups, of {len(subject.keys)} clips; {crossing} "
        f"pairs are in two parts, {relabelled} have different labels; keep one clip of a group, or "
        "a group in one part"
    )
    harmless = bool(subject.parts) and not crossing and not relabelled
    named = [[subject.keys[index] for index in group] for group in groups]
    return Finding(
        check, "note" if harmless else "warning", text, {"pairs": listed, "groups": named}
    )


def equal_rows(features: np.ndarray) -> list[near_duplicates.Pair]:
    """Returns the pairs of rows whose standardised features are equal but for rounding."""
    scale = features.std(axis=0)
    rows = ((features - features.mean(axis=0))[:, scale > 0] / scale[scale > 0]).astype(np.float32)
    if rows.shape[1] < 2:  # any two rows of one feature have a cosine of 1
        return []
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    pairs = []
    for start in range(0, len(rows), near_duplicates.ROWS):
        cosines = rows[start : start + near_duplicates.ROWS] @ rows.T
        for first, second in np.argwhere(cosines > COPY_COSINE).tolist():
            if start + first < second:
                cosine = min(float(cosines[first, second]), 1.0)
                pairs.append(near_duplicates.Pair(start + first, second, cosine))
    return pairs


def shared_artists(subject: Subject) -> Finding:
    """Artists, or other groups, that are in two parts."""
    if not any(
        name and name != key for name, key in zip(subject.groups, subject.keys, strict=False)
    ):
        return _unchecked(
            "shared artists", "the artists, or other groups, of the clips are unknown"
        )
    return _shared(subject, "shared artists", subject.groups, "an artist or group")


def shared_tracks(subject: Subject) -> Finding:
    """Tracks of which clips are in two parts, by the names of the clips."""
    check = "shared tracks"
    tracks = [track_of(key) for key in subject.keys]
    num_segments = sum(track != key for track, key in zip(tracks, subject.keys, strict=True))
    if len({*tracks}) == len(tracks):
        return Finding(check, "ok", "each name is a track of its own")
    if not subject.parts:
        text = (
            f"{num_segments} of {len(tracks)} clips are segments of {len({*tracks})} tracks, and "
            "no parts are given; keep a track in one part"
        )
        return Finding(check, "warning", text)
    return _shared(subject, check, tracks, "a track")


def _shared(subject: Subject, check: str, names: Sequence[str], what: str) -> Finding:
    if not subject.parts:
        return _unchecked(check, "no parts are given")
    counts = shared(names, [subject.parts.get(key, "") for key in subject.keys])
    worst = {pair: count for pair, count in counts.items() if count["shared"]}
    if not worst:
        return Finding(check, "ok", f"no two parts share {what}", {"parts": counts})
    shares = "; ".join(
        f"{count['shared']} of {count['clips']} clips of {pair.split(', ')[1]} share {what} with "
        f"{pair.split(', ')[0]}"
        for pair, count in worst.items()
    )
    return Finding(check, "warning", f"{shares}; use a split by groups", {"parts": counts})


def file_order(subject: Subject) -> Finding:
    """Labels that the position in the file or batch tells, and features that depend on it."""
    check = "file order"
    labels = [" ".join(own) for own in subject.labels] or [""] * len(subject.keys)
    by_neighbour = order.neighbour_accuracy(labels) if subject.labels else 0.0
    chance = max(map(labels.count, {*labels})) / len(labels)
    sorted_by_class = by_neighbour > max(0.9, (1 + chance) / 2)
    told = f"the label of the row before is right for {by_neighbour:.0%} of the rows"
    if subject.features is None:
        text = f"{told}: statistics over consecutive clips, as of batch norm, would carry labels"
        return Finding(
            check, "note" if sorted_by_class else "ok", text if sorted_by_class else told
        )
    effect = order.batch_effect(subject.features, labels)
    if effect is None:
        return Finding(check, "ok", f"features do not depend on the position in a batch; {told}")
    details: dict[str, object] = {"batch_size": effect.batch_size, "p": effect.p}
    text = f"features depend on the batch: batches of {effect.batch_size} rows"
    text += " have equal means" if effect.is_normalised else f", p {effect.p:.0e}"
    if len({*labels}) > 1:
        batches = order.batches_of(effect, labels)
        at_random = order.probe(subject.features, labels)
        by_batch = order.probe(subject.features, labels, batches)
        details |= {"probe": at_random, "probe_of_held_out_batches": by_batch, "chance": chance}
        text += (
            f"; a linear probe scores {at_random:.2f} with rows held out at random and "
            f"{by_batch:.2f} with whole batches (chance {chance:.2f})"
        )
    text += "; extract the features again with fixed statistics"
    return Finding(check, "warning", text, details)


def separable_by(check: str, name: str) -> Check:
    """Returns the check whether the nuisance `name` alone tells the classes apart."""

    def run(subject: Subject) -> Finding:
        if name not in subject.nuisances or not subject.labels:
            return _unchecked(check, f"the {name} of the clips is unknown")
        found = nuisances.separability(subject.nuisances[name], subject.labels, subject.groups)
        if found is None:
            return _unchecked(check, "too few clips of each class")
        separable = found.best >= SEPARABLE or found.mean >= SEPARABLE_MEAN
        text = (
            f"{name} alone gives a ROC AUC of {found.mean:.2f} over {found.classes} classes, at "
            f"best {found.best:.2f} for {found.best_class} (chance 0.50)"
        )
        if separable:
            text += "; equalise it, or report how a network scores on equalised clips"
        details = {"roc_auc": found.mean, "best": found.best, "best_class": found.best_class}
        return Finding(check, "warning" if separable else "ok", text, details)

    return run


def consulted_test(subject: Subject) -> Finding:
    """How often, and with how many weights, the test part was evaluated."""
    check = "test part consulted"
    count, weights = len(subject.consultations), {one.weights for one in subject.consultations}
    if not count:
        return _unchecked(check, "there is no ledger of evaluations")
    text = f"{count} times, with {len(weights)} different weights"
    if len(weights) <= 1:
        return Finding(check, "ok", text)
    text += "; a choice among them by these scores is biased: choose on valid"
    return Finding(check, "note" if len(weights) <= 5 else "warning", text)


CHECKS: tuple[Check, ...] = (
    near_duplicate_clips,
    shared_artists,
    shared_tracks,
    file_order,
    separable_by("silence alone", "silence"),
    separable_by("bandwidth alone", "bandwidth"),
    separable_by("coding alone", "coding"),
    consulted_test,
)

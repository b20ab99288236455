"""Parts (train, valid, test) and classes of a prepared dataset, as its config selects them.

`splits` assigns keys to parts; the functions here apply the split of a config to the rows of the
store, for training and for evaluation.

In cross-validation (`config.folds`), the clips of all parts but 'test' are divided into folds, and
the run of fold i has the parts 'held_out' (fold i), 'valid' and 'train': the other folds, divided
again. Early stopping and the choice of the checkpoint use 'valid', never the held-out fold. Groups
(artists, recordings) are whole in every part.
"""

import hashlib
from collections.abc import Sequence

from deepgenre.data import classes as class_names
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.folds import assign_folds
from deepgenre.data.settings import DataSettings
from deepgenre.data.splits import Parts, as_given
from deepgenre.data.store import Row
from deepgenre.errors import UserError, look_up

Split = dict[str, list[Row]]
VALIDATION_FOLDS = 8  # one of so many of a run's clips is 'valid': an eighth
# Splits that assign a clip by what the other clips are; those not listed look at each clip alone.
RANDOM = ("paper_random", "group_random")


def choose_classes(config: DataSettings, rows: Sequence[Row], multi_label: bool) -> tuple[str, ...]:
    """Returns the classes: all labels sorted by name, or the `top_tags` most frequent tags.

    Raises:
      UserError: all labels are to be classes, and the data has fewer than two.
    """
    if multi_label and config.top_tags:
        return class_names.most_frequent(rows, config.top_tags)
    names = class_names.all_labels(rows)
    if len(names) < 2:
        raise UserError(
            f"the data has only one class ({', '.join(names)}); two or more are required"
        )
    return names


def split_in_use(config: DataSettings, rows: Sequence[Row]) -> str:
    """Returns the name of the config's split; of 'given_or_random', the one that it is here."""
    if config.split != "given_or_random":
        return config.split
    return "as_given" if any(row.split for row in rows) else "group_random"


def split_rows(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    """Returns the rows of each part of the config's split, or of the run of its fold.

    Raises:
      UserError: the dataset has no such split, or the split cannot be made.
    """
    return _of_fold(config, _whole_split(config, rows, names, multi_label))


def _whole_split(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    split = look_up(dataset_kind(config.dataset).splits, config.split, "config.split")
    kept = _kept(config, rows, names, multi_label)
    return _rows_of(split(kept, config.seed), kept)


def _kept(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Sequence[Row]:
    return _tagged(rows, names) if multi_label and not config.keep_untagged else rows


def division(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> str:
    """Returns a digest of the clips that a random split, or folds, divide; '' of other splits.

    Where a clip, a label or a group is another, so is the split: its parts then say nothing about
    the clips that a run was trained on.
    """
    if split_in_use(config, rows) not in RANDOM and config.fold < 0:
        return ""
    kept = _kept(config, rows, names, multi_label)
    clips = sorted((row.key, row.group, *sorted(row.labels)) for row in kept)
    return hashlib.sha256(repr(clips).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _of_fold(config: DataSettings, parts: Split) -> Split:
    """Returns the parts of the run of the config's fold; all parts where it has none."""
    if config.fold < 0:
        return parts
    return fold_parts(pool(parts), config.folds, config.fold, config.seed)


def parts_for_evaluation(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    """Returns the rows of each part: of the config's split, and of the author's where it has none.

    Weights of a fold also have the test part of the split, which no fold contains.

    Raises:
      UserError: the dataset has no such split, or the split cannot be made.
    """
    parts = _whole_split(config, rows, names, multi_label)
    test = {"test": parts["test"]} if "test" in parts else {}
    given = _rows_of(as_given(rows, config.seed), rows) if any(row.split for row in rows) else {}
    return {**given, **test, **_of_fold(config, parts)}


def pool(parts: Split) -> list[Row]:
    """Returns the clips that cross-validation divides: of all parts but 'test', sorted by key."""
    used = [row for part, rows in parts.items() if part != "test" for row in rows]
    return sorted(used, key=lambda row: row.key)


def fold_parts(rows: Sequence[Row], num_folds: int, fold: int, seed: int) -> Split:
    """Returns the parts 'train', 'valid' and 'held_out' of the run of one fold.

    Raises:
      UserError: there are fewer groups than folds, or too few for a validation part.
    """
    fold_of = assign_folds(rows, num_folds, seed)
    rest = [row for row in rows if fold_of[row.key] != fold]
    num_groups = len({row.group for row in rest})
    inner = assign_folds(rest, min(VALIDATION_FOLDS, num_groups), seed)
    return {
        "train": [row for row in rest if inner[row.key] > 0],
        "valid": [row for row in rest if inner[row.key] == 0],
        "held_out": [row for row in rows if fold_of[row.key] == fold],
    }


def _rows_of(parts: Parts, rows: Sequence[Row]) -> Split:
    by_key = {row.key: row for row in rows}
    return {part: [by_key[key] for key in keys] for part, keys in parts.items()}


def _tagged(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    classes = set(names)
    return [row for row in rows if classes.intersection(row.labels)]

"""Parts (train, valid, test) and classes of a prepared dataset, as its config selects them.

`splits` assigns keys to parts; the functions here apply the split of a config to the rows of the
store, for training and for evaluation.

In cross-validation (`config.folds`), the clips of all parts but 'test' are divided into folds, and
the run of fold i has the parts 'held_out' (fold i), 'valid' and 'train': the other folds, divided
again. Early stopping and the choice of the checkpoint use 'valid', never the held-out fold. Groups
(artists, recordings) are whole in every part.
"""

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
DEFAULT_PARTS = ("held_out", "test", "valid")  # evaluated by default: the first that exists


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


def split_rows(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    """Returns the rows of each part of the config's split, or of the run of its fold.

    Raises:
      UserError: the dataset has no such split, or the split cannot be made.
    """
    parts = _whole_split(config, rows, names, multi_label)
    fold = getattr(config, "fold", -1)  # weights of earlier versions have no such field
    return fold_parts(pool(parts), config.folds, fold, config.seed) if fold >= 0 else parts


def test_rows(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> list[Row]:
    """Returns the test part of the config's split, also of cross-validated weights; or []."""
    return _whole_split(config, rows, names, multi_label).get("test", [])


def _whole_split(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool
) -> Split:
    split = look_up(dataset_kind(config.dataset).splits, config.split, "config.split")
    kept = _tagged(rows, names) if multi_label and not config.keep_untagged else rows
    return _rows_of(split(kept, config.seed), kept)


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


def part_rows(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool, part: str
) -> list[Row]:
    """Returns the rows of one part, for evaluation.

    The part is one of the config's split or, failing that, one assigned by the dataset's author.
    '' is the first of DEFAULT_PARTS that the split has; 'all' is every clip.

    Raises:
      UserError: a clip has a label that is not among the classes `names`, or the part is unknown.
    """
    for row in rows:
        if not multi_label and not set(row.labels) <= set(names):
            raise UserError(
                f"{row.key}: label {row.labels[0]!r} is not among the classes of these weights: "
                f"{', '.join(names)}"
            )
    if part == "all":
        return list(rows)
    parts = split_rows(config, rows, names, multi_label)
    if part not in parts and any(row.split for row in rows):
        parts = {**_rows_of(as_given(rows, config.seed), rows), **parts}
    default = next((name for name in DEFAULT_PARTS if name in parts), "valid")
    return look_up(parts, part or default, "--eval_split")


def _rows_of(parts: Parts, rows: Sequence[Row]) -> Split:
    by_key = {row.key: row for row in rows}
    return {part: [by_key[key] for key in keys] for part, keys in parts.items()}


def _tagged(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    classes = set(names)
    return [row for row in rows if classes.intersection(row.labels)]

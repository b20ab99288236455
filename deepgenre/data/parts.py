"""Parts (train, valid, test) and classes of a prepared dataset, as its config selects them.

`splits` assigns keys to parts; the functions here apply the split of a config to the rows of the
store, for training and for evaluation.
"""

from collections.abc import Sequence

from deepgenre import log
from deepgenre.data import classes as class_names
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.settings import DataSettings
from deepgenre.data.splits import Parts, as_given
from deepgenre.data.store import Row
from deepgenre.errors import UserError, look_up

Split = dict[str, list[Row]]


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
    """Returns the rows of each part of the config's split.

    Raises:
      UserError: the dataset has no such split, or the split cannot be made.
    """
    split = look_up(dataset_kind(config.dataset).splits, config.split, "config.split")
    kept = _tagged(rows, names) if multi_label and not config.keep_untagged else rows
    return _rows_of(split(kept, config.seed), kept)


def part_rows(
    config: DataSettings, rows: Sequence[Row], names: Sequence[str], multi_label: bool, part: str
) -> list[Row]:
    """Returns the rows of one part, for evaluation.

    The part is one of the config's split or, failing that, one assigned by the dataset's author.
    '' is 'test' where the split has it, else 'valid'; 'all' is every clip.

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
    part = part or ("test" if "test" in parts else "valid")
    chosen = look_up(parts, part, "--eval_split")
    num_trained = len(trained_on(config, chosen, rows, names, multi_label))
    if num_trained and part != "train":
        log.warning(
            "--eval_split: the weights were trained on %d of the %d clips of part %r: results on "
            "other clips are worse",
            num_trained,
            len(chosen),
            part,
        )
    return chosen


def trained_on(
    config: DataSettings,
    chosen: Sequence[Row],
    rows: Sequence[Row],
    names: Sequence[str],
    multi_label: bool,
) -> list[Row]:
    """Returns those of the chosen rows that are in the training part of the config's split."""
    train = {row.key for row in split_rows(config, rows, names, multi_label).get("train", [])}
    return [row for row in chosen if row.key in train]


def _rows_of(parts: Parts, rows: Sequence[Row]) -> Split:
    by_key = {row.key: row for row in rows}
    return {part: [by_key[key] for key in keys] for part, keys in parts.items()}


def _tagged(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    classes = set(names)
    return [row for row in rows if classes.intersection(row.labels)]

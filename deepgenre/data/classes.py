"""Class names of a dataset, and the encoding of a clip's labels as numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from deepgenre.data.splits import Member
from deepgenre.errors import UserError, unknown_name


def most_frequent(members: Sequence[Member], count: int) -> tuple[str, ...]:
    """Returns the `count` labels with the most clips, most frequent first, ties by name.

    Returns fewer where fewer exist.

    Raises:
      UserError: `count` is below 1.
    """
    if count < 1:
        raise UserError(f"num_classes: must be 1 or more, is {count}")
    clips = Counter(name for member in members for name in set(member.labels))
    return tuple(sorted(clips, key=lambda name: (-clips[name], name))[:count])


def all_labels(members: Sequence[Member]) -> tuple[str, ...]:
    """Returns all labels of the clips, sorted by name."""
    return tuple(sorted({name for member in members for name in member.labels}))


def encode(labels: Sequence[str], classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """Returns a clip's labels as numbers, in the order of `classes`.

    Multi-label: uint8 (classes,), 1 where the clip has the tag; tags outside `classes` are ignored.
    Single-label: int32 (), the index of the only label.

    Raises:
      UserError: single-label, and the clip has no label, several, or one not in `classes`.
    """
    if multi_label:
        return np.array([name in labels for name in classes], np.uint8)
    if len(labels) != 1:
        raise UserError(
            f"labels: a clip must have exactly one, has {list(labels)}; remove the others"
        )
    if labels[0] not in classes:
        raise unknown_name("label", labels[0], classes)
    return np.array(classes.index(labels[0]), np.int32)

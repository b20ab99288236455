"""Folds for cross-validation: a pure function of the clips and a seed."""

from collections.abc import Sequence

from deepgenre.data.splits import Member, distribute_groups
from deepgenre.errors import UserError


def assign_folds(members: Sequence[Member], num_folds: int, seed: int) -> dict[str, int]:
    """Returns the fold, 0 to num_folds - 1, of each clip by key.

    Clips of one group (artist or recording) share a fold. Folds have about the same number of clips
    of each label, as far as whole groups allow: see `splits.group_random`. The folds do not depend
    on the order of the clips.

    Raises:
      UserError: there are fewer than two folds, or fewer groups than folds.
    """
    if num_folds < 2:
        raise UserError(f"folds: cross-validation needs 2 or more, is {num_folds}")
    num_groups = len({member.group for member in members})
    if num_groups < num_folds:
        raise UserError(
            f"folds: {num_folds} folds need as many groups (artists or recordings), and the data "
            f"has {num_groups}; use fewer folds"
        )
    fold_of = distribute_groups(members, dict.fromkeys(range(num_folds), 1 / num_folds), seed)
    return {
        member.key: fold_of[member.group] for member in sorted(members, key=lambda one: one.key)
    }

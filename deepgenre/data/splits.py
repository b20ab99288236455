"""Splits of a dataset into parts (train, valid, test): pure functions of the clips and a seed.

A split returns {part: sorted keys}. It does not depend on the order of the clips. Empty parts are
left out, so that looking one up is an error.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from deepgenre.errors import UserError

P = TypeVar("P")


class Member(Protocol):
    """The attributes of a clip that a split may use."""

    @property
    def key(self) -> str:
        """Unique within the dataset."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Genre or tags, by name."""
        ...

    @property
    def group(self) -> str:
        """Artist or recording."""
        ...

    @property
    def split(self) -> str:
        """Part assigned by the dataset's author; '' where none is given."""
        ...


Parts = dict[str, list[str]]
SplitFunction = Callable[[Sequence[Member], int], Parts]  # (members, seed) -> parts
Tally = Counter[str | None]  # clips by label; None counts the clips themselves

GROUP_FRACTIONS = {"train": 0.7, "valid": 0.15, "test": 0.15}


def by_part(members: Sequence[Member], part_of: Callable[[Member], str]) -> Parts:
    """Returns the parts that `part_of` assigns to clips; '' leaves a clip out."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member.key):
        if name := part_of(member):
            parts[name].append(member.key)
    return dict(parts)


def as_given(members: Sequence[Member], seed: int) -> Parts:
    """Returns the parts assigned by the dataset's author; clips without a part are left out.

    Raises:
      UserError: no clip has a part.
    """
    parts = by_part(members, lambda member: member.split)
    if not parts:
        raise UserError("split: 'as_given', but the data defines no parts; choose another split")
    return parts


def random_fractions(
    cuts: Mapping[str, float], *, rest: str, stratify: bool = False
) -> SplitFunction:
    """Returns a split of clips at random, regardless of groups: artists leak between its parts.

    Each of `cuts` in turn takes ceil(fraction * clips left), rounded as by scikit-learn; `rest`
    takes the remainder. With `stratify`, each label (or set of labels) is divided in the same
    proportion, to within a clip or two. The split raises UserError where a part would be empty.
    """

    def split(members: Sequence[Member], seed: int) -> Parts:
        left = _shuffled(members, seed, stratify)
        parts: Parts = {}
        for name, fraction in cuts.items():
            # Rounded first: 0.07 * 100 is a little above 7.
            count = math.ceil(round(fraction * len(left), 6))
            parts[name], left = left[:count], left[count:]
        parts[rest] = left
        if not all(parts.values()):
            raise UserError(
                f"split: {len(members)} clips are too few for {', '.join(parts)}; add clips"
            )
        return {name: sorted(keys) for name, keys in parts.items()}

    return split


def group_random(members: Sequence[Member], seed: int) -> Parts:
    """Returns train, valid and test (0.7, 0.15, 0.15 of the clips) with no group in two parts.

    Labels are distributed as evenly as whole groups allow: each group, larger ones first, is
    assigned to the part with the largest deficit of its labels. This is the greedy scheme of
    iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011), applied to groups.

    Raises:
      UserError: there are fewer groups than parts.
    """
    num_groups = len({member.group for member in members})
    if num_groups < len(GROUP_FRACTIONS):
        raise UserError(
            f"split: 'group_random' needs {len(GROUP_FRACTIONS)} groups (artists or recordings) or "
            f"more, and the data has {num_groups}; choose another split"
        )
    part_of = distribute_groups(members, GROUP_FRACTIONS, seed)
    return by_part(members, lambda member: part_of[member.group])


def distribute_groups(
    members: Sequence[Member], fractions: Mapping[P, float], seed: int
) -> dict[str, P]:
    """Returns a part for each group, so that each part has about its fraction of each label.

    `fractions`: of the clips, by part. No part is empty where there are as many groups as parts.
    """
    tallies = _tallies(members)
    totals: Tally = Counter()
    for tally in tallies.values():
        totals.update(tally)
    deficits = {
        part: {label: fraction * total for label, total in totals.items()}
        for part, fraction in fractions.items()
    }
    empty = list(fractions)
    part_of: dict[str, P] = {}
    for group in _larger_first(tallies, seed):
        groups_left = len(tallies) - len(part_of)
        open_parts = empty if groups_left <= len(empty) else list(fractions)
        demands = [_demand(deficits[part], tallies[group], totals) for part in open_parts]
        part = part_of[group] = open_parts[demands.index(max(demands))]
        for label, count in tallies[group].items():
            deficits[part][label] -= count
        empty = [name for name in empty if name != part]
    return part_of


def _shuffled(members: Sequence[Member], seed: int, stratify: bool) -> list[str]:
    """Returns the keys in random order; with `stratify`, each label is spread evenly over it."""
    ordered = sorted(members, key=lambda member: member.key)
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = [ordered[i] for i in rng.permutation(len(ordered))]
    if not stratify:
        return [member.key for member in shuffled]
    # Clips of each label are placed at even distances from 0 to 1, then all are sorted.
    totals = Counter(member.labels for member in shuffled)
    seen: Counter[tuple[str, ...]] = Counter()
    spread: list[tuple[float, int, str]] = []
    for index, member in enumerate(shuffled):
        seen[member.labels] += 1
        position = (seen[member.labels] - 0.5) / totals[member.labels]
        spread.append((position, index, member.key))
    return [key for _, _, key in sorted(spread)]


def _tallies(members: Sequence[Member]) -> dict[str, Tally]:
    """Returns the number of clips per label of each group."""
    tallies: defaultdict[str, Tally] = defaultdict(Counter)
    for member in members:
        tallies[member.group].update([None, *set(member.labels)])
    return dict(tallies)


def _larger_first(tallies: Mapping[str, Tally], seed: int) -> list[str]:
    """Returns the groups by size rounded to powers of two, shuffled by the seed within a size."""
    names = sorted(tallies)
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = [names[i] for i in rng.permutation(len(names))]
    return sorted(shuffled, key=lambda name: -tallies[name][None].bit_length())


def _demand(deficit: Mapping[str | None, float], tally: Tally, totals: Tally) -> float:
    """Returns the demand of a part, given its deficit of clips per label, for a group."""
    # fsum: the rounding of a plain sum depends on the order, here a set's, and would break ties.
    return math.fsum(count * deficit[label] / totals[label] for label, count in tally.items())

"""Who trains and who is held out: pure functions of the clips and a seed.

A split returns {part: sorted keys}. It depends on what the clips are, never on the order in which
they come, and a part that would hold no clip is left out, so that a look-up can say so.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from deepgenre.errors import UserError

T = TypeVar("T")


class Member(Protocol):
    """What a split may know of a clip."""

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
        """The part that the dataset's author put it in; '' where none is given."""
        ...


Parts = dict[str, list[str]]
Split = Callable[[Sequence[Member], int], Parts]
Tally = Counter[str | None]  # clips by label; None counts the clips themselves

GROUP_FRACTIONS = {"train": 0.7, "valid": 0.15, "test": 0.15}


def by_part(members: Sequence[Member], part: Callable[[Member], str]) -> Parts:
    """Returns the parts that `part` says, clip by clip; '' leaves a clip out."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member.key):
        if name := part(member):
            parts[name].append(member.key)
    return dict(parts)


def as_given(members: Sequence[Member], seed: int) -> Parts:
    """Returns the parts that the data's author named; clips without one are left out.

    Raises:
      UserError: no clip has one.
    """
    parts = by_part(members, lambda member: member.split)
    if not parts:
        raise UserError("split: 'as_given', but the data names no parts; choose another split")
    return parts


def random_fractions(cuts: Mapping[str, float], *, rest: str, stratify: bool = False) -> Split:
    """Returns a split that cuts clips at random, whatever their group: it leaks, so name it so.

    Each cut in turn takes ceil(fraction * what is left), rounded as scikit-learn rounds; `rest`
    gets what remains. With `stratify` each label (or set of labels) is cut in the same proportion,
    to within a clip or two. The split raises UserError where a part would be empty.
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
    """Returns train, valid and test (0.7, 0.15, 0.15 of the clips) with no group on two sides.

    Labels are spread as evenly as whole groups allow: groups, larger ones first, go one by one to
    the part that lacks most of what they hold. The greedy scheme is that of iterative
    stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011), with groups for examples.

    Raises:
      UserError: there are fewer groups than parts.
    """
    tallies = _tallies(members)
    if len(tallies) < len(GROUP_FRACTIONS):
        raise UserError(
            f"split: 'group_random' needs {len(GROUP_FRACTIONS)} groups (artists or recordings) or "
            f"more, and the data has {len(tallies)}; choose another split"
        )
    totals: Tally = Counter()
    for tally in tallies.values():
        totals.update(tally)
    lacking = {
        part: {label: fraction * total for label, total in totals.items()}
        for part, fraction in GROUP_FRACTIONS.items()
    }
    empty = list(GROUP_FRACTIONS)
    part_of: dict[str, str] = {}
    for group in _larger_first(tallies, seed):
        groups_left = len(tallies) - len(part_of)
        open_parts = empty if groups_left <= len(empty) else list(GROUP_FRACTIONS)
        needs = [_need(lacking[part], tallies[group], totals) for part in open_parts]
        part = part_of[group] = open_parts[needs.index(max(needs))]
        for label, count in tallies[group].items():
            lacking[part][label] -= count
        empty = [name for name in empty if name != part]
    return by_part(members, lambda member: part_of[member.group])


def _shuffled(members: Sequence[Member], seed: int, stratify: bool) -> list[str]:
    """Returns the keys in an order of which every stretch is a random sample of all."""
    ordered = sorted(members, key=lambda member: member.key)
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = [ordered[i] for i in rng.permutation(len(ordered))]
    if not stratify:
        return [member.key for member in shuffled]
    # The clips of each label are set down at even distances from 0 to 1.
    totals = Counter(member.labels for member in shuffled)
    seen: Counter[tuple[str, ...]] = Counter()
    spread: list[tuple[float, int, str]] = []
    for place, member in enumerate(shuffled):
        seen[member.labels] += 1
        position = (seen[member.labels] - 0.5) / totals[member.labels]
        spread.append((position, place, member.key))
    return [key for _, _, key in sorted(spread)]


def _tallies(members: Sequence[Member]) -> dict[str, Tally]:
    """Returns for each group how many of its clips carry each label."""
    tallies: defaultdict[str, Tally] = defaultdict(Counter)
    for member in members:
        tallies[member.group].update([None, *set(member.labels)])
    return dict(tallies)


def _larger_first(tallies: Mapping[str, Tally], seed: int) -> list[str]:
    """Returns the groups by size to the power of two; within such a class the seed decides."""
    names = sorted(tallies)
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = [names[i] for i in rng.permutation(len(names))]
    return sorted(shuffled, key=lambda name: -tallies[name][None].bit_length())


def _need(lacking: Mapping[str | None, float], tally: Tally, totals: Tally) -> float:
    """Returns how much a part that lacks so many clips of each label needs a group."""
    # A plain sum's rounding depends on the order, here a set's, and decides between equal parts.
    return math.fsum(count * lacking[label] / totals[label] for label, count in tally.items())

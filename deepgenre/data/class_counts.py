"""Counts of clips per class, and warnings of classes that are probably not what was meant."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from deepgenre.data.splits import Member

FEWEST = 2  # clips of a class in a part, below which a warning is due
MOST_LISTED = 60  # classes in the line of counts
MOST_NAMED = 8  # classes in a warning
PARTS = ("train", "valid", "test", "held_out")  # the last in cross-validation


def counts_line(members: Sequence[Member], classes: Sequence[str] = ()) -> str:
    """Returns '2: rock 60, jazz 58': clips per class, the most frequent first.

    classes: by default, all labels.
    """
    counts = Counter(dict.fromkeys(classes, 0))
    for member in members:
        counts.update(label for label in member.labels if not classes or label in counts)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{name} {count}" for name, count in ordered[:MOST_LISTED])
    rest = len(ordered) - MOST_LISTED
    more = f", and {rest} more, the rarest with {ordered[-1][1]}" if rest > 0 else ""
    untagged = sum(not any(label in counts for label in member.labels) for member in members)
    return f"{len(ordered)}: {listed}{more}" + (
        f"; {untagged} clips without a class" if untagged else ""
    )


def name_warnings(labels: Collection[str]) -> list[str]:
    """Returns one line per kind of suspicious names: numbers, and names that differ in case only.

    Spaces, '-' and '_' count as the same, or none, as do the two ways to write an accent.
    """
    warnings = []
    numbers = sorted(label for label in labels if label.isdecimal())
    if numbers:
        warnings.append(
            f"classes that look like numbers of folders: {_listed(numbers)}; a class is the name "
            "of a folder directly below --data_dir"
        )
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        plain = unicodedata.normalize("NFKC", label).casefold()
        alike["".join(c for c in plain if c not in " \t-_")].append(label)
    for names in alike.values():
        if len(names) > 1:
            warnings.append(
                f"classes that differ in case, spaces or hyphens only: {_listed(names)}; rename "
                "them where they are the same"
            )
    return warnings


def part_warnings(parts: Mapping[str, Sequence[Member]], classes: Sequence[str]) -> list[str]:
    """Returns one line per part that has fewer than two clips of a class, or is never used."""
    warnings = []
    for part in PARTS:
        if part not in parts:
            continue
        counts = Counter(label for member in parts[part] for label in member.labels)
        rare = [f"{name!r} ({counts[name]})" for name in classes if counts[name] < FEWEST]
        if rare:
            warnings.append(
                f"part {part!r} has fewer than {FEWEST} clips of {len(rare)} of {len(classes)} "
                f"classes: {_joined(rare)}; add clips of them, or leave them out"
            )
    others = [f"{part!r} ({len(rows)} clips)" for part, rows in parts.items() if part not in PARTS]
    if others:
        warnings.append(
            f"parts that training does not use: {_joined(others)}; it uses {', '.join(PARTS)}"
        )
    return warnings


def _listed(names: Sequence[str]) -> str:
    return _joined([repr(name) for name in names])


def _joined(texts: Sequence[str]) -> str:
    rest = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")

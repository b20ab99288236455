"""Which labels of a dataset are which classes of the weights, by name or by a mapping."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from deepgenre import log
from deepgenre.data.store import Row
from deepgenre.errors import UserError


@dataclasses.dataclass(frozen=True)
class Matching:
    """The class of each label of a dataset."""

    class_of: dict[str, str]  # by label, most frequent label first; '' where no class matches
    clips: dict[str, int]  # number of clips of each label

    @property
    def unmatched(self) -> list[str]:
        """The labels that no class matches."""
        return [label for label, name in self.class_of.items() if not name]


def match(
    rows: Sequence[Row], classes: Sequence[str], mapping: Mapping[str, str] | None = None
) -> Matching:
    """Returns the class of each label of the rows.

    mapping: class by label in lower case, '' leaves the label out. Labels that it lacks match the
    class of the same name or, failing that, of the same letters and digits ('Hip-Hop' and
    'hiphop'), unless several do. Raises UserError where the mapping names an unknown class.
    """
    given = mapping or {}
    unknown = sorted({name for name in given.values() if name} - {*classes})
    if unknown:
        raise UserError(
            f"--mapping: {unknown[0]!r} is no class of these weights; known: {', '.join(classes)}; "
            "write lines 'label of the dataset = class'"
        )
    clips = Counter(label for row in rows for label in row.labels)
    spellings = Counter(map(_letters, classes))
    by_letters = {_letters(name): name for name in classes if spellings[_letters(name)] == 1}

    def class_of(label: str) -> str:
        if label.casefold() in given:
            return given[label.casefold()]
        return label if label in classes else by_letters.get(_letters(label), "")

    labels = sorted(clips, key=lambda label: (-clips[label], label))
    return Matching({label: class_of(label) for label in labels}, dict(clips))


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold()) or name


def apply(rows: Sequence[Row], matching: Matching) -> list[Row]:
    """Returns the rows with classes as labels; labels without a class are left out."""
    return [
        dataclasses.replace(
            row,
            labels=tuple(
                dict.fromkeys(filter(None, map(matching.class_of.__getitem__, row.labels)))
            ),
        )
        for row in rows
    ]


def log_table(matching: Matching, classes: Sequence[str]) -> None:
    """Prints what matched, a line per label, and the classes that no label matches."""
    matched = len(matching.class_of) - len(matching.unmatched)
    log.info("classes: %d of %d labels of the data matched", matched, len(matching.class_of))
    width = max(map(len, matching.class_of), default=0)
    for label, name in matching.class_of.items():
        clips = matching.clips[label]
        log.info(
            "  %s  %s  (%s)",
            *(label.ljust(width), f"= {name}" if name else "-", log.counted(clips, "clip")),
        )
    absent = [name for name in classes if name not in matching.class_of.values()]
    if absent:
        log.info("classes of the weights without a label: %s", ", ".join(absent))

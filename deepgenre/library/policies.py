"""What becomes of the values that a field of a file has already: policies, and values taken back.

    fill     only a field without values gets the predicted ones
    add      predicted values follow those of the field
    replace  predicted values take their place

Values that deepgenre wrote before are not the owner's: they are set aside first, so that those no
longer predicted are taken back, and what they replaced returns.
"""

import dataclasses
from pathlib import Path

from deepgenre.library.file_tags import Change, Combine
from deepgenre.library.tag_fields import Values

OWN_FIELD = "tags"  # deepgenre's own, which nothing else writes


def _fill(owned: Values, predicted: Values) -> Values:
    return owned or predicted


def _add(owned: Values, predicted: Values) -> Values:
    present = {value.casefold() for value in owned}
    return (*owned, *(value for value in predicted if value.casefold() not in present))


def _replace(owned: Values, predicted: Values) -> Values:
    return predicted or owned


POLICIES = {"fill": _fill, "add": _add, "replace": _replace}


@dataclasses.dataclass(frozen=True)
class Tagging:
    """How predicted classes are written into files; '' and None are defaults."""

    field: str = ""  # genre, grouping, mood, comment or tags
    policy: str = ""  # of POLICIES
    mapping: Path | None = None  # file of names for classes, see `mapping`
    descriptor_policy: str = ""  # of tempo, key and gain: fill, or replace where that is chosen
    mood_policy: str = ""  # of moods beside the field


def resolve(tagging: Tagging, *, multi_label: bool, moods: bool = False) -> Tagging:
    """Returns the tagging with its defaults: genre for genres, mood for moods, own field for tags.

    Own tags are replaced; fields that belong to the owner are only filled. Nothing is added to
    numbers.
    """
    of_labels = "mood" if moods else OWN_FIELD if multi_label else "genre"
    field = tagging.field or of_labels
    policy = tagging.policy or ("replace" if field == OWN_FIELD else "fill")
    of_descriptors = "replace" if tagging.policy == "replace" else "fill"
    return dataclasses.replace(
        tagging,
        field=field,
        policy=policy,
        descriptor_policy=of_descriptors,
        mood_policy=tagging.policy or "fill",
    )


def combine(policy: str, predicted: Values, earlier: Change | None) -> Combine:
    """Returns the function from a field's values to those that it gets.

    earlier: the values before and after deepgenre last wrote the field, None if it never did.
    """
    return lambda now: POLICIES[policy](owned(now, earlier), predicted)


def owned(now: Values, earlier: Change | None) -> Values:
    """Returns the values that a field has without those that deepgenre wrote.

    Where the owner changed it since, these are the values that deepgenre did not add.
    """
    if earlier is None:
        return now
    if now == earlier.new:
        return earlier.old
    return tuple(value for value in now if value in earlier.old or value not in earlier.new)

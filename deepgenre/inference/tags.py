"""From a song's scores to the tags that it gets."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from deepgenre.errors import UserError

UNKNOWN = "unknown"  # the only tag of a song of which nothing is sure


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which classes become a song's tags."""

    top_k: int = 5  # at most
    threshold: float = 0.0  # scores of tags are at or above it
    unknown_below: float = 0.0  # no tag at all where even the best score is below it
    consistent: bool = False  # of tags that contradict each other, keep the stronger

    def __post_init__(self) -> None:
        """Raises UserError naming the flag that makes no sense."""
        if self.top_k < 1:
            raise UserError(f"--top_k: must be 1 or more, is {self.top_k}")
        for name in ("threshold", "unknown_below"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name}: must be 0 to 1, is {getattr(self, name)}")


def choose_tags(scores: np.ndarray, classes: Sequence[str], choice: Choice) -> tuple[str, ...]:
    """Returns the tags of a song, best first, by its scores (classes,); UNKNOWN where none is."""
    if scores.max() < choice.unknown_below:
        return (UNKNOWN,)
    allowed = not_contradicted(scores, classes) if choice.consistent else np.full(len(scores), True)
    order = [int(index) for index in np.argsort(-scores, kind="stable")]
    tags = [classes[i] for i in order if allowed[i] and scores[i] >= choice.threshold]
    return tuple(tags[: choice.top_k]) or (UNKNOWN,)


Side = frozenset[str]

VOICE = frozenset((
    "vocal", "vocals", "voice", "voices", "singing", "singer", "choir", "choral", "chorus", "chant",
    "chanting", "rap", "talking",
))  # fmt: skip
NO_VOICE = frozenset((
    "no vocal", "no vocals", "no voice", "no voices", "no singing", "no singer", "instrumental",
))  # fmt: skip
KINDS = (
    "", " vocal", " vocals", " voice", " voices", " singer", " singing", " vocalist", " vocalists",
    " opera",
)  # fmt: skip
MALE = frozenset(name + kind for name in ("male", "man", "men") for kind in KINDS)
FEMALE = frozenset(name + kind for name in ("female", "woman", "women", "girl") for kind in KINDS)
# Sides of which one is true. Order counts: once there is no voice, it is neither sex's. Of tags as
# MagnaTagATune and Last.fm spell them, in lower case.
CONTRADICTIONS: tuple[tuple[Side, Side], ...] = (
    (VOICE | MALE | FEMALE, NO_VOICE),
    (MALE, FEMALE),
    (frozenset(("fast", "fast beat", "quick", "upbeat")), frozenset(("slow",))),
    (frozenset(("loud", "hard", "heavy")), frozenset(("quiet", "soft", "calm"))),
    (frozenset(("happy",)), frozenset(("sad",))),
)
NEGATIONS = ("no ", "not ")  # 'no drums' contradicts 'drums' and 'drum', whatever the tag


def not_contradicted(scores: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Returns which classes stay, bool (classes,): of two sides, the one with the highest score.

    A tie goes to the first side. Classes of the other side go, whatever their scores.
    """
    names = [name.lower() for name in classes]
    stays = np.ones(len(names), bool)
    for sides in (*CONTRADICTIONS, *_negations(names)):
        of_sides = [np.array([name in side for name in names]) & stays for side in sides]
        if all(members.any() for members in of_sides):
            strengths = [scores[members].max() for members in of_sides]
            stays &= ~of_sides[1 - int(np.argmax(strengths))]
    return stays


def _negations(names: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    """Yields (what is denied, its denials) of the names that begin with a negation."""
    for negation in NEGATIONS:
        for name in names:
            if name.startswith(negation):
                denied = name.removeprefix(negation)
                stem = denied.removesuffix("s")
                yield frozenset((denied, stem, f"{stem}s")), frozenset((name,))

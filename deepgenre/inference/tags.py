"""Tags of a song from its scores: thresholds, and tags that contradict each other."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deepgenre.errors import UserError
from deepgenre.inference import vocabulary

UNKNOWN = "unknown"  # the only tag of a song whose scores are all below the thresholds
RUNNER_UP_SCORE = 0.1  # lowest score of a genre other than the best, where none is given

Side = frozenset[str]

# Names in lower case, as MagnaTagATune and Last.fm spell them.
VOICE = frozenset((
    "vocal", "vocals", "voice", "voices", "singing", "singer", "choir", "choral", "chorus", "chant",
    "chanting", "rap", "talking",
))  # fmt: skip
NO_VOICE = frozenset((
    "no vocal", "no vocals", "no voice", "no voices", "no singing", "no singer", "instrumental",
))  # fmt: skip
VOICE_SUFFIXES = (
    "", " vocal", " vocals", " voice", " voices", " singer", " singing", " vocalist", " vocalists",
    " opera",
)  # fmt: skip
MALE = frozenset(name + suffix for name in ("male", "man", "men") for suffix in VOICE_SUFFIXES)
FEMALE = frozenset(
    name + suffix for name in ("female", "woman", "women", "girl") for suffix in VOICE_SUFFIXES
)
DECADES = ("60s", "70s", "80s", "90s", "00s", "10s", "20s")
# Pairs of sides that exclude each other. Resolved in this order: MALE and FEMALE are compared only
# where NO_VOICE lost.
CONTRADICTIONS: tuple[tuple[Side, Side], ...] = (
    (VOICE | MALE | FEMALE, NO_VOICE),
    (MALE, FEMALE),
    (frozenset(("fast", "fast beat", "quick", "upbeat")), frozenset(("slow",))),
    (frozenset(("loud", "hard", "heavy")), frozenset(("quiet", "soft", "calm"))),
    (frozenset(("happy",)), frozenset(("sad",))),
    (frozenset(("aggressive",)), frozenset(("relaxed",))),
    *itertools.combinations((frozenset((decade,)) for decade in DECADES), 2),
)
NEGATIONS = ("no ", "not ")  # any 'no drums' contradicts 'drums' and 'drum'


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which classes become a song's tags."""

    top_k: int = 5  # at most
    threshold: float = 0.0  # lowest score of a tag that `tag_thresholds` lacks
    unknown_below: float = 0.0  # no tags where the highest score is below it
    # No tags where the familiarity of the song is below it; None: `aggregation.familiarity_limit`.
    unfamiliar_below: float | None = None
    consistent: bool = False  # of tags that contradict each other, keep the stronger
    merge_synonyms: bool = False  # one tag for the classes that mean the same, see `vocabulary`
    # By canonical tag, see `vocabulary` and `thresholds`.
    tag_thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    runner_up_threshold: float = 0.0  # lowest score of a tag other than the best

    def __post_init__(self) -> None:
        """Raises UserError naming the flag that is out of range."""
        if self.top_k < 1:
            raise UserError(f"--top_k: must be 1 or more, is {self.top_k}")
        for name in ("threshold", "unknown_below", "unfamiliar_below"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"--{name}: must be 0 to 1, is {value}")


def choose_tags(scores: np.ndarray, classes: Sequence[str], choice: Choice) -> tuple[str, ...]:
    """Returns the tags for a song's scores (classes,), best first; UNKNOWN where there are none.

    Of sides that contradict each other, that is kept whose score is the higher multiple of its
    threshold: a tag never loses to one that is itself below its threshold.
    """
    if scores.max() < choice.unknown_below:
        return (UNKNOWN,)
    scores, names = merged_scores(scores, classes, choice)
    thresholds = np.array([threshold_of(name, choice) for name in names])
    allowed = scores >= thresholds
    if choice.consistent:
        allowed &= consistent_mask(scores / np.where(thresholds > 0, thresholds, 1.0), names)
    order = [int(index) for index in np.argsort(-scores, kind="stable") if allowed[index]]
    order = order[:1] + [
        index for index in order[1:] if scores[index] >= choice.runner_up_threshold
    ]
    return tuple(names[index] for index in order[: choice.top_k]) or (UNKNOWN,)


def merged_scores(
    scores: np.ndarray, classes: Sequence[str], choice: Choice
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the scores (tags,) and names of the tags from which `choose_tags` chooses."""
    return vocabulary.merge(scores, classes) if choice.merge_synonyms else (scores, tuple(classes))


def possible_tags(classes: Sequence[str], choice: Choice) -> tuple[str, ...]:
    """Returns the names that `choose_tags` can return, in the order of the classes."""
    return merged_scores(np.zeros(len(classes)), classes, choice)[1]


def threshold_of(name: str, choice: Choice) -> float:
    """Returns the lowest score of a tag; a class has the threshold of its canonical tag."""
    return choice.tag_thresholds.get(vocabulary.canonical(name), choice.threshold)


def consistent_mask(scores: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Returns which classes to keep, bool (classes,): of two sides, that with the highest score.

    Ties keep the first side. All classes of the other side are dropped, regardless of score.
    """
    names = [name.lower() for name in classes]
    kept = np.ones(len(names), bool)
    for sides in (*CONTRADICTIONS, *_negations(names)):
        members = [np.array([name in side for name in names]) & kept for side in sides]
        if all(mask.any() for mask in members):
            strengths = [scores[mask].max() for mask in members]
            kept &= ~members[1 - int(np.argmax(strengths))]
    return kept


def _negations(names: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    """Yields (negated names, negation) for each name that begins with a negation."""
    for negation in NEGATIONS:
        for name in names:
            if name.startswith(negation):
                negated = name.removeprefix(negation)
                stem = negated.removesuffix("s")
                yield frozenset((negated, stem, f"{stem}s")), frozenset((name,))

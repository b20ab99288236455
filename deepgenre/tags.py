"""From a song's scores to the tags that it gets."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from deepgenre.contradictions import not_contradicted
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

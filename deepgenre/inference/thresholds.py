"""Thresholds per tag that were fitted on annotated clips, and the choice of tags they form.

`tag_thresholds.json` holds them with their provenance; `benchmarks/tag_thresholds.py` writes it. A
network trained with a sigmoid per class estimates the probability that a listener gives a tag, and
listeners leave most tags out: the threshold with the best F1 is half that F1 (Lipton, Elkan and
Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML PKDD 2014), far
below 0.5 for a rare tag.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

from deepgenre.inference import vocabulary
from deepgenre.inference.tags import Choice
from deepgenre.weights.spec import Spec, has_moods

TABLE = Path(__file__).parent / "tag_thresholds.json"
SINGLE_LABEL = 0.5  # a song gets the genre, or the moods, that are more likely than not
MOST_TAGS = 6  # of a song


@dataclasses.dataclass(frozen=True)
class Row:
    """Thresholds of the tags of some weights."""

    name: str  # of the weights
    model: str  # the network, see `models`
    thresholds: Mapping[str, float]  # by canonical tag


@functools.cache
def table() -> tuple[float, tuple[Row, ...]]:
    """Returns the threshold for weights that the table lacks, and its rows."""
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = [Row(name, row["model"], row["thresholds"]) for name, row in content["weights"].items()]
    return content["other_weights"], tuple(rows)


def find(spec: Spec) -> Row | None:
    """Returns the row of the weights; else the first of a network with the same tags; else None.

    The second is for ensembles and for networks that were trained on the same tags.
    """
    tags = {vocabulary.canonical(name) for name in spec.classes}
    rows = [row for row in table()[1] if row.thresholds.keys() == tags] if spec.multi_label else []
    exact = [row for row in rows if row.model == spec.model]
    return next(iter([*exact, *rows]), None)


def library_choice(spec: Spec) -> Choice:
    """Returns how a library's songs get their labels: one genre, a few tags, or its moods."""
    if not spec.multi_label:
        return Choice(top_k=1, threshold=SINGLE_LABEL)
    if has_moods(spec):
        return Choice(top_k=MOST_TAGS, threshold=SINGLE_LABEL, consistent=True)
    row = find(spec)
    return Choice(
        top_k=MOST_TAGS,
        threshold=table()[0],
        consistent=True,
        merge_synonyms=True,
        tag_thresholds=row.thresholds if row else {},
    )


def describe(choice: Choice) -> str:
    """Returns the thresholds in words, for a report."""
    if not choice.tag_thresholds:
        return f"a score of {choice.threshold} or more"
    values = choice.tag_thresholds.values()
    return f"a score above their own threshold, {min(values)} to {max(values)}"

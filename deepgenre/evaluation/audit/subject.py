"""What an audit looks at: clips with labels, groups and parts, and what is measured of each."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from deepgenre.evaluation.ledger import Consultation

STATUSES = ("warning", "note", "ok", "not checked")  # worst first
# Keys of clips that were cut from one track: MagnaTagATune's 'artist-album-01-title-0-29' (start
# and end in s), segments of GTZAN's 'blues.00029.3', and 'name_seg2', 'name_chunk02', 'name_part2'.
SEGMENTS = (
    re.compile(r"(?P<track>.+)-\d+-\d+"),
    re.compile(r"(?P<track>.+\.\d{5})\.\d+"),
    re.compile(
        r"(?P<track>.+)[ ._-](seg|segment|chunk|part|slice|window)[ ._-]?\d+", re.IGNORECASE
    ),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """Clips, or rows of features, in the order of the file or dataset. Unknown: empty."""

    name: str
    keys: Sequence[str]
    labels: Sequence[tuple[str, ...]] = ()
    groups: Sequence[str] = ()  # artists or recordings
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # key -> train, valid, test
    features: np.ndarray | None = None  # float64 (clips, features)
    bands: Sequence[np.ndarray] = ()  # `near_duplicates.band_levels` of each clip
    nuisances: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # (clips, n)
    consultations: Sequence[Consultation] = ()  # of test parts of this data


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    status: str  # one of STATUSES
    text: str  # one sentence: what was found and, of a warning, what to do
    details: Mapping[str, object] = dataclasses.field(default_factory=dict)  # as JSON


def track_of(key: str) -> str:
    """Returns the track that a clip was cut from, by its key; the key where it does not say."""
    stem = re.sub(r"\.(wav|mp3|flac|ogg|au|npy|m4a)$", "", key.rpartition("/")[2], flags=re.I)
    for pattern in SEGMENTS:
        if match := pattern.fullmatch(stem):
            return match["track"]
    return key


def shared(names: Sequence[str], parts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns, for each pair of parts, how many clips of the second have a name in the first.

    names: of the artist or track of each clip, '' where unknown. parts: of each clip, '' for none.
    Keys are like 'train, test': {'shared': 12, 'clips': 100}.
    """
    order = [part for part in ("train", "valid", "held_out", "test") if part in parts]
    order += sorted({*parts} - {*order, ""})
    of_part = {
        part: [name for name, own in zip(names, parts, strict=True) if own == part]
        for part in order
    }
    counts = {}
    for index, second in enumerate(order):
        for first in order[:index]:
            known = {*of_part[first]} - {""}
            count = sum(name in known for name in of_part[second])
            counts[f"{first}, {second}"] = {"shared": count, "clips": len(of_part[second])}
    return counts

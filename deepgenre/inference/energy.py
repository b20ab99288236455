"""The energy of a song, 0 to 1, from its loudness and two scores of moods.

    energy = (loudness + tension) / 2
    loudness = (LUFS + 30) / 25, within 0..1: -30 LUFS and less gives 0, -5 LUFS and more gives 1
    tension = (1 + aggressive - relaxed) / 2

A convention, not a trained model: no listeners rated it. It is a column of predictions where the
loudness is described and weights with both moods are used.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from deepgenre.audio.describe import Descriptor
from deepgenre.weights.spec import Spec

COLUMN = "energy"
AGGRESSIVE, RELAXED = "aggressive", "relaxed"
QUIET_LUFS, LOUD_LUFS = -30.0, -5.0


def network_of(specs: Mapping[str, Spec], described: Sequence[str]) -> str | None:
    """Returns the name of the network whose moods give the energy; None where it is unknown.

    described: names of descriptors in `audio.describe.COLUMNS`.
    """
    if "loudness" not in described:
        return None
    fits = (name for name, spec in specs.items() if {AGGRESSIVE, RELAXED} <= {*spec.classes})
    return next(fits, None)


def of_song(
    scores: np.ndarray, classes: Sequence[str], descriptors: Mapping[str, Descriptor]
) -> float | None:
    """Returns the energy, to 0.001; None where the loudness is unknown. scores: (classes,)."""
    loudness_lufs = descriptors.get("loudness_lufs")
    if not isinstance(loudness_lufs, float):
        return None
    by_class = dict(zip(classes, scores.tolist(), strict=True))
    loudness = (loudness_lufs - QUIET_LUFS) / (LOUD_LUFS - QUIET_LUFS)
    tension = (1.0 + by_class[AGGRESSIVE] - by_class[RELAXED]) / 2
    return round((min(max(loudness, 0.0), 1.0) + tension) / 2, 3)

"""Properties of clips that are not music: silence, bandwidth, and coding of the file.

Where they alone tell the classes apart, a network may have learnt how the clips were recorded.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre.audio import decoding
from deepgenre.errors import UserError

QUIET_SHARE = 0.1  # of the range of levels: the lowest 8 of 80 dB
FOLDS = 5
MIN_CLIPS = 10  # of a class
TREES = 50


@dataclasses.dataclass(frozen=True)
class Separability:
    """How well some properties tell classes apart: cross-validated area under the ROC curve."""

    mean: float  # over classes
    best: float
    best_class: str
    classes: int


def silence(bands: np.ndarray, step_seconds: float) -> list[float]:
    """Returns quiet share, quiet seconds at start and end, and length in s of (steps, bands)."""
    loudest = bands.max(axis=1)
    low, high = float(bands.min()), float(bands.max())
    loud = np.flatnonzero(loudest > low + QUIET_SHARE * (high - low))
    if not loud.size:
        return [1.0, len(bands) * step_seconds, 0.0, len(bands) * step_seconds]
    return [
        1 - loud.size / len(bands),
        float(loud[0]) * step_seconds,
        float(len(bands) - 1 - loud[-1]) * step_seconds,
        len(bands) * step_seconds,
    ]


def bandwidth(levels: np.ndarray) -> list[float]:
    """Returns the highest band in use, its level and the levels above, of (frames, bands).

    A band is in use where its 95th percentile is above the lowest levels.
    """
    loud = np.percentile(levels.astype(np.float32), 95, axis=0)
    low, high = float(loud.min()), float(loud.max())
    used = np.flatnonzero(loud > low + QUIET_SHARE * (high - low))
    top = int(used[-1]) if used.size else 0
    above = loud[top + 1 :]
    return [float(top), float(loud[top]), float(above.mean()) if above.size else low]


def coding(path: Path, seconds: float) -> list[float] | None:
    """Returns bytes/s, rate, channels and codes of format and coding of a file; None: unknown."""
    try:
        found = decoding.declared(path)
        size = path.stat().st_size
    except (UserError, OSError):
        return None
    if not found:
        return None
    codes = [float(sum(map(ord, text))) for text in (found.format, found.subtype)]
    return [size / max(seconds, 1e-3), float(found.rate_hz), float(found.channels), *codes]


def separability(
    properties: np.ndarray, labels: Sequence[tuple[str, ...]], groups: Sequence[str]
) -> Separability | None:
    """Returns how well the properties (clips, n) tell the classes; None with too few clips.

    Trees are fitted in cross-validation with whole groups held out. Classes with fewer than
    MIN_CLIPS clips are left out.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, KFold

    names = sorted({name for own in labels for name in own})
    hot = np.array([[name in own for name in names] for own in labels], bool)
    kept = [i for i in range(len(names)) if MIN_CLIPS <= hot[:, i].sum() <= len(hot) - MIN_CLIPS]
    has_groups = len(groups) == len(labels) and FOLDS <= len({*groups}) < len(labels)
    if not kept or len(hot) < 2 * MIN_CLIPS:
        return None
    scores = np.zeros((len(hot), len(kept)))
    splitter = GroupKFold(FOLDS) if has_groups else KFold(FOLDS, shuffle=True, random_state=0)
    for train, held_out in splitter.split(properties, groups=groups if has_groups else None):
        trees = ExtraTreesClassifier(
            TREES, min_samples_leaf=5, class_weight="balanced", random_state=0
        )
        trees.fit(properties[train], hot[train][:, kept])
        found = trees.predict_proba(properties[held_out])
        for column, probability in enumerate(found if isinstance(found, list) else [found]):
            if probability.shape[1] == 2:  # else no training clip has the class
                scores[held_out, column] = probability[:, 1]
    areas = [roc_auc_score(hot[:, name], scores[:, i]) for i, name in enumerate(kept)]
    best = int(np.argmax(areas))
    return Separability(float(np.mean(areas)), float(areas[best]), names[kept[best]], len(kept))

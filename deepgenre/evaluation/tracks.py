"""Scores of songs from those of the clips that are cut from them."""

import numpy as np

from deepgenre.evaluation.bootstrap import group_indices
from deepgenre.evaluation.evaluation_files import Scored


def per_track(scored: Scored) -> Scored | None:
    """Returns the scores of songs; None where no two clips are from one song.

    Scores are means over a song's clips. A song has the genre of most of its clips, the first in
    class order where several have as many, and the tags of at least half of them. Its group is that
    of its first clip.
    """
    names, first = np.unique(scored.track, return_index=True)
    if len(names) == len(scored.track):
        return None
    index = group_indices(scored.track)
    clips = np.bincount(index)[:, None]

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(names), values.shape[1]))
        np.add.at(sums, index, values)
        return sums / clips

    if scored.multi_label:
        labels = (mean(scored.labels) >= 0.5).astype(np.uint8)
    else:
        labels = mean(np.eye(len(scored.classes))[scored.labels]).argmax(axis=1).astype(np.int32)
    return Scored(
        key=names,
        classes=scored.classes,
        scores=mean(scored.scores).astype(np.float32),
        labels=labels,
        group=scored.group[first],
        track=names,
    )

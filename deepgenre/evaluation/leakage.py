"""What evaluated clips share with the clips that the weights were trained on.

Scores on clips of trained songs, or of trained artists, are higher than on new music: A. Flexer and
D. Schnitzer, "Effects of album and artist filters in audio similarity computed for very large music
databases", Computer Music Journal 34(3), 2010.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log
from deepgenre.audio import acoustic_fingerprint
from deepgenre.data.store import Records, Row

MAX_CLIPS = 3000  # of evaluated and training clips together, whose audio is compared unasked
PAIRS_LISTED = 100


def leakage(rows: Sequence[Row], train: Sequence[Row] | None) -> dict[str, Any]:
    """Returns how many evaluated clips are trained clips, or share a track or group with one.

    A track is the song that a clip is cut from, a group its artist or recording. Values are None
    where the training clips are not known or, of tracks, where the data do not tell songs.
    """
    if train is None:
        return {"train_clips": None, "same_clip": None, "same_track": None, "same_group": None}
    trained = {row.key for row in train}
    tracks = {row.track for row in train}
    groups = {row.group for row in train}
    return {
        "train_clips": len(train),
        "same_clip": _share([row.key in trained for row in rows]),
        "same_track": _share([row.track in tracks for row in rows])
        if all(row.track for row in [*rows, *train])
        else None,
        "same_group": _share([row.group in groups for row in rows]),
    }


def _share(found: Sequence[bool]) -> dict[str, float]:
    return {"clips": sum(found), "share": sum(found) / len(found)}


def near_duplicates(
    store: Path, rows: Sequence[Row], train: Sequence[Row], dtype: type[np.generic]
) -> dict[str, Any]:
    """Returns how many evaluated clips have the audio of a training clip, and pairs of keys.

    The levels in the store are compared, by the signs of differences between bands and frames (see
    `audio.acoustic_fingerprint`): also copies at another level, or that begin later, are found.
    """
    ours = {row.key for row in rows}
    others = [row for row in train if row.key not in ours]
    everything = [*rows, *others]
    records = Records(store, everything, dtype)
    prints = [
        level_fingerprint(records[index])
        for index in log.progress(
            range(len(everything)), total=len(everything), unit="clip", title="near-duplicates"
        )
    ]
    pairs = [
        (everything[first].key, everything[second].key)
        for first, second in acoustic_fingerprint.matches(prints)
        if first < len(rows) <= second
    ]
    found = {key for key, _ in pairs}
    return {
        **_share([row.key in found for row in rows]),
        "pairs": [list(pair) for pair in pairs[:PAIRS_LISTED]],
    }


def level_fingerprint(levels: np.ndarray) -> np.ndarray:
    """Returns 32 bits of each frame but the first of levels (frames, bands), uint32 (frames - 1,).

    The bands are summed to 33; a frame that equals the one before it has no bits.
    """
    edges = np.linspace(0, levels.shape[1], 34).astype(int)[:-1]
    energies = np.add.reduceat(levels.astype(np.float64), edges, axis=1)
    across_bands = energies[:, :-1] - energies[:, 1:]
    signs = across_bands[1:] > across_bands[:-1]
    return (signs * acoustic_fingerprint.BITS).sum(axis=1, dtype=np.uint32)

"""What evaluated clips share with the clips that the weights were trained on.

Scores on clips of trained songs, or of trained artists, are higher than on new music: A. Flexer and
D. Schnitzer, "Effects of album and artist filters in audio similarity computed for very large music
databases", Computer Music Journal 34(3), 2010.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.store import Records, Row
from deepgenre.evaluation import near_duplicates

MAX_CLIPS = 2000  # of evaluated and training clips together, whose audio is compared unasked
PAIRS_LISTED = 100


def leakage(rows: Sequence[Row], train: Sequence[Row] | None) -> dict[str, Any]:
    """Returns how many evaluated clips are trained clips, or share a track or group with one.

    A track is the song that a clip is cut from, a group its artist or recording. Values are None
    where the training clips are not known, or the data do not tell songs, or artists.
    """
    if train is None:
        return {"train_clips": None, "same_clip": None, "same_track": None, "same_group": None}
    trained = {row.key for row in train}
    tracks = {row.track for row in train}
    groups = {row.group for row in train}
    everything = [*rows, *train]
    return {
        "train_clips": len(train),
        "same_clip": _share([row.key in trained for row in rows]),
        "same_track": _share([row.track in tracks for row in rows])
        if all(row.track for row in everything)
        else None,
        "same_group": _share([row.group in groups for row in rows])
        if any(row.group != row.key for row in everything)
        else None,
    }


def _share(found: Sequence[bool]) -> dict[str, float]:
    return {"clips": sum(found), "share": sum(found) / len(found)}


def compare_audio(
    store: Path, rows: Sequence[Row], train: Sequence[Row], frontend: FrontEnd
) -> dict[str, Any]:
    """Returns how many evaluated clips have the audio of another, training clip, and the pairs.

    The levels in the store are compared, at equal speed only: see `near_duplicates`.
    """
    ours = {row.key for row in rows}
    clips = [*rows, *(row for row in train if row.key not in ours)]
    records = Records(store, clips, frontend.stored_dtype)
    levels = [near_duplicates.band_levels(records[index], frontend) for index in range(len(clips))]
    found = near_duplicates.find(levels, speeds=False, versus=len(rows))
    pairs = [(clips[pair.first].key, clips[pair.second].key) for pair in found]
    copies = {key for key, _ in pairs}
    return {
        **_share([row.key in copies for row in rows]),
        "pairs": [list(pair) for pair in pairs[:PAIRS_LISTED]],
    }

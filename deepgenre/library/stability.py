"""Which files have stayed as they are for a while: a pure function of observations and times."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

from deepgenre.library.folder_scan import State


@dataclasses.dataclass(frozen=True)
class Sighting:
    """The state of a file, and when it was first seen in it, by a clock that never goes back."""

    state: State
    since_seconds: float


def observe(
    before: Mapping[Path, Sighting],
    found: Mapping[Path, State],
    unreadable: Collection[Path],
    now_seconds: float,
) -> dict[Path, Sighting]:
    """Returns the sightings after a scan that found these files.

    Files that were not found are gone, except those below a folder that could not be read: nothing
    is known of these, and their sightings stay.
    """
    after = {
        path: sighting
        for path, sighting in (before.items() if unreadable else ())
        if any(path.is_relative_to(folder) for folder in unreadable)
    }
    for path, state in found.items():
        old = before.get(path)
        after[path] = old if old and old.state == state else Sighting(state, now_seconds)
    return after


def is_settled(sighting: Sighting, settle_seconds: float, now_seconds: float) -> bool:
    """Whether a file has been seen in the same state for at least `settle_seconds`."""
    return now_seconds - sighting.since_seconds >= settle_seconds

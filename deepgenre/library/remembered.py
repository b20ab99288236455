"""What mode `watch` knows about files, in the file of predictions that mode `organize` reads too.

A line is a prediction (see `prediction_files.text`), with two more keys: "seconds", the length of
the song, and "written", the fields that were written into the file, or found in it, or left to the
owner who changed them. Lines are only appended; they are found by path, size and modification time.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.files import json_lines, replacing
from deepgenre.inference.prediction_files.rows import Prediction, Row
from deepgenre.inference.prediction_files.text import JSON_LINES, json_row
from deepgenre.library.folder_scan import State

SAME_SCORES = 1e-3  # largest difference between scores of the same audio in other batches
NS_PER_SECOND = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of a file in one state."""

    path: Path
    state: State
    scores: np.ndarray | None  # float32 (classes,); None where the file failed
    tags: tuple[str, ...] = ()  # best first, as in mode predict
    error: str = ""
    seconds: float | None = None  # None: not known yet
    written: Mapping[str, str] | None = None  # fields; None: never written


class Remembered:
    """The entries of a file of predictions, by path and state."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        """Reads the file where it exists; repeated lines and an incomplete last one are dropped.

        Raises UserError where a line is not a prediction of these classes.
        """
        self._path, self._classes = path, classes
        self._by_path: dict[Path, dict[State, Entry]] = {}
        self._paths_by_state: dict[State, set[Path]] = {}
        if path.exists():
            _compact(path, classes)
            with path.open(encoding="utf-8") as stream:
                for line in stream:
                    self._add(_entry(json.loads(line), classes))

    def _add(self, entry: Entry) -> None:
        states = self._by_path.setdefault(entry.path, {})
        states.pop(entry.state, None)  # so that the last entry is the newest
        states[entry.state] = entry
        self._paths_by_state.setdefault(entry.state, set()).add(entry.path)

    def append(self, entry: Entry) -> None:
        """Adds an entry, at once on disk."""
        prediction = Prediction(entry.path, entry.state, entry.scores, entry.tags, entry.error)
        row = json_row(prediction, self._classes)
        row |= {} if entry.seconds is None else {"seconds": entry.seconds}
        row |= {} if entry.written is None else {"written": dict(entry.written)}
        with self._path.open("ab") as stream:
            stream.write(json_lines([row]))
        self._add(entry)

    def paths(self) -> list[Path]:
        """Returns all paths, also those of files that do not exist any more."""
        return list(self._by_path)

    def last(self, path: Path) -> Entry:
        """Returns the newest entry of a path, whatever its state."""
        return next(reversed(self._by_path[path].values()))

    def get(self, path: Path, state: State) -> Entry | None:
        """Returns the entry of a file in this state; None where it is not known."""
        return self._by_path.get(path, {}).get(state)

    def of_renamed(self, path: Path, state: State) -> Entry | None:
        """Returns the entry of a file that had another path before; None where there is none.

        Old paths must lead to nothing or to the same file, and agree. Times of whole seconds are
        not trusted: some file systems and archives round them, so that several files of one length
        share them.
        """
        if state is None or state[1] % NS_PER_SECOND == 0:
            return None
        old_paths = self._paths_by_state.get(state, set()) - {path}
        entries = [self._by_path[old][state] for old in old_paths]
        if not entries or not all(_agree(entries[0].scores, other.scores) for other in entries):
            return None
        real = os.path.realpath(path)
        if any(os.path.lexists(old) and os.path.realpath(old) != real for old in old_paths):
            return None
        return dataclasses.replace(entries[-1], path=path)

    def written_before(self, path: Path, scores: np.ndarray) -> Mapping[str, str] | None:
        """Returns the fields that were written into a file when its audio was the same as now.

        Equal scores mean equal audio: what changed since are its tags.
        """
        for entry in reversed(self._by_path.get(path, {}).values()):
            if entry.scores is not None and entry.written is not None:
                return entry.written if _agree(entry.scores, scores) else None
        return None


def _agree(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    """Whether two files have the same scores, or both failed."""
    if first is None or second is None:
        return first is second
    return bool(np.abs(first - second).max() <= SAME_SCORES)


def _compact(path: Path, classes: Sequence[str]) -> None:
    """Keeps the last complete line of each file and state."""
    counts = collections.Counter(
        (row.name, row.fingerprint) for row, _ in JSON_LINES.rows(path, classes)
    )

    def is_last(row: Row) -> bool:
        key = row.name, row.fingerprint
        counts[key] -= 1
        return not counts[key]

    with replacing(path) as temporary:
        JSON_LINES.copy(path, temporary, classes, is_last)


def _entry(line: Mapping[str, Any], classes: Sequence[str]) -> Entry:
    scores = line.get("scores")
    return Entry(
        Path(line["path"]),
        (line["bytes"], line["mtime_ns"]) if "bytes" in line else None,
        None if scores is None else np.array([scores[name] for name in classes], np.float32),
        tuple(line.get("tags", ())),
        line.get("error", ""),
        line.get("seconds"),
        line.get("written"),
    )

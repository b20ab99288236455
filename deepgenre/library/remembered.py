"""What mode `watch` knows about files, in the file of predictions that mode `organize` reads too.

A line is a prediction by one network, or by several side by side (see `prediction_files.text`),
with two more keys: "written", the names by field that were written into the file, or found in it,
or left to the owner who changed them; and "stamp", size and time of the file where tags changed
them since. Lines are only appended; the last one of a file, as it is or was before its tags, is the
one that counts.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.describe import Descriptor
from deepgenre.errors import UserError
from deepgenre.files import append_line, replacing
from deepgenre.inference.prediction_files.rows import (
    SCORES,
    TAGS,
    Layout,
    Prediction,
    Result,
    Row,
    prefixed,
)
from deepgenre.inference.prediction_files.text import JSON_LINES, json_row
from deepgenre.library import descriptor_fields
from deepgenre.library.folder_scan import State
from deepgenre.library.tag_fields import Values
from deepgenre.sealed_lines import sealed, unsealed

SAME_SCORES = 1e-3  # largest difference between scores of the same audio in other batches
NS_PER_SECOND = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of a file in one state."""

    path: Path
    fingerprint: State  # as predictions state it: from before tags were written
    results: tuple[Result, ...] = ()  # by each network; empty where the file failed
    error: str = ""
    seconds: float | None = None  # None: not known yet
    descriptors: Mapping[str, Descriptor] = dataclasses.field(default_factory=dict)  # by column
    written: Mapping[str, Values] | None = None  # names by field; None: never written
    stamp: State = None  # of the file with its tags; None: that of the fingerprint

    @property
    def state(self) -> State:
        """Returns size and time of the file when it was last handled."""
        return self.stamp or self.fingerprint


class Remembered:
    """The entries of a file of predictions, by path and state."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """Reads the file where it exists; repeated lines and an incomplete last one are dropped.

        Raises UserError where a line is not a prediction of the layout's classes.
        """
        self._path, self._layout = path, layout
        self._by_path: dict[Path, dict[State, Entry]] = {}
        self._paths_by_state: dict[State, set[Path]] = {}
        if path.exists():
            _compact(path, self._layout)
            with path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    entry = _read_entry(path, number, line, layout)
                    self._add(_completed(entry, self.get(entry.path, entry.fingerprint)))

    def _add(self, entry: Entry) -> None:
        states = self._by_path.setdefault(entry.path, {})
        for state in {entry.fingerprint, entry.state}:
            states.pop(state, None)  # so that the last entry is the newest
            states[state] = entry
            self._paths_by_state.setdefault(state, set()).add(entry.path)

    def append(self, entry: Entry) -> None:
        """Adds an entry, at once on disk."""
        prediction = Prediction(
            entry.path, entry.fingerprint, entry.results, entry.error, entry.descriptors,
            entry.seconds,
        )  # fmt: skip
        row = json_row(prediction, self._layout)
        row |= {} if entry.written is None else {"written": dict(entry.written)}
        row |= {} if entry.state == entry.fingerprint else {"stamp": entry.stamp}
        append_line(self._path, sealed(row).encode())
        self._add(entry)

    def paths(self) -> list[Path]:
        """Returns all paths, also those of files that do not exist any more."""
        return list(self._by_path)

    def last(self, path: Path) -> Entry:
        """Returns the newest entry of a path, whatever its state."""
        return next(reversed(self._by_path[path].values()))

    def get(self, path: Path, state: State) -> Entry | None:
        """Returns the entry of a file in this state, or with this fingerprint; None: not known."""
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
        if not entries or not all(_agree(entries[0].results, other.results) for other in entries):
            return None
        real = os.path.realpath(path)
        if any(os.path.lexists(old) and os.path.realpath(old) != real for old in old_paths):
            return None
        found = entries[-1]
        written = found.written if found.state == state else None  # else a copy without our tags
        return dataclasses.replace(found, path=path, fingerprint=state, stamp=None, written=written)

    def written_before(self, path: Path, results: Sequence[Result]) -> Mapping[str, Values] | None:
        """Returns the names by field that were written into a file when its audio was the same.

        Equal scores mean equal audio: what changed since are its tags.
        """
        for entry in reversed(self._by_path.get(path, {}).values()):
            if entry.results and entry.written is not None:
                return entry.written if _agree(entry.results, results) else None
        return None


def _agree(first: Sequence[Result], second: Sequence[Result]) -> bool:
    """Whether two files have the same scores, or both failed."""
    if not first or not second:
        return not first and not second
    return all(
        np.abs(one.scores - other.scores).max() <= SAME_SCORES
        for one, other in zip(first, second, strict=True)
    )


def _compact(path: Path, layout: Layout) -> None:
    """Keeps the last complete line of each file and state."""

    def key(row: Row) -> tuple[str, State]:
        return row.name, row.fingerprint

    with replacing(path) as temporary:
        JSON_LINES.copy(path, temporary, layout, key)


def _completed(entry: Entry, earlier: Entry | None) -> Entry:
    """Returns an entry with what an earlier one of the file states beyond a prediction."""
    if not earlier or entry.written is not None:
        return entry
    return dataclasses.replace(
        entry,
        seconds=earlier.seconds if entry.seconds is None else entry.seconds,
        written=earlier.written,
        stamp=entry.stamp or earlier.stamp,
    )


def _read_entry(path: Path, number: int, line: bytes, layout: Layout) -> Entry:
    """Returns the entry of a line; raises UserError where a value has another type."""
    try:
        return _entry(unsealed(line), layout)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}: line {number} is damaged ({type(error).__name__}: {error}); remove this line"
        ) from error


def _entry(line: Mapping[str, Any], layout: Layout) -> Entry:
    written, stamp = line.get("written"), line.get("stamp")
    networks = {} if "error" in line else layout.networks
    descriptors = {name: line.get(name) for name in layout.described}
    descriptor_fields.values_of(descriptors)  # raises where one is no descriptor
    return Entry(
        Path(line["path"]).absolute(),  # mode organize writes paths as they are given
        (line["bytes"], line["mtime_ns"]) if "bytes" in line else None,
        tuple(_result(line, network, classes) for network, classes in networks.items()),
        str(line.get("error", "")),
        None if line.get("seconds") is None else float(line["seconds"]),
        descriptors,
        None if written is None else {k: tuple(map(str, names)) for k, names in written.items()},
        None if stamp is None else (int(stamp[0]), int(stamp[1])),
    )


def _result(line: Mapping[str, Any], network: str, classes: Sequence[str]) -> Result:
    scores, tags = line[prefixed(network, SCORES)], line.get(prefixed(network, TAGS), ())
    values = np.array([scores[name] for name in classes], np.float32)
    return Result(values, tuple(map(str, tags)))

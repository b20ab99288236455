"""The prepared dataset on disk: shards of records (see `shards`), and an index of all clips.

    <store>/shards/<id>.arrayrecord, <id>.jsonl
    <store>/index.jsonl               one line per clip: its labels, group, part and record

Shards are added; one that is found damaged is replaced. All files are written atomically, so an
interrupted writer leaves complete shards and a complete index. The index is for other programs:
this one reads the shards.
"""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log
from deepgenre.data import shards
from deepgenre.data.shards import DamagedShardError, Measured
from deepgenre.errors import UserError, one_line
from deepgenre.files import json_lines, parse_json, remove_abandoned, write_json_lines


@dataclasses.dataclass(frozen=True)
class Row:
    """A prepared clip: labels by name, group, the author's split, and its record."""

    key: str
    labels: tuple[str, ...]
    group: str
    split: str
    measured: Measured
    track: str = ""  # song that the clip is cut from; '' where each clip is a song of its own


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the shards of a store contain."""

    measured: dict[str, list[Measured]]  # by key, oldest first: several where its source changed
    damaged: dict[str, DamagedShardError]  # by shard
    unchecked: dict[str, list[Measured]]  # rows of the shards without checksums, in `measured` too


def read_contents(store: Path) -> Contents:
    """Returns what the shards contain, after checking their rows and the sizes of their files."""
    contents = Contents({}, {}, {})
    for name in shards.names(store):
        try:
            shard = shards.read(store, name)
        except DamagedShardError as error:
            contents.damaged[name] = error
            continue
        for row in shard.rows:
            contents.measured.setdefault(row.key, []).append(row)
        if not shard.checked:
            contents.unchecked[name] = shard.rows
    return contents


def read_measured(store: Path) -> dict[str, Measured]:
    """Returns the rows of all shards that are not damaged, by key; the latest of several."""
    return {key: rows[-1] for key, rows in read_contents(store).measured.items()}


def repair(store: Path, dtype: type[np.generic], found: Collection[str] = ()) -> None:
    """Adds checksums to shards of earlier versions, and removes damaged shards.

    Intact records of a damaged shard move to a new one; its other clips are then missing from the
    store. dtype: of the records; found: shards that `verify` found to be damaged.
    """
    remove_abandoned(store / "shards")
    contents = read_contents(store)
    damaged = {name: str(error) for name, error in contents.damaged.items()}
    for name, rows in contents.unchecked.items():
        try:
            shards.upgrade(store, name, rows, dtype)
        except DamagedShardError as error:
            damaged[name] = str(error)
    if num_upgraded := len(contents.unchecked.keys() - damaged.keys()):
        log.info("%s: added checksums to %d shards of an earlier version", store, num_upgraded)
    for name in {*shards.names(store)} & {*found} - damaged.keys():
        damaged[name] = f"{shards.records_path(store, name)}: records are damaged"
    for name, reason in damaged.items():
        kept = shards.salvage(store, name, f"{name.partition('-')[0]}-kept-{_next(store)}")
        log.warning("%s; %d of its records are kept, the others are prepared again", reason, kept)
    shards.remove_incomplete(store)


def _next(store: Path) -> int:
    """Returns a number that no salvaged shard of the store has in its name."""
    numbers = [name.rpartition("-kept-")[2] for name in shards.names(store) if "-kept-" in name]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def verify(store: Path) -> dict[str, DamagedShardError]:
    """Reads every record; returns the shards that have one that does not match its checksum.

    Shards without checksums, and those that `read_contents` finds to be damaged, are left out.
    """
    known = read_contents(store)
    names = [n for n in shards.names(store) if n not in known.damaged and n not in known.unchecked]
    found = {}
    with log.progress(names, total=len(names), unit="shard", title="verify") as bar:
        for name in bar:
            rows = shards.read(store, name).rows
            good = {row.record for row, _ in shards.intact(store, rows)}
            if bad := [row.key for row in rows if row.record not in good]:
                path = shards.records_path(store, name)
                reason = f"{len(bad)} of its {len(rows)} records are damaged or of other clips"
                found[name] = shards.damaged(path, reason, bad)
    return found


def is_index_of(store: Path, rows: Sequence[Row]) -> bool:
    """Returns whether the index is up to date with the rows."""
    path = store / "index.jsonl"
    return path.exists() and path.read_bytes() == json_lines(_lines(rows))


def write_index(store: Path, rows: Sequence[Row]) -> None:
    """Writes the index atomically."""
    write_json_lines(store / "index.jsonl", _lines(rows))


def _lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    # `dataclasses.asdict` copies deeply, which takes minutes for a million rows.
    lines = [{**vars(row), "measured": {**vars(row.measured)}} for row in rows]
    for line in lines:
        if not line["track"]:
            del line["track"]
        if line["measured"]["crc32"] is None:  # as in a read-only store of an earlier version
            del line["measured"]["crc32"]
    return lines


def read_index(store: Path) -> list[Row]:
    """Returns the rows of the index, sorted by key; raises UserError where it is damaged."""
    path = store / "index.jsonl"
    try:
        return [_row(parse_json(line)) for line in path.read_bytes().splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); remove it and run deepgenre prepare"
        ) from error


def _row(line: dict[str, Any]) -> Row:
    return Row(
        key=line["key"],
        labels=tuple(line["labels"]),
        group=line["group"],
        split=line["split"],
        measured=Measured(**line["measured"]),
        track=line.get("track", ""),
    )


class Records:
    """Random access to the stored levels of rows: element i is (frames, bands) of row i.

    Each process compares a record with its checksum when it reads it for the first time.
    """

    def __init__(self, store: Path, rows: Sequence[Row], dtype: type[np.generic]) -> None:
        """Opens no shard: each worker process opens the shards that it reads."""
        import grain

        self._rows = [row.measured for row in rows]
        counts: dict[str, int] = {}  # of records up to the last one that is used
        for row in self._rows:
            counts[row.shard] = max(counts.get(row.shard, 0), row.record + 1)
        first = dict(zip(counts, np.cumsum([0, *counts.values()]), strict=False))
        # With the numbers of records, the source opens no file before it reads from it.
        self._source = grain.sources.ArrayRecordDataSource(
            [f"{shards.records_path(store, name)}[0:{count}]" for name, count in counts.items()]
        )
        self._store, self._dtype = store, dtype
        self._record_indices = [int(first[row.shard]) + row.record for row in self._rows]
        self._is_checked = np.zeros(len(rows), bool)
        self.frames = np.array([row.frames for row in self._rows])  # int64 (rows,)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns (frames, bands), read-only; raises UserError where it is missing or damaged."""
        row = self._rows[index]
        try:
            record = self._source[self._record_indices[index]]
            if not self._is_checked[index]:
                shards.check_record(self._store, row, record)
                self._is_checked[index] = True
            return np.frombuffer(record, self._dtype).reshape(row.frames, row.bands)
        except (RuntimeError, ValueError, DamagedShardError) as error:
            path, reason = shards.records_path(self._store, row.shard), one_line(error)
            raise UserError(
                f"{path}: record {row.record} of clip {row.key} is damaged ({reason}); "
                "deepgenre prepare, with the same config, rebuilds this shard"
            ) from error


def mean_and_deviation(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns mean and standard deviation, in levels, over every frame and band of the rows.

    Computed from the sums in the index, without reading records; exact where levels are integers.
    """
    count = sum(row.measured.frames * row.measured.bands for row in rows)
    total = sum(row.measured.level_sum for row in rows)
    squares = sum(row.measured.level_sum_of_squares for row in rows)
    variance = (squares * count - total * total) / count**2
    if variance <= 0:
        raise UserError("all training clips have one constant level; check the audio files")
    return total / count, variance**0.5

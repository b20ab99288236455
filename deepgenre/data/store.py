"""The prepared dataset on disk: shards of records, and an index with one row per clip.

    <store>/shards/<id>.arrayrecord   one record per clip: the bytes of its levels (frames, bands)
    <store>/shards/<id>.jsonl         one line per record: its size and sums; written last, so a
                                      shard without it is incomplete and ignored
    <store>/index.jsonl               one line per clip: its labels, group, part and record

Shards are added, never changed. All files are written atomically, so an interrupted writer leaves
complete shards and a complete index.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.files import json_lines, replacing, write_json_lines

RECORD_OPTIONS = "group_size:1,uncompressed"  # a read is one seek and one copy


@dataclasses.dataclass(frozen=True)
class Measured:
    """Index entry of a record: its clip, size, sums, source file and location."""

    key: str
    frames: int
    bands: int
    level_sum: float  # over all frames and bands; an exact integer where levels are integers
    level_sum_of_squares: float
    source_bytes: int  # fingerprint of the source file: the record is stale when it changes
    source_mtime_ns: int
    shard: str = ""
    record: int = -1


@dataclasses.dataclass(frozen=True)
class Row:
    """A prepared clip: labels by name, group, the author's split, and its record."""

    key: str
    labels: tuple[str, ...]
    group: str
    split: str
    measured: Measured
    track: str = ""  # song that the clip is cut from; '' where each clip is a song of its own


def write_shard(
    store: Path, shard: str, clips: Sequence[tuple[Measured, np.ndarray]]
) -> list[Measured]:
    """Writes the levels (frames, bands) of clips as a shard; returns its index entries."""
    from array_record.python.array_record_module import ArrayRecordWriter

    entries = [
        dataclasses.replace(measured, shard=shard, record=record)
        for record, (measured, _) in enumerate(clips)
    ]
    with replacing(_records(store, shard)) as temporary:
        try:
            writer = ArrayRecordWriter(str(temporary), RECORD_OPTIONS)
            for _, levels in clips:
                writer.write(np.ascontiguousarray(levels).tobytes())
            writer.close()
        except RuntimeError as error:  # any error of the writer, e.g. a full disk
            raise UserError(
                f"{store}: cannot be written ({error}); finished shards are kept"
            ) from error
    lines = [dataclasses.asdict(measured) for measured in entries]
    write_json_lines(store / "shards" / f"{shard}.jsonl", lines)
    return entries


def _records(store: Path, shard: str) -> Path:
    return store / "shards" / f"{shard}.arrayrecord"


def read_measured(store: Path) -> dict[str, Measured]:
    """Returns the index entries of all shards, by key; the latest where a clip has several."""
    shards = sorted((store / "shards").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return {measured.key: measured for path in shards for measured in _read_shard_index(path)}


def _read_shard_index(path: Path) -> list[Measured]:
    try:
        return [Measured(**line) for line in _read_json_lines(path)]
    except TypeError as error:
        raise UserError(
            f"{path}: was written by another version ({error}); remove the store and prepare again"
        ) from error


def measure(key: str, levels: np.ndarray, source: Path) -> Measured:
    """Returns the index entry of levels (frames, bands), not yet assigned to a shard."""
    wide = levels.astype(np.int64 if np.issubdtype(levels.dtype, np.integer) else np.float64)
    status = source.stat()
    return Measured(
        key=key,
        frames=levels.shape[0],
        bands=levels.shape[1],
        level_sum=wide.sum().item(),
        level_sum_of_squares=(wide * wide).sum().item(),
        source_bytes=status.st_size,
        source_mtime_ns=status.st_mtime_ns,
    )


def write_index(store: Path, rows: Sequence[Row]) -> None:
    """Writes the index atomically, unless it is up to date, or one is in a read-only store."""
    path, lines = store / "index.jsonl", [_line(row) for row in rows]
    if path.exists() and (path.read_bytes() == json_lines(lines) or not os.access(store, os.W_OK)):
        return
    write_json_lines(path, lines)


def _line(row: Row) -> dict[str, Any]:
    line = dataclasses.asdict(row)
    return line if row.track else {name: line[name] for name in line if name != "track"}


def read_index(store: Path) -> list[Row]:
    """Returns the rows of the index, sorted by key."""
    return [
        Row(
            key=line["key"],
            labels=tuple(line["labels"]),
            group=line["group"],
            split=line["split"],
            measured=Measured(**line["measured"]),
            track=line.get("track", ""),
        )
        for line in _read_json_lines(store / "index.jsonl")
    ]


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except ValueError as error:
        raise UserError(
            f"{path}: is damaged ({error}); remove the store and prepare again"
        ) from error


class Records:
    """Random access to the stored levels of rows: element i is (frames, bands) of row i."""

    def __init__(self, store: Path, rows: Sequence[Row], dtype: type[np.generic]) -> None:
        """Opens no shard: each worker process opens the shards that it reads.

        Raises UserError, here or on reading, where a shard is missing or damaged.
        """
        import grain

        shards = sorted({row.measured.shard for row in rows})
        paths = [str(_records(store, shard)) for shard in shards]
        counts = [_num_records(store, shard) for shard in shards]
        first = dict(zip(shards, np.concatenate([[0], np.cumsum(counts)[:-1]]), strict=True))
        self._store = store
        try:
            self._source = grain.sources.ArrayRecordDataSource(paths)
        except RuntimeError as error:
            raise _damaged(store, error) from error
        self._record_indices = [
            int(first[row.measured.shard]) + row.measured.record for row in rows
        ]
        self._dtype = dtype
        self.frames = np.array([row.measured.frames for row in rows])  # int64 (rows,)
        self._bands = [row.measured.bands for row in rows]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self._record_indices)

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns (frames, bands), read-only."""
        try:
            record = self._source[self._record_indices[index]]
        except RuntimeError as error:
            raise _damaged(self._store, error) from error
        return np.frombuffer(record, self._dtype).reshape(-1, self._bands[index])


def _damaged(store: Path, error: RuntimeError) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(
        f"{store}: a shard is missing or damaged ({reason}); remove this folder and run again"
    )


def _num_records(store: Path, shard: str) -> int:
    with (store / "shards" / f"{shard}.jsonl").open("rb") as stream:
        return sum(1 for _ in stream)


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

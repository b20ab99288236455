"""Shards of a store: files of records, each with an index that is bound to them.

    <store>/shards/<id>.arrayrecord   one record per clip: the bytes of its levels (frames, bands)
    <store>/shards/<id>.jsonl         one row per record: its clip, size, sums and checksum; then a
                                      footer: number of records, size of the record file, and the
                                      digest of the rows

The index is written last: a shard without one is incomplete and ignored. A row that was changed,
dropped or moved does not match the footer; a record that is damaged, or belongs to another row,
does not match the checksum in its row. Versions of 0.1.0 wrote neither checksums nor footers:
`upgrade` adds them, after comparing records with the sizes and sums in the rows.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError, one_line
from deepgenre.files import json_lines, parse_json, replacing

RECORD_OPTIONS = "group_size:1,uncompressed"  # a read is one seek and one copy


@dataclasses.dataclass(frozen=True)
class Measured:
    """Row of a record: its clip, size, sums, source file, location and checksum."""

    key: str
    frames: int
    bands: int
    level_sum: float  # over all frames and bands; an exact integer where levels are integers
    level_sum_of_squares: float
    source_bytes: int  # fingerprint of the source file: the record is stale when it changes
    source_mtime_ns: int
    shard: str = ""
    record: int = -1
    crc32: int | None = None  # of the record; None: written by version 0.1.0


@dataclasses.dataclass(frozen=True)
class Shard:
    """The rows of a shard; `checked`: they have a footer and checksums."""

    rows: list[Measured]
    checked: bool


class DamagedShardError(UserError):
    """A shard does not match its index, or one of the two is missing or damaged."""


def damaged(path: Path, reason: str, clips: Sequence[str] = ()) -> DamagedShardError:
    """Returns the error that names a file of a shard and, as far as they are known, its clips."""
    clips = [*clips[:3], f"{len(clips) - 3} more"] if len(clips) > 4 else clips
    named = f" (clips {', '.join(clips)})" if clips else ""
    return DamagedShardError(f"{path}: {reason}{named}")


def measure(key: str, levels: np.ndarray, source: Path) -> Measured:
    """Returns the row of levels (frames, bands), not yet assigned to a shard."""
    status = source.stat()
    level_sum, sum_of_squares = _sums(levels)
    return Measured(
        key=key,
        frames=levels.shape[0],
        bands=levels.shape[1],
        level_sum=level_sum,
        level_sum_of_squares=sum_of_squares,
        source_bytes=status.st_size,
        source_mtime_ns=status.st_mtime_ns,
        crc32=zlib.crc32(levels.tobytes()),
    )


def _sums(levels: np.ndarray) -> tuple[float, float]:
    wide = levels.astype(np.int64 if np.issubdtype(levels.dtype, np.integer) else np.float64)
    return wide.sum().item(), (wide * wide).sum().item()


def write(store: Path, shard: str, clips: Sequence[tuple[Measured, np.ndarray]]) -> list[Measured]:
    """Writes the levels (frames, bands) of clips as a shard; returns its rows."""
    rows = [
        dataclasses.replace(measured, shard=shard, record=record)
        for record, (measured, _) in enumerate(clips)
    ]
    _write_records(store, shard, [np.ascontiguousarray(levels).tobytes() for _, levels in clips])
    _write_index(store, shard, rows)
    return rows


def _write_records(store: Path, shard: str, records: Sequence[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    with replacing(records_path(store, shard)) as temporary:
        try:
            writer = ArrayRecordWriter(str(temporary), RECORD_OPTIONS)
            for record in records:
                writer.write(record)
            writer.close()
        except RuntimeError as error:  # any error of the writer, e.g. a full disk
            raise UserError(
                f"{store}: cannot be written ({one_line(error)}); finished shards are kept"
            ) from error


def _write_index(store: Path, shard: str, rows: Sequence[Measured]) -> None:
    lines = json_lines([dataclasses.asdict(row) for row in rows])
    footer = {
        "shard": shard,
        "records": len(rows),
        "file_bytes": records_path(store, shard).stat().st_size,
        "rows_sha256": hashlib.sha256(lines).hexdigest(),
    }
    with replacing(_index_path(store, shard)) as temporary:
        temporary.write_bytes(lines + json_lines([footer]))


def records_path(store: Path, shard: str) -> Path:
    """Returns the path of the records of a shard."""
    return store / "shards" / f"{shard}.arrayrecord"


def _index_path(store: Path, shard: str) -> Path:
    return store / "shards" / f"{shard}.jsonl"


def names(store: Path) -> list[str]:
    """Returns the shards that have an index, oldest first."""
    paths = (store / "shards").glob("[!.]*.jsonl")
    return [path.stem for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path))]


def read(store: Path, shard: str) -> Shard:
    """Returns the rows of a shard, after checking them and the size of its records.

    The records themselves are not read. Raises DamagedShardError.
    """
    rows, footer = _read_index(store, shard)
    if not footer:
        return Shard(rows, checked=False)
    path, keys = records_path(store, shard), [row.key for row in rows]
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise damaged(path, "is missing", keys) from error
    if size != footer["file_bytes"]:
        reason = f"has {size} bytes, its index states {footer['file_bytes']}"
        raise damaged(path, reason, keys)
    return Shard(rows, checked=True)


def _read_index(store: Path, shard: str) -> tuple[list[Measured], Mapping[str, Any]]:
    """Returns rows and footer of a shard, {} where it has none; raises DamagedShardError."""
    path = _index_path(store, shard)
    lines = path.read_bytes().splitlines(keepends=True)
    footer = _footer(path, lines)
    rows = [_row(path, line, shard, number) for number, line in enumerate(lines)]
    keys, digest = [row.key for row in rows], hashlib.sha256(b"".join(lines)).hexdigest()
    if not rows:
        raise damaged(path, "has no rows")
    if footer and any(row.crc32 is None for row in rows):
        raise damaged(path, "a row has no checksum", keys)
    if not footer and any(row.crc32 is not None for row in rows):
        raise damaged(path, "is cut off: its last line is missing", keys)
    stated = (footer.get("shard"), footer.get("records"), footer.get("rows_sha256"))
    if footer and stated != (shard, len(rows), digest):
        raise damaged(path, "its rows were changed after they were written", keys)
    return rows, footer


def _footer(path: Path, lines: list[bytes]) -> Mapping[str, Any]:
    """Returns the footer, which it removes from the lines; {} where there is none."""
    with contextlib.suppress(ValueError, IndexError):
        footer = parse_json(lines[-1])
        if isinstance(footer, dict) and "rows_sha256" in footer:
            if footer.keys() != {"shard", "records", "file_bytes", "rows_sha256"}:
                raise damaged(path, "its last line is damaged")
            lines.pop()
            return footer
    return {}


def _row(path: Path, line: bytes, shard: str, number: int) -> Measured:
    """Returns the row of a line of JSON; raises DamagedShardError where a value is impossible."""
    try:
        row = Measured(**parse_json(line))
        counts = (row.frames, row.bands, row.source_bytes, row.source_mtime_ns, row.record)
        sums = (row.level_sum, row.level_sum_of_squares)
        if not (
            isinstance(row.key, str)
            and all(type(count) is int for count in counts)
            and row.frames > 0 < row.bands
            and all(type(total) in (int, float) and math.isfinite(total) for total in sums)
            and (row.crc32 is None or type(row.crc32) is int)
            and (row.shard, row.record) == (shard, number)
        ):
            raise ValueError("a value is out of range")
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged(path, f"line {number + 1} is damaged ({error})") from error
    return row


def check_record(store: Path, row: Measured, record: bytes) -> None:
    """Raises DamagedShardError unless a record is the one that its row describes."""
    if row.crc32 is not None and zlib.crc32(record) != row.crc32:
        path = records_path(store, row.shard)
        reason = f"record {row.record} is damaged or belongs to another clip"
        raise damaged(path, reason, [row.key])


def intact(store: Path, rows: Sequence[Measured]) -> list[tuple[Measured, bytes]]:
    """Returns the records of a shard that match their rows, with these rows."""
    found = []
    for row, record in zip(rows, _records(store, rows), strict=True):
        with contextlib.suppress(DamagedShardError):
            if record is not None:
                check_record(store, row, record)
                found.append((row, record))
    return found


def _records(store: Path, rows: Sequence[Measured]) -> Iterator[bytes | None]:
    """Yields the records of the rows of one shard, None where one cannot be read."""
    shard = rows[0].shard
    for row in rows:
        record = None
        with contextlib.suppress(RuntimeError, IndexError), _reader(store, shard) as reader:
            record = reader.read([row.record])[0]
        yield record


def num_records(store: Path, shard: str) -> int:
    """Returns the number of records of a shard, from its records; 0 where they are damaged."""
    with contextlib.suppress(RuntimeError), _reader(store, shard) as reader:
        return reader.num_records()
    return 0


@contextlib.contextmanager
def _reader(store: Path, shard: str) -> Iterator[Any]:
    """Yields a reader of the records of a shard, which is unusable after its first error."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(records_path(store, shard)))
    yield reader
    reader.close()


def upgrade(store: Path, shard: str, rows: Sequence[Measured], dtype: type[np.generic]) -> None:
    """Adds checksums and a footer to the index of a shard that has none; nothing is decoded.

    dtype: of the records. Raises DamagedShardError where number, sizes or sums of the records are
    not those of the rows.
    """
    path, keys = records_path(store, shard), [row.key for row in rows]
    if num_records(store, shard) != len(rows):
        raise damaged(path, "does not have the records that its index states", keys)
    upgraded = []
    for row, record in zip(rows, _records(store, rows), strict=True):
        if record is None or not _has_sums(row, record, dtype):
            raise damaged(path, f"record {row.record} is not that of its row", keys)
        upgraded.append(dataclasses.replace(row, crc32=zlib.crc32(record)))
    index = _index_path(store, shard)
    before = index.stat()
    _write_index(store, shard, upgraded)
    os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))  # which orders the shards


def _has_sums(row: Measured, record: bytes, dtype: type[np.generic]) -> bool:
    if len(record) != row.frames * row.bands * np.dtype(dtype).itemsize:
        return False
    sums = _sums(np.frombuffer(record, dtype).reshape(row.frames, row.bands))
    expected = (row.level_sum, row.level_sum_of_squares)
    return all(math.isclose(*pair, rel_tol=1e-9) for pair in zip(sums, expected, strict=True))


def salvage(store: Path, shard: str, name: str) -> int:
    """Moves the intact records of a damaged shard to a new one; returns their number.

    Then the damaged shard is removed: its other clips are missing from the store.
    """
    rows: list[Measured] = []
    with contextlib.suppress(DamagedShardError):
        rows, _ = _read_index(store, shard)
    kept = intact(store, rows) if rows else []
    if kept:
        moved = [
            dataclasses.replace(row, shard=name, record=number)
            for number, (row, _) in enumerate(kept)
        ]
        _write_records(store, name, [record for _, record in kept])
        _write_index(store, name, moved)
    if not kept or name != shard:
        _index_path(store, shard).unlink(missing_ok=True)
        records_path(store, shard).unlink(missing_ok=True)
    return len(kept)


def remove_incomplete(store: Path) -> None:
    """Removes records without an index, which killed processes left."""
    complete = {*names(store)}
    for path in (store / "shards").glob("[!.]*.arrayrecord"):
        if path.stem not in complete:
            path.unlink()

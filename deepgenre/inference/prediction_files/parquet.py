"""Predictions as a Parquet file; requires pyarrow."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepgenre.audio.describe import TEXT_COLUMNS
from deepgenre.errors import UserError
from deepgenre.inference.prediction_files import rows
from deepgenre.inference.prediction_files.rows import Key, Layout, Prediction, Row, Write

has_checksums = False  # of rows; see `text.TextFormat`
ROWS_PER_GROUP = 1000  # kept in memory
# What pyarrow raises on damaged files; its own errors are derived from these.
DAMAGE = (
    ValueError,
    OSError,
    TypeError,
    LookupError,
    NotImplementedError,
    MemoryError,
    RuntimeError,
)


def name(path: Path) -> str:
    """Returns a path as a row contains it."""
    return rows.encodable(str(path))


@contextlib.contextmanager
def writing(
    path: Path, layout: Layout, old: Path | None = None, key: Key = lambda row: row.name
) -> Iterator[Write]:
    """Yields the function that adds a row to a new file, after the last of each key of `old`."""
    arrow, parquet = load_pyarrow()
    schema = _schema(layout)
    pending: list[list[Any]] = []

    def flush() -> None:
        if pending:
            arrays = [
                arrow.array(list(column), field.type)
                for column, field in zip(zip(*pending, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            pending.clear()

    def write(prediction: Prediction) -> None:
        values = rows.cells(prediction, layout)
        pending.append([rows.encodable(v) if isinstance(v, str) else v for v in values])
        if len(pending) == ROWS_PER_GROUP:
            flush()

    with parquet.ParquetWriter(path, schema) as writer:
        if old is not None and old.exists():
            for batch in _kept_batches(old, schema, key):
                writer.write_batch(batch)
        yield write
        flush()


def _kept_batches(path: Path, schema: Any, key: Key) -> Iterator[Any]:
    """Yields the last row of each key of a file, in batches."""
    arrow, parquet = load_pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise UserError(
                    f"{path}: cannot be resumed: its columns are not those of these weights; "
                    "give another --output"
                )
            records = file.read(["path", "bytes", "mtime_ns", "error"]).to_pylist()
            last, start = rows.last_of_each(key(_row(record)) for record in records), 0
            for batch in file.iter_batches(ROWS_PER_GROUP):
                indices = range(start, start + batch.num_rows)
                yield batch.filter(arrow.array([index in last for index in indices]))
                start += batch.num_rows
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # of the system
            raise
        raise UserError(f"{path}: is not a complete Parquet file; give another --output") from error


def _row(row: dict[str, Any]) -> Row:
    fingerprint = None if row["bytes"] is None else (row["bytes"], row["mtime_ns"])
    if row["path"] is None:
        raise ValueError("a row has no path")
    return Row(row["path"], fingerprint, bool(row["error"]))


def _schema(layout: Layout) -> Any:
    arrow, _ = load_pyarrow()
    integers = dict.fromkeys(("bytes", "mtime_ns"), arrow.int64())
    tags = [rows.prefixed(network, rows.TAGS) for network in layout.networks]
    described = TEXT_COLUMNS.intersection(layout.described)
    texts = dict.fromkeys(("path", "error", *described, *tags), arrow.string())
    types = {**integers, **texts}
    return arrow.schema(
        [(column, types.get(column, arrow.float32())) for column in rows.columns(layout)]
    )


def load_pyarrow(what: str = "--output", advice: str = "; or use .csv") -> tuple[Any, Any]:
    """Returns pyarrow and pyarrow.parquet; raises UserError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{what}: .parquet needs pyarrow, pip install 'deepgenre[parquet]'{advice}"
        ) from error
    return pyarrow, pyarrow.parquet

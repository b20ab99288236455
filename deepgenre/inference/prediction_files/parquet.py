"""Predictions as a Parquet file; requires pyarrow."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepgenre.audio.describe import TEXT_COLUMNS
from deepgenre.errors import UserError
from deepgenre.inference.prediction_files import rows
from deepgenre.inference.prediction_files.rows import Keep, Prediction, Row, Write

ROWS_PER_GROUP = 1000  # kept in memory


def name(path: Path) -> str:
    """Returns a path as a row contains it."""
    return rows.encodable(str(path))


@contextlib.contextmanager
def writing(
    path: Path,
    classes: Sequence[str],
    described: Sequence[str] = (),
    old: Path | None = None,
    keep: Keep = lambda row: True,
) -> Iterator[Write]:
    """Yields the function that adds a row to a new file, after the rows of `old` to keep."""
    arrow, parquet = _pyarrow()
    schema = _schema(classes, described)
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
        values = rows.cells(prediction, classes, described)
        pending.append([rows.encodable(v) if isinstance(v, str) else v for v in values])
        if len(pending) == ROWS_PER_GROUP:
            flush()

    with parquet.ParquetWriter(path, schema) as writer:
        if old is not None and old.exists():
            for batch in _kept_batches(old, schema, keep):
                writer.write_batch(batch)
        yield write
        flush()


def _kept_batches(path: Path, schema: Any, keep: Keep) -> Iterator[Any]:
    """Yields the rows of a file to keep, in batches."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise UserError(
                    f"{path}: cannot be resumed: its columns are not those of these weights; "
                    "--describe; give another --output"
                )
            for batch in file.iter_batches(ROWS_PER_GROUP):
                records = batch.select(["path", "bytes", "mtime_ns", "error"]).to_pylist()
                yield batch.filter(arrow.array([keep(_row(row)) for row in records]))
    except arrow.ArrowInvalid as error:
        raise UserError(f"{path}: is not a complete Parquet file; give another --output") from error


def _row(row: dict[str, Any]) -> Row:
    fingerprint = None if row["bytes"] is None else (row["bytes"], row["mtime_ns"])
    return Row(row["path"], fingerprint, bool(row["error"]))


def _schema(classes: Sequence[str], described: Sequence[str]) -> Any:
    arrow, _ = _pyarrow()
    integers = dict.fromkeys(("bytes", "mtime_ns"), arrow.int64())
    texts = dict.fromkeys(("path", "error", "tags", *(TEXT_COLUMNS & {*described})), arrow.string())
    types = {**integers, **texts}
    return arrow.schema(
        [(name, types.get(name, arrow.float32())) for name in rows.columns(classes, described)]
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "--output: .parquet needs pyarrow, pip install 'deepgenre[parquet]'; or use .csv"
        ) from error
    return pyarrow, pyarrow.parquet

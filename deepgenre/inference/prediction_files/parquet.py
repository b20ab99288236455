"""Predictions as a Parquet file, by pyarrow, where that is installed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files.rows import (
    Keep,
    Prediction,
    Row,
    Write,
    cells,
    columns,
    encodable,
)

ROWS_A_GROUP = 1000  # as many are in memory


def name(path: Path) -> str:
    """Returns how a row spells a path."""
    return encodable(str(path))


@contextlib.contextmanager
def writing(
    path: Path, classes: Sequence[str], old: Path | None = None, keep: Keep = lambda row: True
) -> Iterator[Write]:
    """Yields the function that adds a row to a new file, after those of an old one to be kept."""
    arrow, parquet = _pyarrow()
    schema = _schema(classes)
    waiting: list[list[Any]] = []

    def flush() -> None:
        if waiting:
            arrays = [
                arrow.array(list(column), field.type)
                for column, field in zip(zip(*waiting, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

    def write(prediction: Prediction) -> None:
        values = cells(prediction, classes)
        waiting.append([encodable(v) if isinstance(v, str) else v for v in values])
        if len(waiting) == ROWS_A_GROUP:
            flush()

    with parquet.ParquetWriter(path, schema) as writer:
        if old is not None and old.exists():
            for batch in _kept(old, schema, keep):
                writer.write_batch(batch)
        yield write
        flush()


def _kept(path: Path, schema: Any, keep: Keep) -> Iterator[Any]:
    """Yields the rows of a file that are to be kept, in batches."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as found:
            if not found.schema_arrow.equals(schema):
                raise UserError(
                    f"{path}: cannot be gone on with, its columns are not those of these weights; "
                    "give another --output"
                )
            for batch in found.iter_batches(ROWS_A_GROUP):
                rows = batch.select(["path", "bytes", "mtime_ns", "error"]).to_pylist()
                yield batch.filter(arrow.array([keep(_row(row)) for row in rows]))
    except arrow.ArrowInvalid as error:
        raise UserError(f"{path}: is no whole Parquet file; give another --output") from error


def _row(row: dict[str, Any]) -> Row:
    fingerprint = None if row["bytes"] is None else (row["bytes"], row["mtime_ns"])
    return Row(row["path"], fingerprint, bool(row["error"]))


def _schema(classes: Sequence[str]) -> Any:
    arrow, _ = _pyarrow()
    whole = dict.fromkeys(("bytes", "mtime_ns"), arrow.int64())
    texts = dict.fromkeys(("path", "error", "tags"), arrow.string())
    types = {**whole, **texts}
    return arrow.schema(
        [(column, types.get(column, arrow.float32())) for column in columns(classes)]
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "--output: .parquet needs pyarrow, pip install 'deepgenre[parquet]'; or take .csv"
        ) from error
    return pyarrow, pyarrow.parquet

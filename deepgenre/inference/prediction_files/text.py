"""Predictions as text: JSON lines or CSV, one row per song, which can be resumed at any row.

A row contains path, size in bytes and modification time of the file, its tags (best first) and a
score per class; or the error. JSON lines contain names exactly. CSV is for spreadsheets: a cell
that looks like a formula gets an apostrophe in front (OWASP), line breaks are quoted (RFC 4180),
and bytes of a name that are not UTF-8 become escapes, as in Parquet.
"""

import contextlib
import csv
import dataclasses
import errno
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from deepgenre.audio.describe import DESCRIPTOR_COLUMNS
from deepgenre.errors import UserError
from deepgenre.inference.prediction_files import rows
from deepgenre.inference.prediction_files.rows import Keep, Prediction, Row, Write

# Beginnings of a cell that get an apostrophe in front: of formulas, and the apostrophe itself.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "'")
CSV_LINE_END = "\r\n"
Names = Sequence[str]


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """A format of consecutive rows, to which rows can be appended."""

    name: Callable[[Path], str]
    # Each takes the classes and the columns of descriptors.
    header: Callable[[Names, Names], str]
    line: Callable[[Prediction, Names, Names], str]
    rows: Callable[[Path, Names, Names], Iterator[tuple[Row, str]]]  # complete ones, with text

    @contextlib.contextmanager
    def writing(self, path: Path, classes: Names, described: Names = ()) -> Iterator[Write]:
        """Yields the function that writes a row to a new file."""
        with _open(path, "wb") as stream:
            stream.write(self.header(classes, described).encode())
            yield lambda prediction: _write(stream, self.line(prediction, classes, described))

    @contextlib.contextmanager
    def appending(self, path: Path, classes: Names, described: Names = ()) -> Iterator[Write]:
        """Yields the function that appends a row to a file and flushes it."""
        with _open(path, "ab") as stream:

            def write(prediction: Prediction) -> None:
                _write(stream, self.line(prediction, classes, described))
                stream.flush()

            yield write

    def copy(self, old: Path, new: Path, classes: Names, described: Names, keep: Keep) -> None:
        """Writes a new file with the rows to keep of an old one, if it exists."""
        with _open(new, "wb") as stream:
            stream.write(self.header(classes, described).encode())
            for row, text in self.rows(old, classes, described) if old.exists() else ():
                if keep(row):
                    _write(stream, text)


def _json_line(prediction: Prediction, classes: Names, described: Names) -> str:
    line: dict[str, Any] = {"path": str(prediction.path)}
    if prediction.fingerprint:
        line |= dict(zip(("bytes", "mtime_ns"), prediction.fingerprint, strict=True))
    if prediction.scores is None:
        line["error"] = prediction.error
    else:
        line["tags"] = prediction.tags
        line |= {name: prediction.descriptors.get(name) for name in described}
        line["scores"] = dict(zip(classes, rows.rounded(prediction.scores), strict=True))
    return json.dumps(line, ensure_ascii=False) + "\n"


def _json_rows(path: Path, classes: Names, described: Names) -> Iterator[tuple[Row, str]]:
    with _open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            if not raw.endswith(b"\n"):
                return  # the incomplete last line of a killed run
            try:
                line = json.loads(raw)
                fingerprint = (line["bytes"], line["mtime_ns"]) if "bytes" in line else None
                row = Row(line["path"], fingerprint, "error" in line)
                fits = row.failed or [*line["scores"]] == [*classes]
                names = {*line} & DESCRIPTOR_COLUMNS
            except (ValueError, TypeError, KeyError) as error:
                raise _resume_error(path, f"line {number} is not a prediction") from error
            if not fits:
                raise _resume_error(path, f"line {number} has other classes than these weights")
            if not row.failed and names != {*described}:
                raise _resume_error(path, f"line {number} was written with another --describe")
            yield row, raw.decode()


def csv_cell(value: Any) -> str:
    """Returns the text of a cell, which spreadsheets do not evaluate as a formula."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = "" if value is None else rows.encodable(str(value))
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text


def _csv_row(values: Iterable[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=CSV_LINE_END).writerow(values)
    return text.getvalue()


def _csv_rows(path: Path, classes: Names, described: Names) -> Iterator[tuple[Row, str]]:
    header = [csv_cell(name) for name in rows.columns(classes, described)]
    last_line = ""

    def remember(line: str) -> str:
        nonlocal last_line
        last_line = line
        return line

    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.reader(map(remember, stream), strict=True)
        try:
            for number, values in enumerate(reader):
                if not last_line.endswith(CSV_LINE_END):
                    return  # the incomplete last row of a killed run
                if (values if number == 0 else header) != header or len(values) != len(header):
                    raise _resume_error(
                        path, f"row {number} has other columns than these weights and --describe"
                    )
                if number:
                    name, size_bytes, mtime_ns, error, *_ = values
                    fingerprint = (int(size_bytes), int(mtime_ns)) if size_bytes else None
                    yield Row(name, fingerprint, bool(error)), _csv_row(values)
        except (csv.Error, ValueError) as error:
            if stream.read(1):
                raise _resume_error(path, f"{error}") from error
            # Else the last row ends within quotes: it is the incomplete row of a killed run.


def _resume_error(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: cannot be resumed: {reason}; give another --output")


def _write(stream: BinaryIO, text: str) -> None:
    stream.write(text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def _open(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Yields the stream; adds the path to the error of a full disk, which lacks it."""
    try:
        with path.open(mode) as stream:
            yield stream  # pyright: ignore[reportReturnType]
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


JSON_LINES = TextFormat(str, lambda classes, described: "", _json_line, _json_rows)
CSV = TextFormat(
    lambda path: csv_cell(str(path)),
    lambda classes, described: _csv_row(map(csv_cell, rows.columns(classes, described))),
    lambda prediction, classes, described: _csv_row(
        map(csv_cell, rows.cells(prediction, classes, described))
    ),
    _csv_rows,
)

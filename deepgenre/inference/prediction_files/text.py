"""Files of predictions: JSON lines, CSV or Parquet by suffix; whole, or to be gone on with.

A row is a song: path, size in bytes and time of its file, its tags (best first), a score a class;
or why it could not be heard. JSON lines hold names exactly. CSV is for people and spreadsheets: a
cell that a spreadsheet would take for a formula gets an apostrophe in front (OWASP's rule), line
breaks stand within quotes (RFC 4180). What is no UTF-8 in a name becomes an escape, in Parquet too.
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

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files.rows import (
    Keep,
    Prediction,
    Row,
    Write,
    cells,
    columns,
    encodable,
    rounded,
)

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # what makes a cell one; and the apostrophe itself
END = "\r\n"  # of a row of CSV


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """A format of one row after the other, which can be gone on with at any row."""

    name: Callable[[Path], str]
    header: Callable[[Sequence[str]], str]
    line: Callable[[Prediction, Sequence[str]], str]
    rows: Callable[[Path, Sequence[str]], Iterator[tuple[Row, str]]]  # the whole ones, as written

    @contextlib.contextmanager
    def writing(self, path: Path, classes: Sequence[str]) -> Iterator[Write]:
        """Yields the function that writes a row to a new file."""
        with _open(path, "wb") as stream:
            stream.write(self.header(classes).encode())
            yield lambda prediction: _write(stream, self.line(prediction, classes))

    @contextlib.contextmanager
    def appending(self, path: Path, classes: Sequence[str]) -> Iterator[Write]:
        """Yields the function that adds a row to the end of a file, at once on disk."""
        with _open(path, "ab") as stream:

            def write(prediction: Prediction) -> None:
                _write(stream, self.line(prediction, classes))
                stream.flush()

            yield write

    def copy(self, old: Path, new: Path, classes: Sequence[str], keep: Keep) -> None:
        """Writes a new file with those rows of an old one, if there is one, that are to be kept."""
        with _open(new, "wb") as stream:
            stream.write(self.header(classes).encode())
            for row, text in self.rows(old, classes) if old.exists() else ():
                if keep(row):
                    _write(stream, text)


def _json_line(prediction: Prediction, classes: Sequence[str]) -> str:
    line: dict[str, Any] = {"path": str(prediction.path)}
    if prediction.fingerprint:
        line |= dict(zip(("bytes", "mtime_ns"), prediction.fingerprint, strict=True))
    if prediction.scores is None:
        line["error"] = prediction.error
    else:
        line["tags"] = prediction.tags
        line["scores"] = dict(zip(classes, rounded(prediction.scores), strict=True))
    return json.dumps(line, ensure_ascii=False) + "\n"


def _json_rows(path: Path, classes: Sequence[str]) -> Iterator[tuple[Row, str]]:
    with _open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            if not raw.endswith(b"\n"):
                return  # of a run that was killed
            try:
                line = json.loads(raw)
                fingerprint = (line["bytes"], line["mtime_ns"]) if "bytes" in line else None
                row = Row(line["path"], fingerprint, "error" in line)
                fits = row.failed or [*line["scores"]] == [*classes]
            except (ValueError, TypeError, KeyError) as error:
                raise _foreign(path, f"line {number} is no prediction") from error
            if not fits:
                raise _foreign(path, f"line {number} has other classes")
            yield row, raw.decode()


def csv_cell(value: Any) -> str:
    """Returns a cell's text, which no spreadsheet takes for a formula."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = "" if value is None else encodable(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv_row(values: Iterable[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=END).writerow(values)
    return text.getvalue()


def _csv_rows(path: Path, classes: Sequence[str]) -> Iterator[tuple[Row, str]]:
    header = [csv_cell(name) for name in columns(classes)]
    last = ""

    def noted(line: str) -> str:
        nonlocal last
        last = line
        return line

    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.reader(map(noted, stream), strict=True)
        try:
            for number, values in enumerate(reader):
                if not last.endswith(END):
                    return  # of a run that was killed
                if (values if number == 0 else header) != header or len(values) != len(header):
                    raise _foreign(path, f"row {number} has other columns")
                if number:
                    name, size_bytes, mtime_ns, error, *_ = values
                    fingerprint = (int(size_bytes), int(mtime_ns)) if size_bytes else None
                    yield Row(name, fingerprint, bool(error)), _csv_row(values)
        except (csv.Error, ValueError) as error:
            if stream.read(1):
                raise _foreign(path, f"{error}") from error
            # Else the last row ends within quotes: it is of a run that was killed.


def _foreign(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: cannot be gone on with, {reason} of these weights; give another --output"
    )


def _write(stream: BinaryIO, text: str) -> None:
    stream.write(text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def _open(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Yields the stream; an error of a full disk names the file, which a stream does not know."""
    try:
        with path.open(mode) as stream:
            yield stream  # pyright: ignore[reportReturnType]
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


JSON_LINES = TextFormat(str, lambda classes: "", _json_line, _json_rows)
CSV = TextFormat(
    lambda path: csv_cell(str(path)),
    lambda classes: _csv_row(map(csv_cell, columns(classes))),
    lambda prediction, classes: _csv_row(map(csv_cell, cells(prediction, classes))),
    _csv_rows,
)

"""Predictions as text: JSON lines or CSV, one row per song, which can be resumed at any row.

A row contains path, size in bytes and modification time of the file, its descriptors, and for each
network its tags (best first) and a score per class; or the error. JSON lines contain names exactly,
and a checksum of the row. CSV is for spreadsheets: a cell that looks like a formula gets an
apostrophe in front (OWASP), line breaks are quoted (RFC 4180), and bytes of a name that are not
UTF-8 become escapes, as in Parquet.
"""

import contextlib
import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deepgenre.errors import UserError
from deepgenre.files import FULL_DISK, append_to, check_not_replaced
from deepgenre.inference.prediction_files import rows
from deepgenre.inference.prediction_files.rows import Key, Layout, Prediction, Row, Write
from deepgenre.sealed_lines import sealed, unsealed

# Beginnings of a cell that get an apostrophe in front: of formulas, and the apostrophe itself.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "'")
CSV_LINE_END = "\r\n"


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """A format of consecutive rows, to which rows can be appended."""

    name: Callable[[Path], str]
    header: Callable[[Layout], str]
    line: Callable[[Prediction, Layout], str]
    rows: Callable[[Path, Layout], Iterator[tuple[Row, str]]]  # complete ones, with text
    has_checksums: bool  # each row, which `rows` compares

    @contextlib.contextmanager
    def writing(self, path: Path, layout: Layout) -> Iterator[Write]:
        """Yields the function that writes a row to a new file."""
        with _open(path, "wb") as stream:
            stream.write(self.header(layout).encode())
            yield lambda prediction: _write(stream, self.line(prediction, layout))

    @contextlib.contextmanager
    def appending(self, path: Path, layout: Layout) -> Iterator[Write]:
        """Yields the function that appends a row to a file, at once and whole."""
        with path.open("ab", buffering=0) as stream:

            def write(prediction: Prediction) -> None:
                check_not_replaced(path, stream)
                append_to(stream, path, _encoded(self.line(prediction, layout)))

            yield write

    def copy(self, old: Path, new: Path, layout: Layout, key: Key) -> None:
        """Writes a new file with the last row of each key of an old one, if it exists."""

        def old_rows() -> Iterator[tuple[Row, str]]:
            return self.rows(old, layout) if old.exists() else iter(())

        last = rows.last_of_each(key(row) for row, _ in old_rows())
        with _open(new, "wb") as stream:
            stream.write(self.header(layout).encode())
            for index, (_, text) in enumerate(old_rows()):
                if index in last:
                    _write(stream, text)


def json_row(prediction: Prediction, layout: Layout) -> dict[str, Any]:
    """Returns the object of a line of JSON."""
    line: dict[str, Any] = {"path": str(prediction.path)}
    if prediction.fingerprint:
        line |= dict(zip(("bytes", "mtime_ns"), prediction.fingerprint, strict=True))
    if not prediction.results:
        line["error"] = prediction.error
        return line
    if prediction.seconds is not None:
        line["seconds"] = round(prediction.seconds, 3)
    line |= {name: prediction.descriptors.get(name) for name in layout.described}
    for result, (network, classes) in zip(prediction.results, layout.networks.items(), strict=True):
        scores = zip(classes, rows.rounded(result.scores), strict=True)
        line[rows.prefixed(network, rows.TAGS)] = result.tags
        line[rows.prefixed(network, rows.SCORES)] = dict(scores)
    return line


def _json_line(prediction: Prediction, layout: Layout) -> str:
    return sealed(json_row(prediction, layout))


def _json_rows(path: Path, layout: Layout) -> Iterator[tuple[Row, str]]:
    with _open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            if not raw.endswith(b"\n"):
                return  # the incomplete last line of a killed run
            try:
                text = raw.decode()
                line = unsealed(raw)
                row = _json_row_of(line)
                fits = row.failed or all(
                    [*line[rows.prefixed(network, rows.SCORES)]] == [*classes]
                    for network, classes in layout.networks.items()
                )
            except (ValueError, TypeError, KeyError) as error:
                raise _resume_error(path, f"line {number} is not a prediction") from error
            if not fits:
                raise _resume_error(path, f"line {number} has other classes than these weights")
            yield row, text


def _json_row_of(line: Any) -> Row:
    """Returns the row of an object; raises ValueError, KeyError or TypeError where it is none."""
    fingerprint = (line["bytes"], line["mtime_ns"]) if "bytes" in line else None
    if not isinstance(line["path"], str) or "\0" in line["path"]:
        raise ValueError("the path is no name of a file")
    if fingerprint and not all(type(value) is int for value in fingerprint):
        raise ValueError("size and time are no integers")
    return Row(line["path"], fingerprint, "error" in line)


def csv_cell(value: Any) -> str:
    """Returns the text of a cell, which spreadsheets do not evaluate as a formula."""
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, int):  # a time before 1970 is negative
        return str(value)
    text = "" if value is None else rows.encodable(str(value))
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text


def _csv_row(values: Iterable[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=CSV_LINE_END).writerow(values)
    return text.getvalue()


def _csv_rows(path: Path, layout: Layout) -> Iterator[tuple[Row, str]]:
    header = [csv_cell(name) for name in rows.columns(layout)]
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
                    raise _resume_error(path, f"row {number} has other columns than these weights")
                if number:
                    name, size_bytes, mtime_ns, error, *_ = values
                    times = mtime_ns.removeprefix("'")  # of earlier versions, before 1970
                    fingerprint = (int(size_bytes), int(times)) if size_bytes else None
                    yield Row(name, fingerprint, bool(error)), _csv_row(values)
        except (csv.Error, ValueError) as error:
            if stream.read(1):
                raise _resume_error(path, f"{error}") from error
            # Else the last row ends within quotes: it is the incomplete row of a killed run.


def _resume_error(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: cannot be resumed: {reason}; give another --output")


def _write(stream: BinaryIO, text: str) -> None:
    stream.write(_encoded(text))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _open(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Yields the stream; adds the path to the error of a full disk, which lacks it."""
    try:
        with path.open(mode) as stream:
            yield stream  # pyright: ignore[reportReturnType]
    except OSError as error:
        if error.errno in FULL_DISK:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


JSON_LINES = TextFormat(str, lambda layout: "", _json_line, _json_rows, has_checksums=True)
CSV = TextFormat(
    lambda path: csv_cell(str(path)),
    lambda layout: _csv_row(map(csv_cell, rows.columns(layout))),
    lambda prediction, layout: _csv_row(map(csv_cell, rows.cells(prediction, layout))),
    _csv_rows,
    has_checksums=False,
)

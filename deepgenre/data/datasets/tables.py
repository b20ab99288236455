"""Rows of the tables that datasets come with, with their line numbers; plain or gzipped."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepgenre.errors import UserError


def find(folder: Path, name: str) -> Path | None:
    """Returns the path of a file in a folder, plain or gzipped; None if neither exists."""
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def rows(
    path: Path, delimiter: str, *, ragged: bool = False, quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) of a table in UTF-8, beginning with its first row.

    Empty lines are skipped; an empty table yields one row, []. ragged: rows may differ in length.
    quoted: a cell in double quotes may contain the delimiter.

    Raises:
      UserError: the file cannot be read, or a row has not as many cells as the first.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    open_text = gzip.open if path.suffix == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
            first = next(reader, [])
            yield reader.line_num, first
            for row in filter(None, reader):
                if len(row) != len(first) and not ragged:
                    raise UserError(
                        f"{path}: line {reader.line_num} has {len(row)} columns, the first line "
                        f"{len(first)}; download it again"
                    )
                yield reader.line_num, row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from error


def column(header: Sequence[str], name: str, path: Path) -> int:
    """Returns the index of a column; raises UserError where the table has none of this name."""
    if name not in header:
        raise UserError(f"{path}: has no column {name!r}; get the original file")
    return header.index(name)


def whole_number(text: str, path: Path, line: int, field: str) -> int:
    """Returns the number in a cell; raises UserError that names file, line and field."""
    if not (text.isascii() and text.isdecimal()):
        raise UserError(
            f"{path}: line {line}: {field} is {text!r}, no whole number; get the original file"
        )
    return int(text)

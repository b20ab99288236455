"""Manifests: text files that list clips, .csv (commas), .tsv (tabs) or .jsonl (objects).

Columns, in any order and case (others are ignored):

    path    or file, filename       audio or .npy, absolute or relative to the manifest's folder
    labels  or label, genre, tags   by name, several separated by '|', or by the config's
                                    `label_separator` (in .jsonl also a list)
    group   or artist               optional: clips of one group stay in one part of a split
    split                           optional: train, valid or test, or a synonym of these
                                    (`splits.PART_SYNONYMS`), for a split of your own

Files are UTF-8, with or without a byte order mark. CSV is quoted as in RFC 4180.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.splits import part_name
from deepgenre.errors import UserError
from deepgenre.files import file_mode, parse_json, replacing

COLUMNS = {
    "path": ("path", "file", "filename"),
    "labels": ("labels", "label", "genre", "tags"),
    "group": ("group", "artist"),
    "split": ("split",),
}
REQUIRED = ("path", "labels")
DIALECTS = {".csv": "excel", ".tsv": "excel-tab"}
SUFFIXES = (*DIALECTS, ".jsonl")
SEPARATOR = "|"
LIST = r"""\[\s*(['"].*['"]|\d+(\s*,\s*\d+)*)?\s*\]"""  # of Python, as pandas writes it
OTHER_SEPARATORS = ",;"  # that joined labels may have where none is set


def read_manifest(path: Path, *, multi_label: bool, label_separator: str = "") -> Dataset:
    """Returns the clips of a manifest, sorted by key: the path as written, with '/' separators.

    A clip without a group is its own group. Clips with a missing file are returned too: decoding
    reports them. label_separator: between the labels of a cell; '': '|'.

    Raises:
      UserError: the manifest cannot be read or is malformed, two lines have the same path, a line
        has no path or, without `multi_label`, not exactly one label, none of the files exists, or
        labels seem to be joined by another separator and `label_separator` is ''.
    """
    rows = _json_rows(path) if suffix_of(path) == ".jsonl" else _table_rows(path)
    lines: dict[str, int] = {}
    clips: list[Clip] = []
    written: set[str] = set()  # labels of cells, in which several may be joined
    try:
        for line, row in rows:
            clip = _clip(row, f"{str(path)!r}, line {line}", path.parent, label_separator)
            if not multi_label and len(clip.labels) != 1:
                names = ", ".join(map(repr, clip.labels)) or "none"
                raise UserError(
                    f"{str(path)!r}, line {line}: {len(clip.labels)} labels, {names}: give one, "
                    "or set multi_label."
                )
            file = os.path.normpath(clip.path.absolute())
            if file in lines:
                raise UserError(
                    f"{str(path)!r}: lines {lines[file]} and {line} have the same path "
                    f"{clip.key!r}: keep one, with all its labels."
                )
            lines[file] = line
            written.update(() if isinstance(row["labels"], list) else clip.labels)
            clips.append(clip)
    except OSError as error:
        raise UserError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not UTF-8: save it as UTF-8.") from error
    if not clips:
        raise UserError(f"{str(path)!r} lists no clip: add one line per file.")
    if not any(file_mode(clip.path) for clip in clips):
        raise UserError(
            f"{str(path)!r}: none of its {len(clips)} files exists, e.g. {str(clips[0].path)!r}: "
            "give paths relative to the manifest's folder."
        )
    if not label_separator:
        _check_separator(written, path)
    return Dataset("folder", tuple(sorted(clips, key=lambda clip: clip.key)), multi_label)


def _check_separator(labels: set[str], path: Path) -> None:
    """Raises UserError where labels, such as 'blues,music', are several that are joined.

    That is assumed where a piece of one label is another label, or a piece of another label.
    """
    for separator in OTHER_SEPARATORS:
        owners: dict[str, str] = {}  # from a piece to the first label that contains it
        for label in sorted(labels):
            for piece in {piece.strip() for piece in label.split(separator)} - {""}:
                other = owners.setdefault(piece, label)
                joined = label if separator in label else other
                if other != label and separator in joined:
                    raise UserError(
                        f"{str(path)!r}: the label {joined!r} seems to be several, joined by "
                        f"{separator!r}: {piece!r} is also in {({other, label} - {joined}).pop()!r}"
                        f"; set --config.label_separator='{separator}', or, if this is a name, "
                        f"--config.label_separator='{SEPARATOR}'"
                    )


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Writes a manifest atomically; `read_manifest` restores the same clips from it.

    Paths inside the manifest's folder are written relative to it, others as absolute paths; the
    written path becomes the key.

    Raises:
      UserError: the suffix is not in `SUFFIXES`, the file cannot be written, or the format cannot
        represent a clip's name, label or row.
    """
    suffix = suffix_of(path)
    rows = [_row(clip, path, suffix) for clip in clips]
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            if suffix == ".jsonl":
                stream.writelines(json.dumps(row) + "\n" for row in rows)
            else:
                writer = csv.DictWriter(stream, list(COLUMNS), dialect=DIALECTS[suffix])
                writer.writeheader()
                writer.writerows({**row, "labels": "|".join(row["labels"])} for row in rows)
    except OSError as error:
        raise UserError(f"Cannot write {str(path)!r}: {error.strerror}.") from error
    except UnicodeEncodeError as error:
        raise UserError(
            f"{str(path)!r} cannot contain {error.object!r}, which is not UTF-8: write a .jsonl."
        ) from error


def suffix_of(path: Path) -> str:
    """Returns the suffix of a manifest; raises UserError if it is not in `SUFFIXES`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"{str(path)!r} is not a manifest: its name must end in .csv, .tsv or .jsonl."
        )
    return suffix


def _table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (first line number, values by field) for each row of a .csv or .tsv."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, dialect=DIALECTS[suffix_of(path)], strict=True)
        header: list[str] = []
        columns: dict[str, int] = {}
        following = 1
        try:
            for cells in reader:
                line, following = following, reader.line_num + 1
                if not cells:
                    continue
                if not header:
                    header = cells
                    columns = _columns(header, f"{str(path)!r}, line {line}")
                elif len(cells) == len(header):
                    yield line, {field: cells[index] for field, index in columns.items()}
                else:
                    raise UserError(
                        f"{str(path)!r}, line {line}: {len(cells)} cells under a header of "
                        f"{len(header)}: put a value that contains a separator in double quotes."
                    )
        except csv.Error as error:
            raise UserError(
                f"{str(path)!r}, line {following}: {error}: check its quotes."
            ) from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, values by field) for each object of a .jsonl."""
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            where = f"{str(path)!r}, line {line}"
            try:
                row = parse_json(text)
            except ValueError as error:
                raise UserError(f"{where} is not JSON ({error}): write one object.") from error
            if not isinstance(row, dict):
                raise UserError(f'{where} is not a JSON object: write {{"path": ...}}.')
            values = list(row.values())
            columns = _columns(list(row), where)
            yield line, {field: values[index] for field, index in columns.items()}


def _columns(names: Sequence[str], where: str) -> dict[str, int]:
    """Returns the index of each field of `COLUMNS` in the names of a header."""
    columns: dict[str, int] = {}
    given = [name.strip().lower() for name in names]
    for field, synonyms in COLUMNS.items():
        matches = [index for index, name in enumerate(given) if name in synonyms]
        # The field's name takes precedence over a synonym: a table may have 'group' and 'artist'.
        matches = [index for index in matches if given[index] == field] or matches
        if len(matches) > 1:
            raise UserError(
                f"{where}: columns {', '.join(repr(names[index]) for index in matches)} all give "
                f"the {field}: rename the right one to {field!r}."
            )
        if matches:
            columns[field] = matches[0]
        elif field in REQUIRED:
            raise UserError(
                f"{where}: no column {' or '.join(map(repr, synonyms))} among "
                f"{', '.join(map(repr, names))}: add it to the header."
            )
    return columns


def _clip(row: dict[str, Any], where: str, folder: Path, separator: str) -> Clip:
    written = row["path"]
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise UserError(f"{where}: {written!r} is not a path: give the file.")
    labels = _labels(row["labels"], where, separator or SEPARATOR)
    key = Path(written).as_posix()
    group, split = (_text(row.get(field), where, field) for field in ("group", "split"))
    part = part_name(split)
    return Clip(key=key, path=folder / written, labels=labels, group=group or key, split=part)


def _labels(value: Any, where: str, separator: str = SEPARATOR) -> tuple[str, ...]:
    """Returns the labels in the given order, without duplicates, stripped of white space."""
    text = "" if isinstance(value, list) else _text(value, where, "labels")
    if re.fullmatch(LIST, text):
        raise UserError(
            f"{where}: the labels are {text!r}, a list that was written as text: write the labels "
            f"with {SEPARATOR!r} in between, or a .jsonl with lists."
        )
    items = value if isinstance(value, list) else text.split(separator)
    names = (_text(item, where, "labels") for item in items)
    return tuple(dict.fromkeys(name for name in names if name))


def _text(value: Any, where: str, field: str) -> str:
    if not isinstance(value, str | int | None):
        raise UserError(f"{where}: the {field} {value!r} is not a string or a list of strings.")
    return "" if value is None else str(value).strip()


def _row(clip: Clip, manifest: Path, suffix: str) -> dict[str, Any]:
    """Returns the fields written for a clip; raises UserError if they cannot be read back."""
    if clip.row >= 0:
        raise UserError(f"{clip.key!r} is a row of {str(clip.path)!r}: a manifest lists files.")
    path, folder = clip.path.absolute(), manifest.parent.absolute()
    written = path.relative_to(folder) if path.is_relative_to(folder) else path
    labels = list(clip.labels) if suffix == ".jsonl" else "|".join(clip.labels)
    if _labels(labels, clip.key) != clip.labels:
        raise UserError(
            f"{str(manifest)!r} cannot contain the labels {clip.labels!r} of {clip.key!r}: remove "
            "empty or repeated labels and surrounding spaces, and write a .jsonl for a '|'."
        )
    return {
        "path": written.as_posix(),
        "labels": list(clip.labels),
        "group": clip.group,
        "split": clip.split,
    }

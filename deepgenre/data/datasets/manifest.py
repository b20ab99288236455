"""A manifest lists clips in a text file: .csv (commas), .tsv (tabs) or .jsonl (an object a line).

Columns, in any order and any case, by these names only (others are ignored):

    path    or file, filename       audio or .npy, absolute or relative to the manifest's folder
    labels  or label, genre, tags   by name, several separated by '|' (in .jsonl also a list)
    group   or artist               optional: clips that no split may tear apart
    split                           optional: train, valid or test, where you have chosen already

A file may be UTF-8 with or without a byte order mark. CSV quoting is that of RFC 4180.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deepgenre.audio.discover import file_mode
from deepgenre.data.clip import Clip, Dataset
from deepgenre.errors import UserError
from deepgenre.files import replacing

COLUMNS = {
    "path": ("path", "file", "filename"),
    "labels": ("labels", "label", "genre", "tags"),
    "group": ("group", "artist"),
    "split": ("split",),
}
REQUIRED = ("path", "labels")
DIALECTS = {".csv": "excel", ".tsv": "excel-tab"}
SUFFIXES = (*DIALECTS, ".jsonl")


def read_manifest(path: Path, *, multi_label: bool) -> Dataset:
    """Returns the clips of a manifest, sorted by key: the path as written, with '/' separators.

    A clip without a group is a group of its own. A clip whose file does not exist is in the table
    all the same, for whoever decodes it to report.

    Raises:
      UserError: the manifest cannot be read or is malformed, two lines have the same path, a line
        has no path or, without `multi_label`, not exactly one label, or no file exists.
    """
    rows = _json_rows(path) if suffix_of(path) == ".jsonl" else _table_rows(path)
    lines: dict[str, int] = {}
    clips: list[Clip] = []
    try:
        for line, row in rows:
            clip = _clip(row, f"{str(path)!r}, line {line}", path.parent, multi_label)
            file = os.path.normpath(clip.path.absolute())
            if file in lines:
                raise UserError(
                    f"{str(path)!r}: lines {lines[file]} and {line} have the same path "
                    f"{clip.key!r}: keep one, with all its labels."
                )
            lines[file] = line
            clips.append(clip)
    except OSError as error:
        raise UserError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not UTF-8: save it as UTF-8.") from error
    if not clips:
        raise UserError(f"{str(path)!r} lists no clip: add a line for each file.")
    if not any(file_mode(clip.path) for clip in clips):
        raise UserError(
            f"{str(path)!r}: not one of its {len(clips)} files exists, such as "
            f"{str(clips[0].path)!r}: paths are relative to the manifest's folder."
        )
    return Dataset("folder", tuple(sorted(clips, key=lambda clip: clip.key)), multi_label)


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Writes a manifest, all or nothing, that `read_manifest` reads back to the same clips.

    A path inside the manifest's folder is written relative to it, any other as absolute, and keys
    are what is written.

    Raises:
      UserError: the suffix is none of `SUFFIXES`, the file cannot be written, or the format cannot
        hold a clip's name, label or row.
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
            f"{str(path)!r} cannot hold {error.object!r}, which is not UTF-8: write a .jsonl."
        ) from error


def suffix_of(path: Path) -> str:
    """Returns which of `SUFFIXES` a manifest has; raises UserError for any other."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{str(path)!r} is no manifest: its name must end in .csv, .tsv or .jsonl.")
    return suffix


def _table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a .csv or .tsv by column, each with the line on which it begins."""
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
                    yield line, {field: cells[place] for field, place in columns.items()}
                else:
                    raise UserError(
                        f"{str(path)!r}, line {line}: {len(cells)} cells under a header of "
                        f"{len(header)}: put a name that holds a separator in double quotes."
                    )
        except csv.Error as error:
            raise UserError(
                f"{str(path)!r}, line {following}: {error}: check its quotes."
            ) from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            where = f"{str(path)!r}, line {line}"
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise UserError(f"{where} is not JSON ({error.msg}): write one object.") from error
            if not isinstance(row, dict):
                raise UserError(f'{where} is not a JSON object: write {{"path": ...}}.')
            values = list(row.values())
            columns = _columns(list(row), where)
            yield line, {field: values[place] for field, place in columns.items()}


def _columns(names: Sequence[str], where: str) -> dict[str, int]:
    """The place of each field of `COLUMNS` among the names of a header."""
    places: dict[str, int] = {}
    given = [name.strip().lower() for name in names]
    for field, synonyms in COLUMNS.items():
        present = [place for place, name in enumerate(given) if name in synonyms]
        # The field's own name wins over a synonym: 'group' is why there is an 'artist' beside it.
        chosen = [place for place in present if given[place] == field] or present
        if len(chosen) > 1:
            raise UserError(
                f"{where}: columns {', '.join(repr(names[place]) for place in chosen)} all say "
                f"the {field}: call the right one {field!r}."
            )
        if chosen:
            places[field] = chosen[0]
        elif field in REQUIRED:
            raise UserError(
                f"{where}: no column {' or '.join(map(repr, synonyms))} among "
                f"{', '.join(map(repr, names))}: name it in the header."
            )
    return places


def _clip(row: dict[str, Any], where: str, folder: Path, multi_label: bool) -> Clip:
    written = row["path"]
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise UserError(f"{where}: {written!r} is no path: name the file.")
    labels = _labels(row["labels"], where)
    if not multi_label and len(labels) != 1:
        raise UserError(
            f"{where}: {len(labels)} labels, {', '.join(map(repr, labels)) or 'none'}: give one, "
            "or set multi_label."
        )
    key = Path(written).as_posix()
    group, split = (_text(row.get(field), where, field) for field in ("group", "split"))
    return Clip(key=key, path=folder / written, labels=labels, group=group or key, split=split)


def _labels(value: Any, where: str) -> tuple[str, ...]:
    """Labels in the order given, each once, without the blanks around them."""
    items = value if isinstance(value, list) else _text(value, where, "labels").split("|")
    names = (_text(item, where, "labels") for item in items)
    return tuple(dict.fromkeys(name for name in names if name))


def _text(value: Any, where: str, field: str) -> str:
    if not isinstance(value, str | int | None):
        raise UserError(f"{where}: the {field} {value!r} is neither text nor a list of texts.")
    return "" if value is None else str(value).strip()


def _row(clip: Clip, manifest: Path, suffix: str) -> dict[str, Any]:
    """What is written of a clip; raises UserError where reading it would give something else."""
    if clip.row >= 0:
        raise UserError(f"{clip.key!r} is a row of {str(clip.path)!r}: a manifest lists files.")
    path, folder = clip.path.absolute(), manifest.parent.absolute()
    written = path.relative_to(folder) if path.is_relative_to(folder) else path
    labels = list(clip.labels) if suffix == ".jsonl" else "|".join(clip.labels)
    if _labels(labels, clip.key) != clip.labels:
        raise UserError(
            f"{str(manifest)!r} cannot hold the labels {clip.labels!r} of {clip.key!r}: leave out "
            "empty or repeated ones and blanks around them, and write a .jsonl if they hold a '|'."
        )
    return {
        "path": written.as_posix(),
        "labels": list(clip.labels),
        "group": clip.group,
        "split": clip.split,
    }

"""Feature files to audit: .npz, .npy or .csv with a row per clip."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre.errors import UserError, one_line
from deepgenre.evaluation.audit.subject import Subject

FEATURES = ("features", "embeddings", "embedding", "x", "scores", "mel")
KEYS = ("key", "keys", "name", "names", "path", "paths", "filename", "file", "id")
LABELS = ("label", "labels", "genre", "genres", "class", "y", "target")
GROUPS = ("group", "groups", "artist", "artists")
PARTS = ("split", "part", "fold")


def read_features(path: Path) -> Subject:
    """Returns the rows of a file in its order.

    .npz: a two-dimensional array of features and optional strings or numbers by the names above.
    .npy: features only. .csv: a header; columns of numbers are features. Names in any case.

    Raises:
      UserError: the file cannot be read, has no features, or an array has another length.
    """
    readers = {".npz": _npz, ".npy": _npy, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: is not a feature file; give .npz, .npy or .csv")
    try:
        columns = readers[path.suffix.lower()](path)
    except UserError:
        raise
    except Exception as error:  # damaged headers and zips raise ten different types
        reason = one_line(error)
        raise UserError(f"{path}: cannot be read ({reason}); save it again") from error
    features = _pick(columns, FEATURES)
    if features is None or features.ndim < 2 or features.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: has no array of features (rows, features); name one of {', '.join(FEATURES)}"
        )
    rows = len(features)
    for name, column in columns.items():
        if name in (*KEYS, *LABELS, *GROUPS, *PARTS) and len(column) != rows:
            raise UserError(f"{path}: {name!r} has {len(column)} rows, the features {rows}")
    numbers = features.reshape(rows, -1).astype(np.float64)
    if not rows or not np.isfinite(numbers).all():
        raise UserError(f"{path}: the features are empty, or contain NaN or infinity")
    keys = _strings(_pick(columns, KEYS)) or [f"row {row}" for row in range(rows)]
    parts = _strings(_pick(columns, PARTS))
    return Subject(
        name=str(path),
        keys=keys,
        labels=_labels(columns, keys),
        groups=_strings(_pick(columns, GROUPS)),
        parts=dict(zip(keys, parts, strict=True)) if parts else {},
        features=numbers,
    )


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name.lower(): arrays[name] for name in arrays.files}


def _npy(path: Path) -> dict[str, np.ndarray]:
    return {"features": np.load(path, allow_pickle=False)}


def _csv(path: Path) -> dict[str, np.ndarray]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    header, *body = rows or [[]]
    if not body or any(len(row) != len(header) for row in body):
        raise UserError(f"{path}: must have a header, and rows as long as it")
    columns = {
        name.strip().lower(): [*column]
        for name, column in zip(header, zip(*body, strict=True), strict=True)
    }
    named = {*KEYS, *LABELS, *GROUPS, *PARTS}
    numbers = {}
    for name, column in columns.items():
        if name not in named:
            try:
                numbers[name] = np.array(column, np.float64)
            except ValueError:  # a column of text
                continue
    texts = {name: np.array(column) for name, column in columns.items() if name in named}
    return {**texts, "features": np.stack([*numbers.values()], axis=1)} if numbers else texts


def _pick(columns: dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    return next((columns[name] for name in names if name in columns), None)


def _strings(column: np.ndarray | None) -> list[str]:
    return [] if column is None else [str(value) for value in column.tolist()]


def _labels(columns: dict[str, np.ndarray], keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the labels of each row; of names like 'blues.00029', where there is no column."""
    column = _pick(columns, LABELS)
    classes = _strings(columns.get("classes"))
    if column is not None and column.ndim == 2:  # 0 and 1 for each class
        names = classes or [str(index) for index in range(column.shape[1])]
        return [tuple(names[i] for i in np.flatnonzero(row)) for row in column]
    if column is not None:
        named = classes and column.dtype.kind in "iu"
        return [(classes[int(v)] if named else str(v),) for v in column.tolist()]
    heads = [key.rpartition("/")[2].partition(".")[0] for key in keys]
    is_named = 1 < len({*heads}) <= len(keys) // 4
    return [(head,) for head in heads] if is_named else []

"""Precomputed spectrograms: all clips in one .npz, or one .npy per clip.

These are formats, not a dataset: source, licence and faults are those of the recordings. Neither
says how long a frame is: the arrays `sample_rate_hz` and `hop_length` of an .npz do, or a file
`spectrograms.json` beside either, with fields of the front end:

    {"sample_rate_hz": 22050, "hop_length": 512}
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.spectrogram_levels import bands_axis, levels_of
from deepgenre.data.splits import part_name
from deepgenre.errors import UserError, one_line, unknown_name
from deepgenre.files import parse_json

SIDECAR = "spectrograms.json"
STATED_FIELDS = ("sample_rate_hz", "hop_length", "n_fft")  # of the front end, in a file of data
ARRAYS = ("mel", "name", "label", "tags", "tag_names", "group", "split", "track", *STATED_FIELDS)


def read_npz(path: Path, *, multi_label: bool = False, num_bands: int = 0) -> Dataset:
    """Returns the clips of an .npz of spectrograms, named after the file.

    Arrays: `mel` (clips, bands, frames), lowest band first, or (clips, frames, bands) where
    `num_bands` tells; uint8 levels, or floats as in `npy_levels`. `name` (clips,), the keys, text.
    Of one genre a clip: `label` (clips,), text or integers (default: the name up to its first '.').
    Of tags: `tags` (clips, tags) of 0 and 1, and `tag_names` (tags,). Optionally `group` (default:
    the name), `split`, the part of each clip (default: none), `track`, its song (default: none),
    and numbers of STATED_FIELDS. Other arrays are stated in the notes.

    Raises:
      UserError: an array is missing, unreadable, or has the wrong shape or type; a name occurs
        twice, or contains no label; or the labels are not what `multi_label` asks for.
    """
    mel = _mel(path)
    clips = len(mel)
    names = _strings(path, "name", clips)
    if names is None:
        raise UserError(f"{path}: has no array 'name'; add the clips' names")
    repeated = next((name for name in sorted(names) if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path}: name {repeated!r} occurs twice; make names unique")
    labels = _tags(path, clips) if multi_label else _genres(path, names)
    groups = _strings(path, "group", clips) or names
    parts = _strings(path, "split", clips) or [""] * clips
    tracks = _strings(path, "track", clips) or [""] * clips
    rows = (
        Clip(name, path, of_clip, group, split=part_name(part), row=row, track=track)
        for row, (name, of_clip, group, part, track) in enumerate(
            zip(names, labels, groups, parts, tracks, strict=True)
        )
    )
    ordered = tuple(sorted(rows, key=lambda clip: clip.key))
    notes = _orientation_notes(path, mel.shape[1:], num_bands) if num_bands else ()
    notes += _unused_notes(path)
    return Dataset(path.stem, ordered, multi_label, notes=notes, frontend=_stated_in(path))


def npz_levels(
    path: Path, row: int, *, num_bands: int = 0, range_db: float = 80.0, scale: str = ""
) -> np.ndarray:
    """Returns one clip of an .npz: uint8 (frames, bands). Each process reads the file once.

    num_bands, range_db, scale: as in `npy_levels`; num_bands 0: bands are the first axis.

    Raises:
      UserError: `mel` is missing, unreadable or of the wrong shape or type, or has no such row.
    """
    mel = _mel(path)
    if not 0 <= row < len(mel):
        raise UserError(f"{path}: has {len(mel)} clips and no row {row}; prepare it again")
    axis = _axis(path, mel.shape[1:], num_bands) if num_bands else 0
    frames_first = mel[row].T if axis == 0 else mel[row]
    where = f"{path}: clip {row}"
    levels = levels_of(frames_first, range_db=range_db, scale=scale, where=where)
    return np.ascontiguousarray(levels)


def npy_levels(path: Path, *, num_bands: int, range_db: float, scale: str = "") -> np.ndarray:
    """Returns the clip in a .npy as uint8 levels (frames, bands): 0..255 = -range_db..0 dB.

    The file contains (bands, frames) or (frames, bands): bands are the first axis of length
    `num_bands`. uint8 values are levels; floats are used relative to the clip's maximum, on the
    scale `scale` of `spectrogram_levels.SCALES`, by default dB.
    MTG-Jamendo's files contain 20 log10 of power, which is scale 'double_db'.

    Raises:
      UserError: the file is unreadable or empty, has the wrong shape, type or scale, or is not
        finite.
    """
    try:
        # Mapped, so that a broken header cannot ask for more memory than the file has bytes.
        stored = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # damaged headers raise ten different types
        raise _unreadable(path, error) from error
    if stored.ndim != 2 or num_bands not in stored.shape or not stored.size:
        raise UserError(
            f"{path}: has shape {stored.shape}, not (bands, frames) with {num_bands} bands; set "
            "frontend.n_mels to its number of bands"
        )
    bands_first = stored if bands_axis(stored.shape, num_bands) == 0 else stored.T
    frames_first = np.array(bands_first.T, order="C")  # a copy, so that the file is closed
    return levels_of(frames_first, range_db=range_db, scale=scale, where=str(path))


def stated_in_sidecar(folder: Path) -> dict[str, int]:
    """Returns the fields of the front end that `spectrograms.json` in a folder states, if any."""
    path = folder / SIDECAR
    if not path.is_file():
        return {}
    try:
        fields = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(fields, dict):
        raise UserError(f'{path}: must be an object, e.g. {{"hop_length": 512}}')
    return _checked(fields, path)


def _checked(fields: Mapping[str, Any], path: Path) -> dict[str, int]:
    for name, value in fields.items():
        if name not in STATED_FIELDS:
            raise unknown_name(str(path), name, STATED_FIELDS)
        if not isinstance(value, int) or value <= 0:
            raise UserError(f"{path}: {name} is {value!r}; give a whole number above 0")
    return dict(fields)


def _stated_in(path: Path) -> dict[str, int]:
    arrays = {name: _array(path, name) for name in STATED_FIELDS}
    given = {name: array.tolist() for name, array in arrays.items() if array is not None}
    return _checked(given, path)


def _axis(path: Path, shape: tuple[int, ...], num_bands: int) -> int:
    axis = bands_axis(shape, num_bands)
    if axis is None:
        raise UserError(
            f"{path}: its clips have shape {shape}, of which neither is the {num_bands} bands of "
            "the config; set --config.frontend.n_mels to the number of bands"
        )
    return axis


def _orientation_notes(path: Path, shape: tuple[int, ...], num_bands: int) -> tuple[str, ...]:
    if _axis(path, shape, num_bands) == 0:
        return ()
    return (
        f"{path}: its clips have shape {shape}; read as {shape[0]} frames of {num_bands} bands, "
        "the number of the config",
    )


def _unused_notes(path: Path) -> tuple[str, ...]:
    others = sorted({*_names(path)} - {*ARRAYS})
    if not others:
        return ()
    return (
        f"{path}: arrays that are not read: {', '.join(others)}; those that are have the names "
        f"{', '.join(ARRAYS)}",
    )


def _genres(path: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    labels = _strings(path, "label", len(names), numbers=True)
    if labels is None and _array(path, "tags") is not None:
        raise UserError(
            f"{path}: holds tags, and this config is for one genre per clip; add an array 'label', "
            "or use a config for tags, e.g. --config=folder:tags"
        )
    return [(label,) for label in labels or [_label_by_name(path, name) for name in names]]


def _tags(path: Path, clips: int) -> list[tuple[str, ...]]:
    matrix, names = _array(path, "tags"), _array(path, "tag_names")
    if matrix is not None and names is None:
        raise UserError(f"{path}: has 'tags' and no 'tag_names'; add the names, as text (tags,)")
    if matrix is None or names is None:
        raise UserError(
            f"{path}: holds one genre per clip, and this config is for tags; add arrays 'tags' "
            "(clips, tags) of 0 and 1 and 'tag_names' (tags,), or use a config for genres, e.g. "
            "--config=folder"
        )
    if names.dtype.kind != "U" or names.ndim != 1 or len({*names.tolist()}) < len(names):
        raise UserError(f"{path}: 'tag_names' is {names.dtype} {names.shape}; save unique texts")
    if matrix.shape != (clips, len(names)) or not np.isin(matrix, (0, 1)).all():
        raise UserError(
            f"{path}: 'tags' is {matrix.dtype} {matrix.shape}; save 0 and 1, "
            f"({clips}, {len(names)}): a row per clip and a column per name"
        )
    return [tuple(sorted(names[row.astype(bool)].tolist())) for row in matrix]


def _mel(path: Path) -> np.ndarray:
    return _cached_mel(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=1)
def _cached_mel(path: Path, modified_ns: int) -> np.ndarray:
    """Returns the checked `mel`, of three axes; `modified_ns` is part of the cache key."""
    mel = _array(path, "mel")
    if mel is None:
        raise UserError(f"{path}: has no array 'mel'; add the spectrograms")
    is_known = mel.dtype == np.uint8 or mel.dtype.kind == "f"
    if not is_known or mel.ndim != 3 or not mel.size:
        raise UserError(
            f"{path}: 'mel' is {mel.dtype} {mel.shape}; save (clips, bands, frames), levels as "
            "uint8 or dB as float32"
        )
    return mel


def _strings(path: Path, name: str, clips: int, *, numbers: bool = False) -> list[str] | None:
    """Returns an array of strings, one per clip; None if the file has no array of that name.

    numbers: integers are strings too.
    """
    array = _array(path, name)
    if array is None:
        return None
    if numbers and array.dtype.kind in "iu":
        array = array.astype(str)
    if array.dtype.kind != "U" or array.shape != (clips,):
        raise UserError(
            f"{path}: {name!r} is {array.dtype} {array.shape}; save text ({clips},), one per clip"
        )
    return array.tolist()


def _array(path: Path, name: str) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name] if name in arrays.files else None
    except Exception as error:  # damaged headers and zips raise ten different types
        raise _unreadable(path, error) from error


def _names(path: Path) -> list[str]:
    """Returns the names of the arrays in a file that `_array` has read."""
    with np.load(path, allow_pickle=False) as arrays:
        return list(arrays.files)


def _label_by_name(path: Path, name: str) -> str:
    label, dot, _ = name.partition(".")
    if not (label and dot):
        raise UserError(f"{path}: name {name!r} is not '<label>.<rest>'; add an array 'label'")
    return label


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = one_line(error)
    return UserError(
        f"{path}: cannot be read ({reason}); it must be a complete numpy file without pickles"
    )

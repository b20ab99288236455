"""Precomputed spectrograms: all clips in one .npz, or one .npy per clip.

These are formats, not a dataset: source, licence and faults are those of the recordings.
"""

import functools
from pathlib import Path

import numpy as np

from deepgenre.audio.frontend import quantise
from deepgenre.data.clip import Clip, Dataset
from deepgenre.errors import UserError


def read_npz(path: Path) -> Dataset:
    """Returns the clips of an .npz of spectrograms, each with one label, named after the file.

    Arrays: `mel` uint8 (clips, bands, frames), lowest band first, and strings (clips,): `name`, the
    keys; optionally `label` (default: the name up to its first '.'), `group` (default: the name),
    `split`, the part of each clip (default: none), and `track`, its song (default: none).

    Raises:
      UserError: an array is missing, unreadable, or has the wrong shape or type; a name occurs
        twice, or contains no label.
    """
    clips = len(_mel(path))
    names = _strings(path, "name", clips)
    if names is None:
        raise UserError(f"{path}: has no array 'name'; add the clips' names")
    repeated = next((name for name in sorted(names) if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path}: name {repeated!r} occurs twice; make names unique")
    labels = _strings(path, "label", clips) or [_label_by_name(path, name) for name in names]
    groups = _strings(path, "group", clips) or names
    parts = _strings(path, "split", clips) or [""] * clips
    tracks = _strings(path, "track", clips) or [""] * clips
    rows = (
        Clip(name, path, (label,), group, split=part, row=row, track=track)
        for row, (name, label, group, part, track) in enumerate(
            zip(names, labels, groups, parts, tracks, strict=True)
        )
    )
    return Dataset(path.stem, tuple(sorted(rows, key=lambda clip: clip.key)), multi_label=False)


def npz_levels(path: Path, row: int) -> np.ndarray:
    """Returns one clip of an .npz: uint8 (frames, bands). Each process reads the file once.

    Raises:
      UserError: `mel` is missing, unreadable or of the wrong shape or type, or has no such row.
    """
    mel = _mel(path)
    if not 0 <= row < len(mel):
        raise UserError(f"{path}: has {len(mel)} clips and no row {row}; prepare it again")
    return np.ascontiguousarray(mel[row].T)


def npy_levels(path: Path, *, num_bands: int, range_db: float) -> np.ndarray:
    """Returns the clip in a .npy as uint8 levels (frames, bands): 0..255 = -range_db..0 dB.

    The file contains (bands, frames) or (frames, bands): bands are the first axis of length
    `num_bands`. uint8 values are levels; floats are dB, used relative to the clip's maximum.
    MTG-Jamendo's files contain 20 log10 of power (mtg-jamendo-dataset issue 51): for 80 dB of
    dynamic range, `range_db` is 160.

    Raises:
      UserError: the file is unreadable or empty, has the wrong shape or type, or is not finite.
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
    bands_first = stored if stored.shape[0] == num_bands else stored.T
    frames_first = np.array(bands_first.T, order="C")  # a copy, so that the file is closed
    if frames_first.dtype == np.uint8:
        return frames_first
    if frames_first.dtype.kind != "f":
        raise UserError(f"{path}: is {stored.dtype}; save dB as float32, or levels as uint8")
    decibels = frames_first.astype(np.float32)
    if not np.isfinite(decibels).all():
        raise UserError(
            f"{path}: contains NaN or infinity; clip power to a floor before its logarithm"
        )
    return quantise(decibels - decibels.max(), range_db)


def _mel(path: Path) -> np.ndarray:
    return _cached_mel(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=1)
def _cached_mel(path: Path, modified_ns: int) -> np.ndarray:
    """Returns the checked `mel` (clips, bands, frames); `modified_ns` is part of the cache key."""
    mel = _array(path, "mel")
    if mel is None:
        raise UserError(f"{path}: has no array 'mel'; add the spectrograms")
    if mel.dtype != np.uint8 or mel.ndim != 3 or not mel.size:
        raise UserError(
            f"{path}: 'mel' is {mel.dtype} {mel.shape}; save uint8 (clips, bands, frames)"
        )
    return mel


def _strings(path: Path, name: str, clips: int) -> list[str] | None:
    """Returns an array of strings, one per clip; None if the file has no array of that name."""
    array = _array(path, name)
    if array is None:
        return None
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


def _label_by_name(path: Path, name: str) -> str:
    label, dot, _ = name.partition(".")
    if not (label and dot):
        raise UserError(f"{path}: name {name!r} is not '<label>.<rest>'; add an array 'label'")
    return label


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(
        f"{path}: cannot be read ({reason}); it must be a complete numpy file without pickles"
    )

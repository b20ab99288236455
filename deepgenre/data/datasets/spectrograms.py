"""Spectrograms that somebody else computed: all clips in one .npz, or a .npy for each clip.

These are formats, not a collection: source, licence and faults are those of the recordings.
"""

import functools
from pathlib import Path

import numpy as np

from deepgenre.audio.frontend import quantise
from deepgenre.data.clip import Clip, Dataset
from deepgenre.errors import UserError


def read_npz(path: Path) -> Dataset:
    """Returns the clips of an .npz of spectrograms, each with one label, named after the file.

    Arrays: `mel` uint8 (clips, bands, frames), lowest band first, and text (clips,): `name`, the
    keys; optionally `label` (else the name up to its first '.'), `group` (else the name) and
    `split`, the part that the clip belongs to (else none).

    Raises:
      UserError: an array is missing, of another shape or kind, or unreadable; a name is there
        twice, or says no label.
    """
    clips = len(_mel(path))
    names = _texts(path, "name", clips)
    if names is None:
        raise UserError(f"{path}: has no array 'name'; add the clips' names")
    twice = next((name for name in sorted(names) if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: name {twice!r} is there twice; make names unique")
    labels = _texts(path, "label", clips) or [_label_by_name(path, name) for name in names]
    groups = _texts(path, "group", clips) or names
    parts = _texts(path, "split", clips) or [""] * clips
    rows = (
        Clip(key=name, path=path, labels=(label,), group=group, split=part, row=row)
        for row, (name, label, group, part) in enumerate(
            zip(names, labels, groups, parts, strict=True)
        )
    )
    return Dataset(path.stem, tuple(sorted(rows, key=lambda clip: clip.key)), multi_label=False)


def npz_levels(path: Path, row: int) -> np.ndarray:
    """Returns one clip of an .npz: uint8 (frames, bands). The file is read once a process.

    Raises:
      UserError: as `read_npz`, or the file has no such row.
    """
    mel = _mel(path)
    if not 0 <= row < len(mel):
        raise UserError(f"{path}: has {len(mel)} clips and no row {row}; prepare it again")
    return np.ascontiguousarray(mel[row].T)


def npy_levels(path: Path, *, num_bands: int, range_db: float) -> np.ndarray:
    """Returns the clip in a .npy as uint8 levels (frames, bands): 0..255 = -range_db..0 dB.

    The file holds (bands, frames) or (frames, bands): the axis that is `num_bands` long is bands,
    the first of two. uint8 is taken for levels as it is; floats for dB, which are taken relative
    to the clip's maximum. MTG-Jamendo's own files hold 20 log10 of power (mtg-jamendo-dataset
    issue 51), so that 80 dB of dynamic range is a `range_db` of 160 there.

    Raises:
      UserError: unreadable, another number of axes or bands, another type, empty, NaN or infinite.
    """
    try:
        # Mapped, so that a broken header cannot ask for more memory than the file has bytes.
        stored = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # of ten types, by which byte of the header or the zip is bad
        raise _unreadable(path, error) from error
    if stored.ndim != 2 or num_bands not in stored.shape or not stored.size:
        raise UserError(
            f"{path}: has shape {stored.shape}, not (bands, frames) with {num_bands} bands; set "
            "frontend.n_mels to its bands"
        )
    bands_first = stored if stored.shape[0] == num_bands else stored.T
    frames_first = np.array(bands_first.T, order="C")  # a copy: the file is let go
    if frames_first.dtype == np.uint8:
        return frames_first
    if frames_first.dtype.kind != "f":
        raise UserError(f"{path}: is {stored.dtype}; save dB as float32, or levels as uint8")
    decibels = frames_first.astype(np.float32)
    if not np.isfinite(decibels).all():
        raise UserError(f"{path}: holds NaN or infinity; give power a floor before its logarithm")
    return quantise(decibels - decibels.max(), range_db)


def _mel(path: Path) -> np.ndarray:
    return _cached_mel(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=1)
def _cached_mel(path: Path, modified_ns: int) -> np.ndarray:
    """Returns the checked `mel` (clips, bands, frames); `modified_ns` makes a new file be read."""
    mel = _array(path, "mel")
    if mel is None:
        raise UserError(f"{path}: has no array 'mel'; add the spectrograms")
    if mel.dtype != np.uint8 or mel.ndim != 3 or not mel.size:
        raise UserError(
            f"{path}: 'mel' is {mel.dtype} {mel.shape}; save uint8 (clips, bands, frames)"
        )
    return mel


def _texts(path: Path, name: str, clips: int) -> list[str] | None:
    """Returns an array of texts, one a clip; None where the file has none of that name."""
    array = _array(path, name)
    if array is None:
        return None
    if array.dtype.kind != "U" or array.shape != (clips,):
        raise UserError(
            f"{path}: {name!r} is {array.dtype} {array.shape}; save text ({clips},), one a clip"
        )
    return array.tolist()


def _array(path: Path, name: str) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name] if name in arrays.files else None
    except Exception as error:  # of ten types, by which byte of the header or the zip is bad
        raise _unreadable(path, error) from error


def _label_by_name(path: Path, name: str) -> str:
    label, dot, _ = name.partition(".")
    if not (label and dot):
        raise UserError(f"{path}: name {name!r} is not '<label>.<rest>'; add an array 'label'")
    return label


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(
        f"{path}: cannot be read ({reason}); it must be a whole numpy file without pickles"
    )

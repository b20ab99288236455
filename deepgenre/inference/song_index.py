"""An index of songs: their embeddings on disk (.npz).

Arrays of the file, stored without compression:

model     text: digest of the network and weights that computed the embeddings
paths     uint8: the songs' absolute paths as JSON, including names that are not UTF-8
stamps    int64 (songs, 2): fingerprint of each file, size in bytes and modification time in ns
vectors   float32 (songs, features): embedding of each song, the mean over its windows
cells     float32 (cells, features): centroids of the search (`song_search.Cells`); without rows
          where there is none, as in small indices
cell_of   int32 (songs,): the cell of each song
probe     float64 (2,): number of probed cells, recall

Where songs have descriptors or tag scores, also the arrays of `song_details`.

A file comes from elsewhere or may be damaged: the declared size of every array is compared with
the bytes that are there before memory is allocated, and every value is checked.
"""

import dataclasses
import json
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from deepgenre.errors import UserError, one_line
from deepgenre.files import Fingerprint, fingerprint, parse_json, real_paths, replacing
from deepgenre.inference import song_details
from deepgenre.inference.song_details import NO_DETAILS, Details
from deepgenre.inference.song_search import Cells

# What a damaged file raises in `zipfile`, in numpy's header parser and in `json`.
DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, OverflowError, MemoryError,
    SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Song:
    """A song's embedding, float32 (features,), and the fingerprint of its file at that time."""

    path: Path
    fingerprint: Fingerprint | None  # None: of a shared file, without the audio
    vector: np.ndarray
    details: Details = NO_DETAILS


@dataclasses.dataclass(frozen=True)
class SongIndex:
    """Embeddings of songs, all computed by one model, and the cells of the search, if any."""

    model: str
    songs: tuple[Song, ...]
    cells: Cells | None = None
    classes: tuple[str, ...] = ()  # of the songs' scores; () where no song has scores

    def matrix(self) -> np.ndarray:
        """Returns the embeddings, float32 (songs, features)."""
        if not self.songs:
            return np.zeros((0, 0), np.float32)
        return np.stack([song.vector for song in self.songs])


def read_index(path: Path) -> SongIndex:
    """Returns the index; raises UserError where the file is missing, damaged or not an index."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path.stat().st_size)
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; give --library to create an index") from error
    except DAMAGE as error:
        reason = one_line(error)
        raise UserError(
            f"{path}: is not a song index, or is damaged ({reason}); give another name or remove it"
        ) from error


def _read(archive: zipfile.ZipFile, file_bytes: int) -> SongIndex:
    """Returns the index in an archive; raises one of DAMAGE where an array is not as documented."""
    model = _array(archive, "model", None, (), file_bytes).item()
    names = parse_json(_array(archive, "paths", np.uint8, (None,), file_bytes).tobytes())
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("paths: is not a list of texts")
    stamps = _array(archive, "stamps", np.int64, (len(names), 2), file_bytes)
    vectors = _array(archive, "vectors", np.float32, (len(names), None), file_bytes)
    if names and not vectors.shape[1]:
        raise ValueError("vectors: have no features")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors: contain NaN or infinity")
    details, classes = [NO_DETAILS] * len(names), ()
    if "described.npy" in archive.namelist():
        details, classes = song_details.from_arrays(
            lambda name, dtype, shape: _array(archive, name, dtype, shape, file_bytes), len(names)
        )
    rows = zip(names, stamps.tolist(), vectors, details, strict=True)
    songs = tuple(
        Song(Path(name), (size, time), vector, each) for name, (size, time), vector, each in rows
    )
    cells = _read_cells(archive, vectors, file_bytes)
    return SongIndex(model, songs, cells, classes)


def _read_cells(archive: zipfile.ZipFile, vectors: np.ndarray, file_bytes: int) -> Cells | None:
    """Returns the cells; None where there are none, as in older indices."""
    if "cells.npy" not in archive.namelist():
        return None
    cells = _array(archive, "cells", np.float32, (None, vectors.shape[1]), file_bytes)
    if not len(cells):
        return None
    cell_of = _array(archive, "cell_of", np.int32, (len(vectors),), file_bytes)
    num_probed, recall = _array(archive, "probe", np.float64, (2,), file_bytes).tolist()
    if not (
        np.isfinite(cells).all()
        and cell_of.min(initial=0) >= 0
        and cell_of.max(initial=0) < len(cells)
        and 1 <= num_probed <= len(cells)
        and 0 <= recall <= 1
    ):
        raise ValueError("cells: values are out of range")
    return Cells(cells, cell_of, int(num_probed), recall)


def _array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: type[np.generic] | None,
    shape: tuple[int | None, ...],
    file_bytes: int,
) -> np.ndarray:
    """Returns an array of the archive. dtype: None for text; None in shape for any length.

    Raises one of DAMAGE, before the array is allocated, where the archive has no such array, where
    the array has another type or shape, or where its header promises other than the file's bytes.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > file_bytes:
        raise ValueError(f"{name}: is compressed, or longer than the file")
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        found_shape, _, found_dtype = read_header(stream)
        fits = len(found_shape) == len(shape) and all(
            expected in (None, length) for expected, length in zip(shape, found_shape, strict=True)
        )
        if not fits or (found_dtype.kind != "U" if dtype is None else found_dtype != dtype):
            raise ValueError(f"{name}: has type {found_dtype} and shape {found_shape}")
        num_bytes = math.prod(found_shape) * found_dtype.itemsize
        if num_bytes != info.file_size - stream.tell():
            raise ValueError(f"{name}: its header promises {num_bytes} bytes, the file has others")
        content = stream.read()  # to the end, which verifies the checksum
    return np.frombuffer(content, found_dtype).reshape(found_shape)


def write_index(path: Path, index: SongIndex) -> None:
    """Writes an index atomically; where `path` is a link, the file that it leads to."""
    names = json.dumps([str(song.path) for song in index.songs])  # ASCII
    fingerprints = np.array([song.fingerprint for song in index.songs], np.int64).reshape(-1, 2)
    vectors = index.matrix()
    details: dict[str, Any] = song_details.to_arrays(
        [song.details for song in index.songs], index.classes
    )
    cells = index.cells or Cells(vectors[:0], np.zeros(len(vectors), np.int32), 0, 0.0)
    with (
        replacing(Path(os.path.realpath(path))) as temporary,
        temporary.open("wb") as stream,
    ):
        np.savez(
            stream,
            model=np.array(index.model),
            paths=np.frombuffer(names.encode(), np.uint8),
            stamps=fingerprints,
            vectors=vectors,
            cells=cells.centroids,
            cell_of=cells.cell_of,
            probe=np.array([cells.num_probed, cells.recall]),
            **details,
        )


def check_model(path: Path, index: SongIndex, model: str) -> None:
    """Raises UserError unless `model` computed the embeddings: others cannot be compared."""
    if index.model != model:
        raise UserError(
            f"{path}: was made with other weights ({index.model[:12]}, these are {model[:12]}); "
            "give those --weights, or another name for a new index"
        )


def check_width(path: Path, index: SongIndex, vector: np.ndarray) -> None:
    """Raises UserError unless the index's embeddings have the length of this one."""
    if index.songs and index.songs[0].vector.shape != vector.shape:
        raise UserError(
            f"{path}: is damaged (embeddings of {index.songs[0].vector.size} numbers, these "
            f"weights compute {vector.size}); give another name or remove it"
        )


def check_details(path: Path, index: SongIndex, names: Collection[str]) -> None:
    """Raises UserError unless every song has the named details, see `song_details.NAMES`."""
    needed = frozenset(names)
    lacking = [song for song in index.songs if not needed <= song.details.computed]
    if lacking:
        missing = needed - lacking[0].details.computed.intersection(
            *(song.details.computed for song in lacking)
        )
        wanted = ",".join(name for name in song_details.NAMES if name in needed)
        whom = f"deepgenre embed FOLDERS --output={path} --describe={wanted}"
        advice = f"refresh it with: {whom}" if path.suffix == ".npz" else "ask for a file with them"
        raise UserError(
            f"{path}: has no {' and '.join(sorted(missing))} of {len(lacking)} of "
            f"{len(index.songs)} songs; {advice}"
        )


def common_classes(path: Path, index: SongIndex, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the classes of the scores; raises UserError where the index has scores of others.

    Weights whose classes were only renamed compute the same embeddings.
    """
    if index.classes and index.classes != classes:
        raise UserError(
            f"{path}: has scores of classes with other names than these weights; give another name "
            "for a new index"
        )
    return classes


def only(index: SongIndex, files: Iterable[Path]) -> SongIndex:
    """Returns the songs of an index that are among the files, whichever path leads to them."""
    requested = {*real_paths(files)}
    reals = real_paths(song.path for song in index.songs)
    songs = (song for song, real in zip(index.songs, reals, strict=True) if real in requested)
    return SongIndex(index.model, tuple(songs), classes=index.classes)


def unchanged(songs: Iterable[Song]) -> list[Song]:
    """Returns the songs whose file still has the same fingerprint."""
    return [
        song for song in songs if song.fingerprint and song.fingerprint == fingerprint(song.path)
    ]

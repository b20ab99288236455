"""The index file: its format, older files, and damage, which is refused before memory is taken."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.errors import UserError
from deepgenre.inference import song_index
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.inference.song_search import Cells

PATHS = [Path("/m/星 \udcff\n.mp3"), Path("/m/" + "x" * 300)]
CELLS = Cells(np.eye(2, 3, dtype=np.float32), np.array([1, 0], np.int32), 2, 0.97)
REFUSED = "is not a song index, or is damaged"


def an_index(cells: Cells | None = CELLS) -> SongIndex:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    songs = (Song(path, (1, 2**62), vector) for path, vector in zip(PATHS, vectors, strict=True))
    return SongIndex("model", tuple(songs), cells)


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    song_index.write_index(tmp_path / "v.npz", an_index())
    return tmp_path / "v.npz"


@pytest.mark.parametrize("cells", [None, CELLS])
def test_round_trip(tmp_path, cells):
    song_index.write_index(tmp_path / "v.npz", an_index(cells))
    index = song_index.read_index(tmp_path / "v.npz")
    assert [song.path for song in index.songs] == PATHS
    assert [song.fingerprint for song in index.songs] == [(1, 2**62)] * 2
    assert index.model == "model"
    np.testing.assert_array_equal(index.matrix(), an_index().matrix())
    assert (index.cells is None) == (cells is None)
    if cells and index.cells:
        np.testing.assert_array_equal(index.cells.centroids, cells.centroids)
        np.testing.assert_array_equal(index.cells.cell_of, cells.cell_of)
        assert (index.cells.num_probed, index.cells.recall) == (2, 0.97)


def test_index_without_songs(tmp_path):
    song_index.write_index(tmp_path / "v.npz", SongIndex("model", ()))
    assert song_index.read_index(tmp_path / "v.npz") == SongIndex("model", ())


def test_index_of_an_earlier_version_is_read(tmp_path):
    np.savez(
        tmp_path / "v.npz",
        model=np.array("model"),
        paths=np.frombuffer(json.dumps(["/a.mp3"]).encode(), np.uint8),
        stamps=np.array([[10, 20]]),
        vectors=np.ones((1, 3), np.float32),
        search=np.frombuffer(b"serialised by faiss", np.uint8),
    )
    index = song_index.read_index(tmp_path / "v.npz")
    assert [(song.path, song.fingerprint) for song in index.songs] == [(Path("/a.mp3"), (10, 20))]
    assert index.cells is None


def replace(path: Path, **changes: np.ndarray | bytes | None) -> None:
    """Replaces members of an index: an array, raw bytes, or None to remove it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, value in changes.items():
        if value is None:
            del members[f"{name}.npy"]
        elif isinstance(value, bytes):
            members[f"{name}.npy"] = value
        else:
            stream = io.BytesIO()
            np.lib.format.write_array(stream, value)
            members[f"{name}.npy"] = stream.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Returns an array's header without its content."""
    stream = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(stream, fields)
    return stream.getvalue()


VECTORS = an_index().matrix()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "There is no item named 'model.npy'"),
        ({"model": np.array(["a", "b"])}, "model: has type"),
        ({"model": np.array(3)}, "model: has type"),
        ({"model": header("|O", ())}, "model: has type object"),
        ({"paths": np.frombuffer(b'["/a"]', np.uint8)}, "stamps: has type int64 and shape (2, 2)"),
        ({"paths": np.frombuffer(b'{"a": 1}', np.uint8)}, "paths: is not a list of texts"),
        ({"paths": np.frombuffer(b"[1, 2]", np.uint8)}, "paths: is not a list of texts"),
        ({"paths": np.frombuffer(b"[" * 90_000, np.uint8)}, "nested too deep"),
        ({"paths": np.frombuffer(b"\xff", np.uint8)}, "decode"),
        ({"stamps": np.zeros((2, 3), np.int64)}, "stamps: has type int64 and shape (2, 3)"),
        ({"stamps": np.zeros((2, 2), np.float64)}, "stamps: has type float64"),
        ({"vectors": VECTORS.astype(np.float64)}, "vectors: has type float64"),
        ({"vectors": VECTORS[:1]}, "vectors: has type float32 and shape (1, 3)"),
        ({"vectors": VECTORS[:, :0]}, "vectors: have no features"),
        ({"vectors": VECTORS[0]}, "vectors: has type float32 and shape (3,)"),
        ({"vectors": VECTORS * np.nan}, "vectors: contain NaN or infinity"),
        ({"vectors": VECTORS + np.float32(np.inf)}, "vectors: contain NaN or infinity"),
        ({"vectors": header("<f4", (2, 2**40))}, "vectors: its header promises 8796093022208"),
        ({"vectors": header("<f4", (2, -3))}, "vectors: its header promises"),
        ({"vectors": header("<f4", (2, 3)) + bytes(25)}, "vectors: its header promises 24 bytes"),
        ({"model": header("<U99999999", ())}, "model: its header promises 399999996 bytes"),
        ({"cells": CELLS.centroids[:, :2]}, "cells: has type float32 and shape (2, 2)"),
        ({"cells": CELLS.centroids * np.nan}, "cells: values are out of range"),
        ({"cell_of": np.array([0, 2], np.int32)}, "cells: values are out of range"),
        ({"cell_of": np.array([0, -1], np.int32)}, "cells: values are out of range"),
        ({"cell_of": None}, "cell_of.npy"),
        ({"probe": np.array([3.0, 0.5])}, "cells: values are out of range"),
        ({"probe": np.array([1.0, np.nan])}, "cells: values are out of range"),
    ],
)  # fmt: skip
def test_array_that_is_not_as_documented_is_refused(index_path, changes, reason):
    replace(index_path, **changes)
    with pytest.raises(UserError) as error:
        song_index.read_index(index_path)
    assert str(error.value).startswith(f"{index_path}: {REFUSED} (")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def compressed(path: Path) -> None:
    """Turns an index into a few kilobytes that expand to a gigabyte."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model.npy", "w", force_zip64=True) as stream,
    ):
        for _ in range(64):
            stream.write(bytes(2**24))


def huge_member(path: Path) -> None:
    """Declares, in the list of the archive's members, a member of four gigabytes."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")  # the first entry: compressed size, size at 20 and 24
    content[at + 20 : at + 28] = b"\xf0\xff\xff\xff" * 2
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [compressed, huge_member])
def test_declared_sizes_take_no_memory(index_path, spoil: Callable[[Path], None]):
    spoil(index_path)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="model: is compressed, or longer than the file"):
            song_index.read_index(index_path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_is_noticed_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("index")
    path = folder / "v.npz"
    song_index.write_index(path, an_index())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from([len(content)] * 3 + [0, 4, 300, len(content) - 5]))
    path.write_bytes(content[:length])
    try:
        index = song_index.read_index(path)
    except UserError as error:
        assert REFUSED in str(error)
    else:
        np.testing.assert_array_equal(index.matrix(), VECTORS)
        assert [song.path for song in index.songs] == PATHS


def test_folder_or_other_file_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("text")
    for path in (tmp_path, tmp_path / "text.npz"):
        with pytest.raises(UserError, match=REFUSED):
            song_index.read_index(path)

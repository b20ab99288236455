"""Files of shared songs: what they hold and what not, the documented format, damage."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from deepgenre.errors import UserError
from deepgenre.inference import shared_songs, song_index
from deepgenre.inference.song_details import NO_DETAILS, Details
from deepgenre.inference.song_index import Song, SongIndex

CLASSES = ("rock", "jazz")
EVERY = frozenset(("tempo", "key", "loudness", "fingerprint", "tags", "chromaprint"))


def a_library(num_songs: int = 5) -> SongIndex:
    rng = np.random.default_rng(0)
    songs = [
        Song(
            Path(f"/secret/album {number}/title {number}.mp3"),
            (123_456_789 + number, 987_654_321),
            rng.standard_normal(3).astype(np.float32),
            Details(
                EVERY,
                100.5 + number if number else None,
                "F# minor" if number else None,
                -9.25 if number else None,
                np.array([0.25, 0.75], np.float32),
                np.arange(number, dtype=np.uint32) if number else None,
                np.arange(3 * number, dtype=np.uint32) + 7 if number > 1 else None,
            ),
        )
        for number in range(num_songs)
    ]
    return SongIndex("digest of the model", tuple(songs), classes=CLASSES)


def check_same(found: Song, expected: Song) -> None:
    np.testing.assert_array_equal(found.vector, expected.vector)
    a, b = found.details, expected.details
    assert (a.tempo_bpm, a.key, a.loudness_lufs) == (b.tempo_bpm, b.key, b.loudness_lufs)
    np.testing.assert_array_equal(a.scores, b.scores)
    for x, y in ((a.fingerprint, b.fingerprint), (a.chromaprint, b.chromaprint)):
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("paths", shared_songs.PATHS)
def test_round_trip_and_what_is_told_of_the_files(tmp_path, paths):
    library = a_library()
    shared_songs.write(tmp_path / "s.parquet", library, paths)
    found = shared_songs.read(tmp_path / "s.parquet")
    assert (found.model, found.classes) == (library.model, library.classes)
    assert all(song.fingerprint is None for song in found.songs)
    by_vector = {song.vector.tobytes(): song for song in library.songs}
    for song in found.songs:
        assert song.details.computed == EVERY
        check_same(song, by_vector[song.vector.tobytes()])
    content = (tmp_path / "s.parquet").read_bytes()
    assert (b"title" in content, b"secret" in content) == (paths != "none", paths == "full")
    names = [str(song.path) for song in found.songs]
    if paths == "none":
        assert names == [f"s.parquet#{row}" for row in range(1, 6)]
        vectors = [song.vector.tobytes() for song in found.songs]
        assert vectors != [song.vector.tobytes() for song in library.songs]  # not their order
    else:
        shown = [song.path if paths == "full" else song.path.name for song in library.songs]
        assert names == [*map(str, shown)]


def test_documented_format(tmp_path):
    shared_songs.write(tmp_path / "s.parquet", a_library(), "none")
    table = pyarrow.parquet.read_table(tmp_path / "s.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "embedding": "fixed_size_list<element: float>[3]",
        "scores": "fixed_size_list<element: float>[2]",
        "tempo_bpm": "float",
        "key": "string",
        "loudness_lufs": "float",
        "acoustic_fingerprint": "list<element: uint32>",
        "chromaprint": "list<element: uint32>",
        "path": "string",
    }
    assert table.column("path").null_count == 5
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert metadata["deepgenre.schema"] == "1"
    assert metadata["deepgenre.model"] == "digest of the model"
    assert metadata["deepgenre.chromaprint"].startswith("chromaprint algorithm 1; 11025 Hz")
    assert json.loads(metadata["deepgenre.classes"]) == [*CLASSES]
    assert json.loads(metadata["deepgenre.computed"]) == sorted(EVERY)


def change(path: Path, *, metadata: dict[str, str] | None = None, **columns) -> None:
    """Replaces columns of a file, None removes one, and entries of its metadata."""
    table = pyarrow.parquet.read_table(path)
    kept = dict(table.schema.metadata) | {
        k.encode(): v.encode() for k, v in (metadata or {}).items()
    }
    for name, values in columns.items():
        place = table.schema.names.index(name)
        table = table.remove_column(place)
        if values is not None:
            table = table.add_column(place, name, [values])
    pyarrow.parquet.write_table(table.replace_schema_metadata(kept), path)


NUMBERS = pyarrow.array(np.arange(5, dtype=np.float32))
NAN = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array([np.nan] * 15, pyarrow.float32()), 3)
DOUBLES = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array([1.0] * 15), 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metadata": {"deepgenre.schema": "2"}}, "has schema '2', this version reads '1'"),
        ({"metadata": {"deepgenre.classes": "[1"}}, "is damaged ("),
        ({"metadata": {"deepgenre.classes": '["one"]'}}, "scores: are of 2 classes, not of 1"),
        ({"embedding": None}, "embedding"),
        ({"embedding": NUMBERS}, "embedding: is not a column of lists of float32"),
        ({"embedding": DOUBLES}, "embedding: is not a column of lists of float32"),
        ({"embedding": NAN}, "embedding: contains NaN or infinity"),
        ({"tempo_bpm": -NUMBERS.to_numpy()}, "tempo_bpm: is -0.0"),
        ({"key": pyarrow.array(["H minor"] * 5)}, "key: is 'H minor'"),
        ({"key": NUMBERS}, "is damaged ("),
        ({"acoustic_fingerprint": NUMBERS}, "acoustic_fingerprint: is not a column of lists"),
        ({"chromaprint": NUMBERS}, "chromaprint: is not a column of lists"),
        ({"loudness_lufs": pyarrow.array([np.inf] * 5)}, "loudness_lufs: is inf"),
    ],
)
def test_file_that_is_not_as_documented_is_refused(tmp_path, changes, reason):
    path = tmp_path / "s.parquet"
    shared_songs.write(path, a_library(), "none")
    columns = {
        name: pyarrow.array(value) if isinstance(value, np.ndarray) else value
        for name, value in changes.items()
    }
    change(path, **columns)
    with pytest.raises(UserError) as error:
        shared_songs.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table" * 100])
def test_other_file_is_refused(tmp_path, content):
    (tmp_path / "s.parquet").write_bytes(content)
    with pytest.raises(UserError, match="is not a file of shared songs, or is damaged"):
        shared_songs.read(tmp_path / "s.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "s.parquet")
    with pytest.raises(UserError, match=r"has no deepgenre\.schema"):
        shared_songs.read(tmp_path / "s.parquet")
    with pytest.raises(UserError, match=r"missing\.parquet: does not exist"):
        shared_songs.read(tmp_path / "missing.parquet")


@pytest.mark.parametrize("name", ["fingerprint", "chromaprint"])
def test_fingerprints_of_another_algorithm_are_not_compared(tmp_path, name):
    shared_songs.write(tmp_path / "s.parquet", a_library(), "none")
    change(tmp_path / "s.parquet", metadata={f"deepgenre.{name}": "algorithm 2"})
    songs = shared_songs.read(tmp_path / "s.parquet").songs
    assert all(getattr(song.details, name) is None for song in songs)
    assert any(song.details.chromaprint is not None for song in songs) == (name == "fingerprint")
    assert {song.details.computed for song in songs} == {EVERY - {name}}


def test_file_of_a_version_without_chromaprint_is_read(tmp_path):
    shared_songs.write(tmp_path / "s.parquet", a_library(), "none")
    table = pyarrow.parquet.read_table(tmp_path / "s.parquet")
    kept = {k: v for k, v in table.schema.metadata.items() if k != b"deepgenre.chromaprint"}
    old = table.drop_columns("chromaprint").replace_schema_metadata(kept)
    pyarrow.parquet.write_table(old, tmp_path / "s.parquet")
    for song in shared_songs.read(tmp_path / "s.parquet").songs:
        assert song.details.computed == EVERY - {"chromaprint"}
        assert song.details.chromaprint is None and song.details.scores is not None


def test_details_in_an_index(tmp_path):
    library = a_library()
    bare = Song(Path("/b.mp3"), (1, 2), np.ones(3, np.float32))
    mixed = SongIndex(library.model, (*library.songs, bare), classes=CLASSES)
    song_index.write_index(tmp_path / "v.npz", mixed)
    found = song_index.read_index(tmp_path / "v.npz")
    assert found.classes == CLASSES
    for song, expected in zip(found.songs, mixed.songs, strict=True):
        check_same(song, expected)
        assert song.details.computed == expected.details.computed
        assert song.fingerprint == expected.fingerprint
    assert found.songs[-1].details == NO_DETAILS
    with pytest.raises(UserError) as error:
        song_index.check_details(Path("v.npz"), found, ["tempo", "tags"])
    assert str(error.value) == (
        "v.npz: has no tags and tempo of 1 of 6 songs; refresh it with: deepgenre embed FOLDERS "
        "--output=v.npz --describe=tempo,tags"
    )


def test_index_without_details_has_the_arrays_of_earlier_versions(tmp_path):
    index = SongIndex("model", (Song(Path("/b.mp3"), (1, 2), np.ones(3, np.float32)),))
    song_index.write_index(tmp_path / "v.npz", index)
    with np.load(tmp_path / "v.npz") as arrays:
        names = ["model", "paths", "stamps", "vectors", "cells", "cell_of", "probe"]
        assert arrays.files == names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("described", np.full(5, 64, np.uint8)),
        ("tempo_bpm", np.zeros(5, np.float32)),
        ("tempo_bpm", np.ones(4, np.float32)),
        ("key", np.full(5, 24, np.int8)),
        ("loudness_lufs", np.full(5, np.inf, np.float32)),
        ("scores", np.full((5, 2), np.nan, np.float32)),
        ("scores", np.ones((5, 3), np.float32)),
        ("classes", np.frombuffer(b'{"a": 1}', np.uint8)),
        ("fingerprint_frames", np.array([-1, 1, 2, 3, 5], np.int32)),
        ("fingerprints", np.zeros(3, np.uint32)),
    ],
)
def test_details_that_are_not_as_documented_are_refused(tmp_path, name, value):
    song_index.write_index(tmp_path / "v.npz", a_library())
    with np.load(tmp_path / "v.npz") as arrays:
        members = {key: arrays[key] for key in arrays.files}
    np.savez(tmp_path / "v.npz", **members | {name: value})
    with pytest.raises(UserError, match="is not a song index, or is damaged") as error:
        song_index.read_index(tmp_path / "v.npz")
    assert name in str(error.value)

"""Two libraries compared by their vectors and fingerprints alone."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from deepgenre.errors import UserError
from deepgenre.inference import shared_songs, song_index
from deepgenre.inference.song_details import Details
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.library import overlap

FRAMES = np.random.default_rng(1).integers(0, 2**32, (9, 600), dtype=np.uint32)
VECTORS = np.random.default_rng(2).standard_normal((9, 20)).astype(np.float32)


def song(number: int, *, noise: float = 0.0, frames: np.ndarray | None = None) -> Song:
    vector = VECTORS[number] + noise * np.random.default_rng(number).standard_normal(20)
    computed = frozenset(("tags", *["fingerprint"] * (frames is not None)))
    details = Details(computed, scores=np.array([0.5, 0.5], np.float32), fingerprint=frames)
    return Song(Path(f"/m/{number}.mp3"), (1, 1), vector.astype(np.float32), details)


def pairs(found) -> list[tuple[int, int, str]]:
    return [(pair.first, pair.second, pair.by) for pair in found]


def test_fingerprints_decide_where_both_have_one():
    first = [song(0, frames=FRAMES[0]), song(1, frames=FRAMES[1]), song(2), song(3)]
    flipped = FRAMES[0][40:] ^ np.uint32(1 << 7)  # cut, and a bit of 32 differs
    flipped[::4] = FRAMES[0][40::4]
    second = [
        song(0, noise=0.5, frames=flipped),  # another encoding, whose embedding differs
        song(1, frames=FRAMES[5]),  # the same embedding, another recording
        song(2),
        song(3, noise=0.5),
        song(4, frames=FRAMES[4]),
    ]
    same = overlap.same_recordings(first, second)
    assert pairs(same) == [(0, 0, "fingerprint"), (2, 2, "embedding")]
    rest = overlap.only_second(first, second, same)
    assert [pair.second for pair in rest] == [1, 3, 4]  # the nearest first
    assert [pair.first for pair in rest[:2]] == [1, 3]
    assert rest[0].cosine == pytest.approx(1)


def test_any_kind_of_fingerprint_that_both_have_decides():
    def printed(number: int, **frames: np.ndarray) -> Song:
        kept = song(number)
        return dataclasses.replace(kept, details=dataclasses.replace(kept.details, **frames))

    near = FRAMES[0] ^ np.uint32(0b101010101)  # 5 bits of 32: more than in copies
    near[::9] = FRAMES[0][::9]
    first = [
        printed(0, fingerprint=FRAMES[1], chromaprint=FRAMES[0]),
        printed(1, chromaprint=FRAMES[0]),
        printed(2, fingerprint=FRAMES[0]),
        printed(3, fingerprint=FRAMES[0]),
    ]
    second = [
        printed(0, fingerprint=FRAMES[2], chromaprint=FRAMES[0]),
        printed(1, chromaprint=near),
        printed(2, fingerprint=near),
        printed(3, chromaprint=FRAMES[0]),  # no kind of both: by the embedding
    ]
    same = overlap.same_recordings(first, second)
    diagonal = [pair for pair in pairs(same) if pair[0] == pair[1]]
    assert diagonal == [(0, 0, "chromaprint"), (2, 2, "fingerprint"), (3, 3, "embedding")]


def test_every_copy_in_the_second_library_is_found():
    first = [song(0, frames=FRAMES[0])]
    second = [song(0, noise=0.1 * n, frames=FRAMES[0][n:]) for n in range(4)]
    same = overlap.same_recordings(first, second)
    assert sorted(pair.second for pair in same) == [0, 1, 2, 3]
    assert overlap.only_second(first, second, same) == []


@pytest.fixture
def libraries(tmp_path: Path) -> list[Path]:
    """Returns an index with songs 0 to 3, and a shared file with songs 2 to 5."""
    first = SongIndex("model", tuple(song(n, frames=FRAMES[n]) for n in range(4)), None, ("a", "b"))
    second = SongIndex(
        "model", tuple(song(n, frames=FRAMES[n]) for n in range(2, 6)), None, ("a", "b")
    )
    song_index.write_index(tmp_path / "a.npz", first)
    shared_songs.write(tmp_path / "b.parquet", second, "names")
    return [tmp_path / "a.npz", tmp_path / "b.parquet"]


def test_list_and_merged_library(libraries, tmp_path, capsys):
    assert overlap.run(libraries, tmp_path / "o.jsonl", "none", 1) == 0
    printed = capsys.readouterr().out
    assert "both have  2 of 4 and 2 of 4" in printed
    assert "only the second has  2" in printed
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert {(row["kind"], row["second"], row["by"]) for row in rows} == {
        ("both", "2.mp3", "fingerprint"), ("both", "3.mp3", "fingerprint"),
        ("only_second", "4.mp3", ""), ("only_second", "5.mp3", ""),
    }  # fmt: skip
    assert {row["first"] for row in rows if row["kind"] == "both"} == {"/m/2.mp3", "/m/3.mp3"}
    overlap.run(libraries, tmp_path / "m.parquet", "names", 1)
    merged = shared_songs.read(tmp_path / "m.parquet")
    assert sorted(str(song.path) for song in merged.songs) == [f"{n}.mp3" for n in range(6)]
    assert all(song.details.fingerprint is not None for song in merged.songs)


def test_libraries_that_cannot_be_compared_are_refused(libraries, tmp_path):
    index = song_index.read_index(libraries[0])
    song_index.write_index(tmp_path / "x.npz", SongIndex("other", index.songs, classes=("a", "b")))
    song_index.write_index(tmp_path / "y.npz", SongIndex("model", index.songs, classes=("c", "d")))
    song_index.write_index(tmp_path / "z.npz", SongIndex("model", ()))
    other, renamed, empty = (tmp_path / f"{name}.npz" for name in "xyz")
    merged, listed = tmp_path / "m.parquet", tmp_path / "o.jsonl"
    for files, output, paths, message in (
        ([libraries[0], other], None, "none", "x.npz: was made with other weights (other) than "),
        ([libraries[0], empty], None, "none", "z.npz: contains no songs"),
        ([libraries[0], renamed], merged, "none", "has scores of classes with other names"),
        ([libraries[0]], None, "none", "give two libraries (.npz or .parquet), 1 are given"),
        (libraries, tmp_path / "o.csv", "none", "--output suffix: '.csv' is unknown"),
        (libraries, listed, "full", "--paths: is for an --output that ends in .parquet"),
    ):
        with pytest.raises(UserError) as error:
            overlap.run(files, output, paths, 10)
        assert message in str(error.value)
    assert not merged.exists()

"""Which songs are listed: exclusions, artists of files, and the gap between songs of one artist."""

import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tag_files import FFMPEG_SUFFIXES, SUFFIXES, write_tone

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError
from deepgenre.library import file_tags, selection


@given(st.text("aabbc-", max_size=14), st.integers(1, 4))
def test_gap_between_songs_of_one_artist(artists, gap):
    items = [*enumerate(artists)]
    listed = [*selection.spaced(items, lambda item: item[1].strip("-"), gap)]
    assert len({*listed}) == len(listed)
    last_place: dict[str, int] = {}
    for place, (number, artist) in enumerate(listed):
        free = [
            item for item in items if item not in listed[:place]
            and (item[1] == "-" or place - last_place.get(item[1], -99) > gap)
        ]  # fmt: skip
        assert (number, artist) == free[0]  # the best that is allowed
        last_place[artist] = place
    rest = [item for item in items if item not in listed]
    place = len(listed)
    assert all(a != "-" and place - last_place.get(a, -99) <= gap for _, a in rest)


def test_ranking_is_read_only_as_far_as_needed():
    read = []
    ranking = (read.append(number) or number for number in range(100))
    listed = selection.spaced(ranking, lambda number: str(number % 2), 1)
    assert [*itertools.islice(listed, 3)] == [0, 1, 2]
    assert len(read) == 3


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("Live/a.mp3", "Live/b.flac", "c (live).mp3", "d.mp3")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return paths


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], []),
        (["*.flac"], ["b.flac"]),
        (["*LIVE*"], ["a.mp3", "b.flac", "c (live).mp3"]),
        (["?.mp3"], ["a.mp3", "d.mp3"]),
        (["{0}/Live"], ["a.mp3", "b.flac"]),
        (["{0}/d.mp3", "{0}/../*.flac"], ["d.mp3"]),
        (["{0}/list.m3u8"], ["c (live).mp3"]),
        (["nothing*"], []),
    ],
)
def test_excluded_songs(songs, tmp_path, arguments, names):
    (tmp_path / "list.m3u8").write_text("c (live).mp3\n")
    found = selection.excluded([argument.format(tmp_path) for argument in arguments], songs)
    assert sorted(path.name for path in found) == names


def test_exclusion_that_does_not_exist_is_refused(songs, tmp_path):
    with pytest.raises(
        UserError, match=r"--exclude: 'e\.mp3' does not exist; give a file, a folder"
    ):
        selection.excluded(["e.mp3"], songs)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_artist_in_every_format(suffix, tmp_path):
    song = write_tone(tmp_path / f"x{suffix}", seconds=0.5)
    assert selection.artist(song) == ""
    file_tags.write(song, {"artist": ("Björk",)})
    assert file_tags.artists(song) == ("Björk",)
    assert selection.artist(song) == "björk"


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".wav", *FFMPEG_SUFFIXES])
def test_artist_as_ffmpeg_writes_it(suffix, tmp_path):
    if not ffmpeg.is_installed():
        pytest.skip("ffmpeg is not installed")
    wav, song = write_tone(tmp_path / "x.source.wav", seconds=0.5), tmp_path / f"x{suffix}"
    command = ["ffmpeg", "-v", "error", "-y", "-i", wav, "-metadata", "artist=The Band", song]
    subprocess.run(command, check=True)
    assert selection.artist(song) == "the band"


def test_artist_of_a_file_without_tags_is_unknown(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"no music")
    assert selection.artist(tmp_path / "a.mp3") == ""
    assert selection.artist(tmp_path / "missing.mp3") == ""

"""Tags of Matroska files, beside what ffmpeg reads, and damaged files."""

import json
import random
import subprocess
from pathlib import Path

import pytest
from tag_files import samples_of, write_tone

from deepgenre.errors import UserError
from deepgenre.library import file_tags
from deepgenre.library.matroska import Matroska, MatroskaError


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return write_tone(tmp_path / "x.mka", seconds=0.5)


def probed(path: Path) -> dict[str, str]:
    """Returns the tags that ffmpeg finds, by name in lower case."""
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format_tags", path]
    shown = subprocess.run(probe, check=True, capture_output=True, text=True)
    assert not shown.stderr
    tags = json.loads(shown.stdout)["format"].get("tags", {})
    lower = {name.lower(): text for name, text in tags.items()}
    lower.pop("encoder", None)  # the program that wrote the file, of another element
    return lower


@pytest.mark.parametrize("count", [1, 40, 3_000])
def test_ffmpeg_reads_tags_in_place_and_appended(song, count):
    sound = samples_of(song)
    file_tags.write(song, {"genre": ("Żuk " * count,), "tempo": ("128",)})
    assert probed(song)["genre"] == ("Żuk " * count)
    assert probed(song)["bpm"] == "128"
    file_tags.write(song, {"genre": ("short",), "tempo": ()})
    assert probed(song)["genre"] == "short"
    assert "bpm" not in probed(song)
    assert (samples_of(song) == sound).all()


def test_tags_of_tracks_and_other_names_are_kept(song):
    before = file_tags.other_tags(song, {"genre": ()})
    assert any("DURATION" in tag for tag in before)  # of the track, by ffmpeg
    file_tags.write(song, {"genre": ("Rock", "Pop")})
    assert file_tags.other_tags(song, {"genre": ()}) == before
    assert Matroska(song).texts("genre") == ["Rock", "Pop"]


def test_the_last_tag_can_be_removed_and_one_added_again(song):
    plain = Matroska(song)
    plain.tags, plain._others = [], []
    plain.save()
    assert Matroska(song).tags == []
    assert probed(song) == {}
    file_tags.write(song, {"genre": ("Rock",)})
    assert probed(song) == {"genre": "Rock"}


def test_a_stream_of_unknown_size_gets_tags(song, tmp_path):
    live = tmp_path / "live.mka"
    copy = ["ffmpeg", "-v", "error", "-i", song, "-c", "copy", "-live", "1", live]
    subprocess.run(copy, check=True)
    sound = samples_of(live)
    file_tags.write(live, {"genre": ("Rock",)})
    assert file_tags.read(live)["genre"] == ("Rock",)
    assert (samples_of(live) == sound).all()


def test_a_file_that_is_cut_short_is_not_written(song):
    song.write_bytes(song.read_bytes()[:-100])
    with pytest.raises(UserError, match="is cut short or"):
        file_tags.write(song, {"genre": ("Rock" * 1000,)})


def test_damaged_files_give_one_error(song):
    content = song.read_bytes()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(min(len(damaged), 900))] = rng.randrange(256)
        song.write_bytes(bytes(damaged[: rng.randint(0, len(damaged))]))
        try:
            Matroska(song).save()
            outcomes.add("")
        except MatroskaError as error:
            outcomes.add(str(error).rstrip("0123456789"))
    assert len(outcomes) > 2

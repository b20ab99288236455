"""Playlists of arbitrary labels and file names can be read back."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.library import playlists


@given(st.lists(st.text(), unique=True, max_size=8))
def test_file_names_are_valid_and_unique(labels):
    names = playlists.file_names(labels)
    assert list(names) == labels
    assert len({name.casefold() for name in names.values()}) == len(labels)
    for name in names.values():
        assert name.endswith(".m3u8")
        assert name.isprintable()
        assert len(name.encode()) <= 200
        assert not set(name) & set('<>:"/\\|?*')
        stem = name.removesuffix(".m3u8")
        assert stem
        assert stem == stem.strip()
        assert not stem.startswith((".", "-", "~"))
        assert not stem.endswith(".")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["hip hop", "r&b"], ["hip hop", "r&b"]),
        (["../../etc/passwd"], ["_.._etc_passwd"]),
        (["rock/pop", "rock:pop", "Rock?pop"], ["rock_pop", "rock_pop (2)", "Rock_pop (3)"]),
        (["NUL", "com1", "aux.x", "-rf", "."], ["_NUL", "_com1", "_aux.x", "_-rf", "_"]),
        (["a (2)", "a", "A"], ["a (2)", "a", "A (3)"]),
        (["é" * 200], ["é" * 60]),
        (["x\ny\0z"], ["x_y_z"]),
    ],
)
def test_file_names_of_special_labels(labels, names):
    assert list(playlists.file_names(labels).values()) == [f"{name}.m3u8" for name in names]


def write_song(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(8000), 8000, format="FLAC")
    return path


SPECIAL_NAMES = [
    "a.flac", "#hash.flac", "  blank first.flac", "-rf ~ $(x) `y` & 'q' \"w\".flac", "ç 星.flac",
    "100%20.flac", "..flac", "file:x.flac", "back\\slash.flac", "tab\there.flac",
    "\x1b[31mred.flac",
]  # fmt: skip


def test_special_names_are_read_back_from_playlist(tmp_path, monkeypatch):
    songs = [write_song(tmp_path / "music" / "a b" / name) for name in SPECIAL_NAMES]
    songs.append(write_song(tmp_path / "lists" / "inside.flac"))
    for path in songs:
        playlists.check_listable(path)
    entries = {"x": [(path, 61.6) for path in songs]}
    written = playlists.write(tmp_path / "lists", ["x", "none"], entries)
    text = written["x"].read_text(encoding="utf-8")
    assert text.startswith("#EXTM3U\n#PLAYLIST:x\n#EXTINF:62,inside\n./inside.flac\n")
    assert "#EXTINF:62,a\n../music/a b/a.flac\n" in text
    monkeypatch.chdir("/")
    listed = [path.resolve() for path in expand([str(written["x"])]).files]
    assert sorted(listed) == sorted(path.resolve() for path in songs)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


SONG = (Path("/music/song.flac"), 1.0)


def test_labels_without_songs_have_no_playlist(tmp_path):
    written = playlists.write(tmp_path, ["rock", "jazz", "pop"], {"rock": [SONG], "pop": []})
    assert written == {"rock": tmp_path / "rock.m3u8"}
    assert names_in(tmp_path) == {"rock.m3u8", "playlists.json"}


def test_songs_are_in_natural_order_of_their_paths(tmp_path):
    names = ["b/10.flac", "B/9.flac", "b/2 x.flac", "a/track 11.flac", "a/Track 2.flac", "a/1"]
    songs = [(Path("/music", name), 1.0) for name in names]
    path = playlists.write(tmp_path, ["x"], {"x": songs})["x"]
    listed = [line.partition("music/")[2] for line in path.read_text().splitlines()[3::2]]
    assert listed == [
        "a/1", "a/Track 2.flac", "a/track 11.flac", "b/2 x.flac", "B/9.flac", "b/10.flac"
    ]  # fmt: skip


def test_playlists_of_an_earlier_call_do_not_stay(tmp_path, capsys):
    playlists.write(tmp_path, ["rock", "jazz"], {"rock": [SONG], "jazz": [SONG]})
    playlists.write(tmp_path, ["guitar", "rock"], {"guitar": [SONG], "rock": [SONG, SONG]})
    assert names_in(tmp_path) == {"guitar.m3u8", "rock.m3u8", "playlists.json"}
    assert "removed 1 playlists of an earlier run" in capsys.readouterr().err
    playlists.write(tmp_path, ["guitar"], {})
    assert names_in(tmp_path) == {"playlists.json"}


def test_playlists_of_the_user_are_neither_changed_nor_removed(tmp_path, capsys):
    own = tmp_path / "rock.m3u8"
    own.write_text("#EXTM3U\n/music/mine.flac\n")
    (tmp_path / "Mine.M3U8").write_text("")
    (tmp_path / "folder.m3u8").mkdir()
    songs = {"rock": [SONG], "jazz": [SONG]}
    for _ in range(2):
        written = playlists.write(tmp_path, ["rock", "jazz"], songs)
        assert written["rock"].name == "rock (2).m3u8"
        reason = "as not written by this mode, or changed since"
        assert f"left unchanged in {tmp_path}, {reason}: Mine.M3U8, rock.m3u8" in (
            capsys.readouterr().err
        )
    with written["jazz"].open("a") as stream:
        stream.write("/music/added.flac\n")  # from now on the user's own
    playlists.write(tmp_path, [], {})
    assert own.read_text() == "#EXTM3U\n/music/mine.flac\n"
    assert "added.flac" in written["jazz"].read_text()
    assert names_in(tmp_path) == {
        "rock.m3u8", "Mine.M3U8", "folder.m3u8", "jazz.m3u8", "playlists.json"
    }  # fmt: skip


def test_playlists_without_a_record_are_known_by_format_and_name(tmp_path):
    text = playlists.to_text("rock", [SONG], tmp_path)
    (tmp_path / "rock.m3u8").write_text(text)
    (tmp_path / "empty.m3u8").write_text(playlists.to_text("empty", [], tmp_path))
    (tmp_path / "copy of rock.m3u8").write_text(text)
    (tmp_path / "pop.m3u8").write_text(playlists.to_text("pop", [], tmp_path) + "/music/a.flac\n")
    written = playlists.write(tmp_path, ["rock"], {"rock": [SONG]})
    assert written["rock"].name == "rock.m3u8"
    assert names_in(tmp_path) == {
        "rock.m3u8", "copy of rock.m3u8", "pop.m3u8", "playlists.json"
    }  # fmt: skip


def test_playlists_of_an_interrupted_call_are_known_to_the_next(tmp_path, monkeypatch):
    playlists.write(tmp_path, ["a", "c"], {"a": [SONG], "c": [SONG]})
    calls = []
    original = Path.write_text

    def write_text(path: Path, *arguments, **options):
        calls.append(path)
        if len(calls) == 3:  # the record, 'a', then 'b'
            raise KeyboardInterrupt
        return original(path, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "write_text", write_text)
        playlists.write(tmp_path, ["a", "b"], {"a": [SONG, SONG], "b": [SONG]})
    assert names_in(tmp_path) == {"a.m3u8", "c.m3u8", "playlists.json"}
    written = playlists.write(tmp_path, ["a", "b"], {"a": [SONG], "b": [SONG]})
    assert written["a"].name == "a.m3u8"
    assert names_in(tmp_path) == {"a.m3u8", "b.m3u8", "playlists.json"}


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}'])
def test_damaged_record_is_a_user_error(tmp_path, text):
    (tmp_path / "playlists.json").write_text(text)
    with pytest.raises(UserError, match=r"playlists\.json: is not a list of playlists; remove it"):
        playlists.write(tmp_path, ["rock"], {"rock": [SONG]})


def test_paths_through_linked_folders(tmp_path):
    path = write_song(tmp_path / "deep" / "er" / "music" / "x.flac")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    (tmp_path / "deep" / "lists").mkdir()
    (tmp_path / "lists").symlink_to(tmp_path / "deep" / "lists")
    for folder in ("link/music", "link/../er/music", "deep/lists/../er/music"):
        linked = tmp_path / folder / "x.flac"
        written = playlists.write(tmp_path / "lists", ["x"], {"x": [(linked, 1)]})
        assert expand([str(written["x"])]).files[0].resolve() == path


@pytest.mark.parametrize(
    "name", ["line\nbreak.flac", "cr\r.flac", "end .flac ", "no utf \udcff.flac"]
)
def test_names_that_cannot_be_listed_raise_user_error(name, tmp_path):
    with pytest.raises(UserError, match="playlists cannot contain it") as raised:
        playlists.check_listable(Path(os.fspath(tmp_path), name))
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40))
def test_any_name_is_rejected_or_read_back(name):
    path = Path("/music") / name
    try:
        playlists.check_listable(path)
    except UserError:
        return
    lines = playlists.to_text("x", [(path, 1.0)], Path("/lists")).encode().decode().split("\n")
    assert len(lines) == 5
    assert os.path.normpath(os.path.join("/lists", lines[3].strip())) == os.path.normpath(path)  # noqa: PTH118

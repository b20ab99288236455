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
    assert text.startswith("#EXTM3U\n#PLAYLIST:x\n#EXTINF:62,a\n../music/a b/a.flac\n")
    assert "./inside.flac\n" in text
    assert written["none"].read_text() == "#EXTM3U\n#PLAYLIST:none\n"
    monkeypatch.chdir("/")
    assert [p.resolve() for p in expand([str(written["x"])]).files] == [p.resolve() for p in songs]


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

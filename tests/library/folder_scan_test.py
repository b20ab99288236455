"""What a scan of a folder lists, leaves out and reports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepgenre.library.folder_scan import is_open_for_writing, is_unfinished, scan


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abc")
    return path


def test_lists_audio_files_with_their_state(tmp_path):
    songs = [make(tmp_path / name) for name in ("a.mp3", "b/c/d.FLAC", "b/e f.m4a")]
    for name in ("cover.jpg", ".hidden.mp3", ".trash/x.mp3", "mp3", "noise"):
        make(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.mp3")
    found = scan(tmp_path)
    assert found.files == {path: (3, path.stat().st_mtime_ns) for path in songs}
    assert not found.unreadable


@pytest.mark.parametrize(
    ("name", "unfinished"),
    [
        ("song.mp3.part", True),
        ("song.mp3.crdownload", True),
        ("song.tmp.mp3", True),
        ("song.TEMP.m4a", True),
        ("Album.download", True),
        ("song.mp3", False),
        ("part.mp3", False),
        ("Vol. 1 feat. Part.mp3", False),
        ("temp", False),
    ],
)
def test_unfinished_names(name, unfinished, tmp_path):
    assert is_unfinished(name) == unfinished
    make(tmp_path / name / "song.mp3")
    assert bool(scan(tmp_path).files) != unfinished


def test_links_are_other_names_and_circles_end(tmp_path):
    song = make(tmp_path / "real" / "song.mp3")
    (tmp_path / "a link.mp3").symlink_to(song)
    (tmp_path / "a folder").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "circle").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    broken = tmp_path / "broken.mp3"
    broken.symlink_to(tmp_path / "nowhere.mp3")
    found = scan(tmp_path)
    first = tmp_path / "a link.mp3"
    assert list(found.files) == [first, broken]
    assert found.files[broken] is None
    assert found.other_names == {first: [song]}


def test_names_that_are_not_utf8(tmp_path):
    song = os.fsencode(tmp_path) + b"/caf\xe9.mp3"
    with open(song, "wb") as stream:  # noqa: PTH123
        stream.write(b"abc")
    assert [os.fsencode(path) for path in scan(tmp_path).files] == [song]


def test_missing_and_unreadable_folders_are_reported(tmp_path, monkeypatch):
    missing = tmp_path / "missing"
    assert list(scan(missing).unreadable) == [missing]
    closed = make(tmp_path / "closed" / "x.mp3").parent
    song = make(tmp_path / "a.mp3")
    scandir = os.scandir

    def scandir_denied(path):
        if Path(path) == closed:  # not by chmod: tests may run as root
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_denied)
    found = scan(tmp_path)
    assert list(found.files) == [song]
    assert found.unreadable == {closed: "Permission denied"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_file_that_another_process_writes_is_open(tmp_path):
    song = make(tmp_path / "a.mp3")
    assert not is_open_for_writing(song)
    code = "import sys; stream = open(sys.argv[1], 'ab'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, song], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline() == b"open\n"
        assert is_open_for_writing(song)
        process.communicate(b"\n")
    assert not is_open_for_writing(song)
    with song.open("rb"):
        assert not is_open_for_writing(song)
    assert not is_open_for_writing(tmp_path / "missing.mp3")

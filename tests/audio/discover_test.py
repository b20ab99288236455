import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepgenre.audio import discover
from deepgenre.errors import UserError


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def one_line(caught: pytest.ExceptionInfo) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in discover.find_audio(folder)]


def test_find_audio_is_recursive_sorted_and_ignores_the_case_of_suffixes(tmp_path):
    touch(tmp_path, "b/deep/er/2.MP3", "b/1.Flac", "a.wav", "c.npy", "c.txt", "b/cover.jpg", "wav")
    assert names(tmp_path) == ["a.wav", "b/1.Flac", "b/deep/er/2.MP3", "c.npy"]


def test_find_audio_skips_hidden_files_and_folders(tmp_path):
    touch(tmp_path, "._a.wav", ".a.wav", ".cache/a.wav", "a.wav")
    assert names(tmp_path) == ["a.wav"]


def test_find_audio_accepts_names_of_any_script_and_names_that_are_not_utf8(tmp_path):
    expected = ["Мумий Тролль/Владивосток 2000.wav", "坂本龍一/戦場.wav", 'a\nb, "c".wav', "=1.wav"]
    touch(tmp_path, *expected, os.fsdecode(b"caf\xe9.wav"))
    assert names(tmp_path) == sorted([*expected, os.fsdecode(b"caf\xe9.wav")])


def test_find_audio_searches_a_folder_with_an_audio_suffix(tmp_path):
    touch(tmp_path, "live.wav/1.wav")
    assert names(tmp_path) == ["live.wav/1.wav"]


def test_find_audio_reads_a_directory_once_under_its_own_name(tmp_path):
    touch(tmp_path, "music/rock/1.wav", "elsewhere/jazz/2.wav")
    (tmp_path / "music/a_link").symlink_to(tmp_path / "music/rock", target_is_directory=True)
    (tmp_path / "music/jazz").symlink_to(tmp_path / "elsewhere/jazz", target_is_directory=True)
    (tmp_path / "music/jazz_again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(tmp_path / "music") == ["jazz/2.wav", "rock/1.wav"]


def test_find_audio_handles_cyclic_links(tmp_path):
    touch(tmp_path, "a/1.wav", "a/b/2.wav")
    for link in ("a/up", "a/b/up", "a/b/top"):
        (tmp_path / link).symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert names(tmp_path / "a") == ["1.wav", "b/2.wav"]


def test_find_audio_includes_links_to_files_and_broken_links(tmp_path):
    touch(tmp_path, "store/x")
    (tmp_path / "music").mkdir()
    (tmp_path / "music/here.wav").symlink_to(tmp_path / "store/x")
    (tmp_path / "music/gone.wav").symlink_to(tmp_path / "store/y")
    (tmp_path / "music/gone").symlink_to(tmp_path / "store/z")
    assert names(tmp_path / "music") == ["gone.wav", "here.wav"]


def test_find_audio_skips_special_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["missing", "file.wav"])
def test_find_audio_error_names_what_is_not_a_folder(tmp_path, name):
    touch(tmp_path, "file.wav")
    with pytest.raises(UserError) as caught:
        discover.find_audio(tmp_path / name)
    assert name in one_line(caught)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_find_audio_error_names_a_folder_without_read_permission(tmp_path):
    touch(tmp_path, "music/secret/1.wav", "music/2.wav")
    (tmp_path / "music/secret").chmod(0)
    try:
        with pytest.raises(UserError) as caught:
            discover.find_audio(tmp_path / "music")
    finally:
        (tmp_path / "music/secret").chmod(0o700)
    assert "secret" in one_line(caught)
    assert "Permission denied" in one_line(caught)


WRITABLE = {
    ".wav": "WAV", ".rf64": "RF64", ".w64": "W64", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3",
    ".aiff": "AIFF", ".au": "AU", ".caf": "CAF", ".voc": "VOC",
}  # fmt: skip


@pytest.mark.parametrize("suffix", WRITABLE)
def test_files_of_writable_formats_are_found_and_decoded(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    tone = np.sin(np.arange(22050) / 10) / 2
    soundfile.write(path, tone, 22050, format=WRITABLE[suffix])
    assert discover.find_audio(tmp_path) == [path]
    samples, sample_rate_hz = soundfile.read(path)
    assert sample_rate_hz == 22050
    assert np.abs(samples).max() > 0.4


def test_suffixes_are_lower_case_and_begin_with_a_dot():
    suffixes = discover.AUDIO_SUFFIXES | discover.SPECTROGRAM_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    assert not suffixes & discover.LIST_SUFFIXES


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Returns a folder of music, which is the current folder."""
    touch(
        tmp_path,
        "b.wav", "a.wav", "notes.md", "rock/1.mp3", "rock/live/2.mp3", "jazz/3.MP3", "jazz/4.wav",
        "jazz/.5.wav",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expand(*arguments: str) -> list[str]:
    return [path.as_posix() for path in discover.expand(arguments)]


def test_expand_keeps_the_order_and_drops_duplicates(here):
    (here / "link.wav").symlink_to(here / "a.wav")
    duplicates = [str(here / "a.wav"), "./b.wav", "rock/../a.wav", "link.wav", "jazz"]
    assert expand("b.wav", "a.wav", *duplicates) == ["b.wav", "a.wav", "jazz/3.MP3", "jazz/4.wav"]


def test_expand_includes_a_file_of_unknown_suffix(here):
    assert expand("notes.md") == ["notes.md"]


def test_expand_searches_folders_recursively(here):
    assert expand("rock") == ["rock/1.mp3", "rock/live/2.mp3"]
    assert expand(".") == [
        "a.wav", "b.wav", "jazz/3.MP3", "jazz/4.wav", "rock/1.mp3", "rock/live/2.mp3"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("*.wav", ["a.wav", "b.wav"]),
        ("[a]*", ["a.wav"]),
        ("?.wav", ["a.wav", "b.wav"]),
        ("*/4.wav", ["jazz/4.wav"]),
        ("r*", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("rock/*", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("rock/**", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("**/*.mp3", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("rock/**/*.mp3", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("**/live/*", ["rock/live/2.mp3"]),
        ("**/rock/**/?.mp3", ["rock/1.mp3", "rock/live/2.mp3"]),
        ("r*/**/live/**", ["rock/live/2.mp3"]),
        ("jazz/*", ["jazz/3.MP3", "jazz/4.wav"]),
    ],
)
def test_expand_matches_patterns(here, pattern, files):
    assert expand(pattern) == files
    assert expand(str(here / pattern)) == [(here / file).as_posix() for file in files]


def test_expand_handles_cyclic_links(here):
    for link in ("rock/up", "jazz/up", "rock/live/up"):
        (here / link).symlink_to(here, target_is_directory=True)
    assert expand("rock/**/2.mp3") == ["rock/live/2.mp3"]
    assert expand("**/*.wav") == ["a.wav", "b.wav", "jazz/4.wav"]


def test_expand_prefers_an_existing_file_to_a_pattern(here):
    touch(here, "Song [live].wav", "Song l.wav")
    assert expand("Song [live].wav") == ["Song [live].wav"]


def test_expand_resolves_the_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "rock"))
    assert expand("~/1.mp3") == [(here / "rock/1.mp3").as_posix()]


@pytest.mark.parametrize("suffix", [".txt", ".m3u", ".m3u8", ".M3U"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_expand_reads_lists(here, suffix, encoding, newline):
    touch(here, "été/один.wav")
    lines = ["b.wav", "", "#EXTM3U", "  a.wav ", "   ", "été/один.wav", "b.wav", "rock", "gone.wav"]
    (here / f"list{suffix}").write_bytes(newline.join(lines).encode(encoding))
    assert expand(f"list{suffix}", "a.wav") == [
        "b.wav", "a.wav", "été/один.wav", "rock/1.mp3", "rock/live/2.mp3", "gone.wav"
    ]  # fmt: skip


def test_expand_resolves_listed_files_here_then_beside_the_list(here):
    touch(here, "lists/a.wav", "lists/only.wav")
    (here / "lists/mix.m3u").write_text(f"a.wav\nonly.wav\n{here}/b.wav\ngone.wav\n")
    assert expand("lists/mix.m3u") == [
        "a.wav", "lists/only.wav", f"{here.as_posix()}/b.wav", "lists/gone.wav"
    ]  # fmt: skip


def test_expand_keeps_listed_names_that_are_not_utf8_or_too_long(here):
    name = os.fsdecode(b"caf\xe9.wav")
    touch(here, name)
    (here / "list.txt").write_bytes(b"caf\xe9.wav\n" + b"x" * 5000)
    assert [path.name for path in discover.expand(["list.txt"])] == [name, "x" * 5000]


@pytest.mark.parametrize(
    "argument",
    ["gone.wav", "empty", "*.flac", "nowhere/**", "*.md", "empty.txt", "utf16.txt", "gone.txt", ""],
)
def test_expand_error_names_an_argument_without_files(here, argument):
    (here / "empty").mkdir()
    (here / "empty.txt").write_text("# nothing\n\n")
    (here / "utf16.txt").write_text("a.wav\n", encoding="utf-16")
    with pytest.raises(UserError) as caught:
        discover.expand(["a.wav", argument])
    assert repr(argument) in one_line(caught)

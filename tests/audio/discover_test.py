import errno
import io
import os
import sys
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
    return [path.relative_to(folder).as_posix() for path in discover.find_audio(folder).paths]


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


@pytest.fixture
def locked(tmp_path, monkeypatch) -> Path:
    """Returns a folder that cannot be read, also by root, between two that can."""
    touch(tmp_path, "music/a/1.wav", "music/lost+found/2.wav", "music/z/3.wav")
    folder, scan = tmp_path / "music/lost+found", os.scandir

    def scan_others(path: str | Path):
        if Path(path).absolute() == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_others)
    return folder


def test_a_folder_that_cannot_be_read_is_a_failure_and_the_rest_is_found(locked):
    music = locked.parent
    found = discover.find_audio(music)
    assert found.audio == [music / "a/1.wav", music / "z/3.wav"]
    assert found.paths == [music / "a/1.wav", locked, music / "z/3.wav"]
    ((path, reason),) = found.failures.items()
    assert path == locked
    assert "lost+found" in reason
    assert "Permission denied" in reason


@pytest.mark.parametrize("argument", ["music", "music/*", "music/**/*.wav"])
def test_expand_continues_after_a_folder_that_cannot_be_read(locked, monkeypatch, argument):
    monkeypatch.chdir(locked.parent.parent)
    found = discover.expand([argument])
    assert [path.as_posix() for path in found.files] == [
        "music/a/1.wav", "music/lost+found", "music/z/3.wav"
    ]  # fmt: skip
    assert list(found.failures) == [Path("music/lost+found")]


def test_a_folder_that_cannot_be_read_as_the_only_argument_is_a_failure(locked):
    assert discover.expand([str(locked)]).failures.keys() == {locked}
    with pytest.raises(UserError, match="Permission denied"):
        discover.find_audio(locked)  # as of a dataset, of which nothing is left


WRITABLE = {
    ".wav": "WAV", ".rf64": "RF64", ".w64": "W64", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3",
    ".aiff": "AIFF", ".au": "AU", ".caf": "CAF", ".voc": "VOC",
}  # fmt: skip


@pytest.mark.parametrize("suffix", WRITABLE)
def test_files_of_writable_formats_are_found_and_decoded(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    tone = np.sin(np.arange(22050) / 10) / 2
    soundfile.write(path, tone, 22050, format=WRITABLE[suffix])
    assert discover.find_audio(tmp_path).paths == [path]
    samples, sample_rate_hz = soundfile.read(path)
    assert sample_rate_hz == 22050
    assert np.abs(samples).max() > 0.4


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
    return [path.as_posix() for path in discover.expand(arguments).files]


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


def test_expand_reports_how_many_files_are_ignored(here, capsys):
    touch(here, "rock/cover.JPG", "rock/live/back.jpg", "rock/notes.txt", "rock/README")
    found = discover.expand(["rock", "*"])
    assert found.ignored == {".jpg": 4, ".txt": 2, "": 2, ".md": 1}
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "ignored 9 files in folders that are not audio by their suffix "
        "(.jpg 4, no suffix 2, .txt 2, .md 1)"
    )
    discover.expand(["jazz"])
    assert capsys.readouterr().err == ""


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


def test_expand_resolves_listed_files_beside_the_list_and_those_of_text_then_here(here):
    touch(here, "lists/a.wav", "lists/only.wav")
    for name in ("mix.m3u", "mix.txt"):
        (here / "lists" / name).write_text(f"a.wav\nonly.wav\n{here}/b.wav\nrock/1.mp3\ngone.wav")
    beside = ["lists/a.wav", "lists/only.wav", f"{here.as_posix()}/b.wav"]
    assert expand("lists/mix.m3u") == [*beside, "lists/rock/1.mp3", "lists/gone.wav"]
    assert expand("lists/mix.txt") == [*beside, "rock/1.mp3", "lists/gone.wav"]
    failures = discover.expand(["lists/mix.m3u"]).failures
    assert list(failures) == [Path("lists/rock/1.mp3"), Path("lists/gone.wav")]
    assert failures[Path("lists/gone.wav")].startswith(
        "lists/mix.m3u, line 5: 'gone.wav' does not exist"
    )


def test_expand_follows_a_list_in_a_list_and_resolves_it_beside_itself(here):
    touch(here, "rock/live/5.wav")
    (here / "all.m3u8").write_text("a.wav\nrock/rock.pls\nrock/rock.pls\nb.wav\n")
    (here / "rock/rock.pls").write_text("[playlist]\nFile1=live/live.m3u\nFile2=1.mp3\n")
    (here / "rock/live/live.m3u").write_text("5.wav\n")
    found = discover.expand(["all.m3u8"])
    assert [path.as_posix() for path in found.paths] == [
        "a.wav", "rock/live/5.wav", "rock/1.mp3", "b.wav"
    ]  # fmt: skip
    assert not found.failures


def test_lists_that_contain_each_other_are_named_and_the_rest_is_found(here):
    (here / "one.m3u").write_text("a.wav\ntwo.m3u\n")
    (here / "two.m3u").write_text("b.wav\n./one.m3u\nself.txt\njazz\n")
    (here / "self.txt").write_text("self.txt\n")
    found = discover.expand(["one.m3u"])
    assert [path.as_posix() for path in found.paths if path not in found.failures] == [
        "a.wav", "b.wav", "jazz/3.MP3", "jazz/4.wav"
    ]  # fmt: skip
    assert found.failures == {
        Path("one.m3u"): "two.m3u, line 2: the lists contain each other "
        "(one.m3u > two.m3u > one.m3u); remove the line",
        Path("self.txt"): "self.txt, line 1: the lists contain each other "
        "(self.txt > self.txt); remove the line",
    }


def test_lists_that_share_lists_are_read_once_each(here):
    """Without that, 30 levels would take 2 ** 30 reads."""
    for level in range(30):
        below = f"{level + 1}a.m3u\n{level + 1}b.m3u\n" if level < 29 else "a.wav\n"
        for name in "ab":
            (here / f"{level}{name}.m3u").write_text(below)
    assert expand("0a.m3u") == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.m3u", "#EXTM3U\n", "lists no files"),
        ("old.wpl", "<smil/>", "save it as .m3u8"),
        ("bad.xspf", "<playlist>", "is not XML"),
        ("blank", None, "contains no audio files"),
    ],
)
def test_a_listed_list_or_folder_without_files_is_a_failure_with_its_line(
    here, name, content, reason
):
    if content is None:
        (here / name).mkdir()
    else:
        (here / name).write_text(content)
    (here / "list.m3u").write_text(f"a.wav\n\n{name}\nb.wav\n")
    found = discover.expand(["list.m3u"])
    assert expand("list.m3u") == ["a.wav", name, "b.wav"]
    assert found.failures.keys() == {Path(name)}
    assert found.failures[Path(name)].startswith("list.m3u, line 3: ")
    assert reason in found.failures[Path(name)]


def test_addresses_in_lists_are_failures(here):
    (here / "radio.pls").write_text("[playlist]\nFile1=http://radio.example/a.mp3\nFile2=a.wav\n")
    found = discover.expand(["radio.pls"])
    assert found.audio == [Path("a.wav")]
    (reason,) = found.failures.values()
    assert "line 2: 'http://radio.example/a.mp3' is not a file on this computer" in reason


@pytest.mark.parametrize("content", [b"a.wav\n# c\nrock\ngone.wav\n", b"a.wav\0rock\0gone.wav\0"])
def test_expand_reads_a_list_from_standard_input(here, monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    found = discover.expand(["b.wav", "-"])
    assert [path.as_posix() for path in found.files] == [
        "b.wav", "a.wav", "rock/1.mp3", "rock/live/2.mp3", "gone.wav"
    ]  # fmt: skip
    (reason,) = found.failures.values()
    assert reason.startswith("standard input, line ")


def test_a_list_of_nul_separated_names_contains_any_name(here, monkeypatch):
    listed = touch(here, "new\nline.wav", " space .wav", "#1.wav", os.fsdecode(b"caf\xe9.wav"))
    names = b"\0".join(os.fsencode(path.name) for path in listed)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    assert expand("-") == [path.name for path in listed]


def test_empty_standard_input_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"# none\n")))
    with pytest.raises(UserError, match="standard input lists no files"):
        discover.expand(["-"])


def test_expand_keeps_listed_names_that_are_not_utf8_or_too_long(here):
    name = os.fsdecode(b"caf\xe9.wav")
    touch(here, name)
    (here / "list.txt").write_bytes(b"caf\xe9.wav\n" + b"x" * 5000)
    assert [path.name for path in discover.expand(["list.txt"]).files] == [name, "x" * 5000]


@pytest.mark.parametrize(
    "argument",
    [
        "gone.wav",
        "empty",
        "*.flac",
        "nowhere/**",
        "*.md",
        "empty.txt",
        "utf16.txt",
        "gone.txt",
        "",
        "a.cue",
    ],
)
def test_expand_error_names_an_argument_without_files(here, argument):
    (here / "empty").mkdir()
    (here / "a.cue").write_text('FILE "a.wav" WAVE')
    (here / "empty.txt").write_text("# nothing\n\n")
    (here / "utf16.txt").write_text("a.wav\n", encoding="utf-16-le")  # without byte order mark
    with pytest.raises(UserError) as caught:
        discover.expand(["a.wav", argument])
    assert repr(argument) in one_line(caught)

"""Names, lists and folders that no mode may end at, and '~' in the flags that are paths."""

import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest
import soundfile
import tiny
from absl.testing import flagsaver

from deepgenre.cli import flags, values
from deepgenre.cli.modes import MODES
from deepgenre.inference import song_index
from deepgenre.library import file_tags
from deepgenre.main import parse_flags

NAMES = [
    b"caf\xe9.wav",  # Latin-1, not UTF-8
    b"\xff\xfe.flac",
    b"new\nline.wav",
    b"return\r.mp3",
    b"tab\t\x1b[31mred\x07.ogg",
    "separators\u2028\u0085.wav".encode(),
    b'dollar $x^$ a_b,"quoted".wav',
    b"=1+1.wav",
    b"-dash.wav",
    b" space .wav",
]


@pytest.fixture
def library(tmp_path) -> Path:
    """Returns a folder of short songs with difficult names, in a folder whose name is no UTF-8."""
    folder = tmp_path / os.fsdecode(b"m\xfasica\n")
    folder.mkdir()
    for number, name in enumerate(NAMES):
        path = folder / os.fsdecode(name)
        with path.open("wb") as stream:
            samples = tiny.tone(440 + 100 * number, 1.0, number)
            soundfile.write(stream, samples, tiny.RATE_HZ, format=path.suffix[1:].upper())
    return folder


@pytest.fixture
def run(monkeypatch, capsys, trained, tmp_path):
    """Runs a mode with weights in a folder of its own; returns the code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(mode: str, *arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = tiny.call(monkeypatch, mode, f"--weights={trained}", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_no_name_ends_predict_or_resume(run, library, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"out{suffix}"
    code, table, errors = run("predict", library, f"--output={output}")
    assert code == 0, errors
    assert len(table.splitlines()) == len(NAMES)
    assert "\x1b" not in table
    content = output.read_bytes()
    code, table, errors = run("predict", library, f"--output={output}", "--resume")
    assert (code, table) == (0, "")
    assert f"{len(NAMES)} of {len(NAMES)} files are already in the output" in errors
    assert suffix == ".parquet" or output.read_bytes() == content
    if suffix == ".jsonl":
        paths = [json.loads(line)["path"] for line in output.open(encoding="utf-8")]
        assert paths == sorted(str(library / os.fsdecode(name)) for name in NAMES)


def test_no_name_ends_predict_with_taggrams(run, library, tmp_path):
    assert run("predict", library, f"--taggram={tmp_path / 'grams'}")[0] == 0
    written = list((tmp_path / "grams").iterdir())
    for suffix in (".npz", ".png"):
        assert sum(path.suffix == suffix for path in written) == len(NAMES)


def test_no_name_ends_embed_or_similar(run, library, tmp_path):
    index = tmp_path / "songs.npz"
    assert run("embed", library, f"--output={index}")[0] == 0
    assert {os.fsencode(song.path.name) for song in song_index.read_index(index).songs} == {*NAMES}
    for suffix in (".csv", ".jsonl"):
        output = tmp_path / f"near{suffix}"
        query = f"--query={library / os.fsdecode(NAMES[0])}"
        code, text, _ = run(
            "similar", query, f"--library={library}", f"--output={output}", "--copies"
        )
        assert code == 0
        assert len(text.splitlines()) == len(NAMES)  # the query and the others
        assert len(output.read_bytes().decode().splitlines()) >= len(NAMES) - 1


def test_no_name_ends_organize_write_or_undo(run, library, tmp_path):
    """Tags are written into all files, although playlists cannot list them."""
    before = {path: path.read_bytes() for path in library.iterdir()}
    out = f"--output={tmp_path / 'out'}"
    for write in ("--nowrite", "--write"):
        code, changes, errors = run("organize", library, out, "--threshold=0", write)
        assert code == 1
        assert changes.count(": genre: '' -> ") == len(NAMES)
        # Each path contains the line break of the folder.
        assert errors.count("playlists cannot contain it") == 2 * len(NAMES)
        assert f"{len(NAMES)} x its name contains a line break or ends with a space:" in errors
    assert all(file_tags.read(path)["genre"] for path in library.iterdir())
    assert run("organize", library, out, "--threshold=0", "--write")[1] == ""
    assert run("organize", "--undo", out)[0] == 0
    assert {path: path.read_bytes() for path in library.iterdir()} == before


def test_playlists_of_organize_hold_the_other_names(run, library, tmp_path):
    plain = tmp_path / "plain"
    library.rename(plain)
    code, _, errors = run("organize", plain, f"--output={tmp_path / 'out'}", "--threshold=0")
    assert code == 1
    listed = "".join(path.read_text() for path in (tmp_path / "out").glob("*.m3u8"))
    unlistable = [name for name in NAMES if os.fsdecode(name) not in listed]
    assert unlistable == [b"caf\xe9.wav", b"\xff\xfe.flac", b"new\nline.wav", b"return\r.mp3"]
    failed = [line for line in errors.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(unlistable)
    assert "2 x its name is not UTF-8:" in errors


def test_no_name_ends_prepare(library, tmp_path, monkeypatch, capfd):
    music = tmp_path / "music"
    music.mkdir()
    library.rename(music / library.name)
    tiny.compose(music, clips_per_genre=1, seconds=1.0)
    for _ in range(2):  # the second reads the store of the first
        assert tiny.call(monkeypatch, *tiny.settings(music), "--mode=prepare") == 0
        assert f"prepared: {len(NAMES) + 3} of {len(NAMES) + 3} clips" in capfd.readouterr().err


def test_a_missing_entry_is_one_failure_with_its_line(run, tones, tmp_path):
    song = next(tones.rglob("*.wav"))
    playlist = tmp_path / "list.m3u"
    playlist.write_text(f"#EXTM3U\n{song.as_uri()}\ngone.wav\nradio.m3u\n{song}\n")
    expected = f"{playlist}, line 3: 'gone.wav' does not exist"
    code, table, errors = run("predict", playlist, "--output=out.jsonl")
    assert code == 1
    assert len(table.splitlines()) == 1
    assert "2 of 3 files failed:" in errors
    assert f"failed: {expected}" in errors
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [Path(row["path"]).name for row in rows] == [song.name, "gone.wav", "radio.m3u"]
    assert rows[1]["error"].startswith(expected)
    assert f"failed: {expected}" in run("embed", playlist, "--output=e.npz")[2]
    assert len(song_index.read_index(Path("e.npz")).songs) == 1
    assert f"failed: {expected}" in run("similar", playlist, "--index=e.npz")[2]
    run("organize", playlist, "--output=out")
    assert "list.m3u, line 3" in Path("out/report.md").read_text()


def test_a_list_of_missing_entries_only_is_predicted(run, tmp_path):
    (tmp_path / "list.txt").write_text("gone.wav\n")
    code, _, errors = run("predict", "list.txt")
    assert code == 1
    assert "1 of 1 files failed:\n1 x does not exist" in errors
    assert "  list.txt, line 1: 'gone.wav' does not exist" in errors


@pytest.mark.parametrize("argument", ["-", "--files=-"])
def test_a_list_from_standard_input(run, tones, tmp_path, monkeypatch, argument):
    songs = sorted(tones.rglob("*.wav"))[:2]
    content = "\n".join(map(str, songs)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, table, _ = run("predict", argument)
    assert code == 0
    assert [line.rpartition("  ")[2] for line in table.splitlines()] == list(map(str, songs))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, _, errors = run("organize", argument, "--output=out")  # needs the files more than once
    assert code == 0, errors


@pytest.fixture
def locked(tmp_path, monkeypatch) -> Path:
    """Returns a folder that cannot be read, also by root, beside a song."""
    music = tmp_path / "library"
    tiny.compose(music, clips_per_genre=1, seconds=1.0)
    folder, scan = music / "low" / "lost+found", os.scandir
    folder.mkdir()

    def scan_others(path: str | Path = "."):
        if Path(path).absolute() == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_others)
    return folder


@pytest.mark.parametrize(
    "mode",
    [
        ("predict",),
        ("predict", "--output=o.csv", "--resume"),
        ("embed", "--output=e.npz"),
        ("organize", "--output=out"),
        ("similar", "--library=library"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named_and_the_rest_continues(run, locked, mode):
    code, output, errors = run(*mode, "library")
    assert code == 1
    assert f"failed: Cannot read the folder 'library/low/{locked.name}' (Permission" in errors
    assert mode[0] != "predict" or len(output.splitlines()) == 3


def test_prepare_names_a_folder_that_cannot_be_read(locked, monkeypatch, capfd):
    music = locked.parent.parent
    assert tiny.call(monkeypatch, *tiny.settings(music), "--mode=prepare") == 1
    errors = capfd.readouterr().err
    assert f"skipped: Cannot read the folder '{locked}'" in errors
    assert "prepared: 3 of 3 clips" in errors


def test_the_home_folder_is_resolved_in_every_path_flag(monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    single = ("data_dir", "workdir", "output", "taggram", "index", "wheel", "mapping", "summary")
    several = ("weights", "files", "query", "library")
    for name in (*single, *several):
        with flagsaver.flagsaver():
            mode = next(mode for mode, row in MODES.items() if name in row.flags)
            parse_flags(["deepgenre", mode, f"--{name}=~/a b", "--quiet"])
            value = getattr(flags, name.upper()).value
            assert value == (["/home/x/a b"] if name in several else "/home/x/a b"), name


def test_the_home_folder_is_resolved_in_each_of_several_weights(monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    with flagsaver.flagsaver():
        parse_flags(["deepgenre", "predict", "--weights=~/a,gtzan,~/b.safetensors"])
        assert values.weights_side_by_side() == {
            "a": ["/home/x/a"],
            "gtzan": ["gtzan"],
            "b": ["/home/x/b.safetensors"],
        }


def test_path_flags_keep_other_tildes(monkeypatch):
    with flagsaver.flagsaver():
        parse_flags(
            ["deepgenre", "predict", "--files=~nobody-here/a", "--files=a~/b", "--files=x~"]
        )
        assert flags.FILES.value == ["~nobody-here/a", "a~/b", "x~"]


def test_the_home_folder_is_resolved_in_paths_of_the_config(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny.compose(tmp_path / "music", clips_per_genre=1, seconds=1.0)
    arguments = [*tiny.SETTINGS, "--data_dir=~/music", "--config.store_dir=~/store"]
    assert tiny.call(monkeypatch, *arguments, "--mode=prepare") == 0
    assert list((tmp_path / "store").rglob("index.jsonl"))

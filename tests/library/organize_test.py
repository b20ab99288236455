"""A small library, with all that is wrong with libraries, organised from the command line."""

import dataclasses
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio.discover import expand
from deepgenre.library import file_tags, tag_writer
from deepgenre.library.report import Report, Song, to_markdown
from deepgenre.weights import checkpoint, weight_file

DEFAULT_THRESHOLD = "--threshold=0"  # two epochs on a few tones make nobody sure


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Songs in several formats, one twice, one linked, a loop of links, bad and hostile files."""
    folder = tmp_path / "library"
    (folder / "a").mkdir(parents=True)
    for name, pitch in (("low.flac", 110), ("mid.mp3", 880), ("high.ogg", 5000), ("low.wav", 111)):
        soundfile.write(folder / "a" / name, tiny.tone(pitch, 2.0, 9), tiny.RATE_HZ)
    shutil.copy(folder / "a" / "low.flac", folder / "copy of low.flac")
    (folder / "link.flac").symlink_to("a/low.flac")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "dead.mp3").symlink_to("nowhere.mp3")
    (folder / "bad.mp3").write_text("no music")
    soundfile.write(folder / "new\nline.wav", tiny.tone(880, 2.0, 8), tiny.RATE_HZ)
    soundfile.write(folder / "x.au", tiny.tone(5000, 2.0, 8), tiny.RATE_HZ)
    return folder


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Returns every file's bytes and time."""
    files = [path for path in expand([str(folder)]) if path.exists()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def organize(monkeypatch, capsys, trained, library, tmp_path):
    """Runs the mode; returns exit code, standard output and standard error."""

    def run(*arguments: str, network: Path = trained) -> tuple[int, str, str]:
        capsys.readouterr()
        call = [
            "--mode=organize",
            f"--weights={network}",
            f"--output={tmp_path / 'out'}",
            DEFAULT_THRESHOLD,
        ]
        code = tiny.call(monkeypatch, *call, *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def genre_in(path: Path) -> str:
    return file_tags.read(path)["genre"]


def test_a_library_is_organised_and_undone(organize, library, tmp_path):
    before = contents(library)
    code, diff, errors = organize(f"--files={library}")
    assert code == 1
    assert contents(library) == before
    assert f"{library}/a/low.flac: genre: '' -> 'low'\n" in diff
    assert "nothing is changed yet" in errors
    for wanted in (
        "x.au: tags cannot be written into this format",
        "bad.mp3: is not audio",
        "dead.mp3: ",
        "no playlist can hold it",
    ):
        assert sum(wanted in line for line in errors.splitlines()) >= 1, wanted
    assert "Traceback" not in errors

    out = tmp_path / "out"
    listed = {
        label: [library / path.resolve().relative_to(library) for path in expand([str(playlist)])]
        for label in ("low", "mid", "high")
        if "EXTINF" in (playlist := out / f"{label}.m3u8").read_text()
    }
    assert listed == {
        "low": [library / name for name in ("a/low.flac", "a/low.wav", "copy of low.flac")],
        "mid": [library / "a/mid.mp3"],
        "high": [library / "a/high.ogg", library / "x.au"],
    }
    assert "#EXTINF:2,low\n../library/a/low.flac\n" in (out / "low.m3u8").read_text()
    report = (out / "report.md").read_text()
    assert "| [low](low.m3u8) | 3 | 42.9 % | 0.00 |" in report
    assert "7 songs, 0.00 hours; 0 unsure, 4 failures, 2 recordings that are there twice" in report
    plain = report.replace("\\", "")
    assert f"- {library}/a/low.flac = {library}/link.flac\n" in plain
    assert f"- {library}/a/low.flac = {library}/copy of low.flac\n" in plain
    assert "bad.mp3: is not audio" in plain
    assert not (out / "journal.jsonl").exists()

    sound = soundfile.read(library / "a" / "mid.mp3")[0]
    code, said, errors = organize(f"--files={library}", "--write")
    assert code == 1
    assert [line for line in said.splitlines() if "genre:" in line] == [
        line for line in diff.splitlines() if "genre:" in line
    ]
    assert "changed 6 files; --undo takes it back" in errors
    assert "7 of 9 files are there already" in errors
    genres = {path.name: genre_in(path) for path in before if path.name not in ("bad.mp3", "x.au")}
    assert genres.pop("new\nline.wav") == "mid"
    assert all(name.removeprefix("copy of ").startswith(genre) for name, genre in genres.items())
    assert (library / "link.flac").is_symlink()
    np.testing.assert_array_equal(soundfile.read(library / "a" / "mid.mp3")[0], sound)

    _, said, errors = organize(f"--files={library}", "--write")
    assert "genre:" not in said
    assert "7 of 9 files are there already" in errors  # tags are no reason to hear again
    assert organize("--undo")[0] == 0
    assert contents(library) == before
    assert organize("--undo")[0] == 1  # there is nothing left to undo


def test_unsure_songs_are_on_no_playlist_and_keep_their_tags(organize, library, tmp_path):
    before = contents(library)
    _, said, errors = organize(f"--files={library}/a", "--threshold=1", "--write")
    assert "genre:" not in said
    assert "changed 0 files" in errors
    assert contents(library) == before
    report = (tmp_path / "out" / "report.md").read_text()
    assert "7 songs, 0.00 hours; 7 unsure" in report
    assert re.search(r"\| high \| [01]\.\d{3} \| .*/a/high\.ogg \|", report)
    assert "EXTINF" not in "".join(p.read_text() for p in (tmp_path / "out").glob("*.m3u8"))


def test_a_tag_network_writes_tags_and_leaves_the_genre(organize, library, trained, tmp_path):
    weights = checkpoint.restore(trained)
    spec = dataclasses.replace(weights.spec, multi_label=True)
    many = tmp_path / "tags.safetensors"
    weight_file.write(many, dataclasses.replace(weights, spec=spec), dtype="float32")
    song = library / "a" / "low.flac"
    file_tags.write(song, {"genre": "Polka"})
    _, said, _ = organize(f"--files={song}", "--write", network=many)
    assert f"{song}: tags: '' -> 'high; low; mid'\n" in said
    assert file_tags.read(song) == {"genre": "Polka", "tags": "high; low; mid"}
    assert all("low.flac" in p.read_text() for p in (tmp_path / "out").glob("*.m3u8"))


def test_an_output_inside_the_library_is_no_part_of_it(organize, library):
    for _ in range(2):
        _, _, errors = organize(f"--files={library}", f"--output={library}/a/lists")
        assert "of 9 files" in errors or "of 2 files" in errors
    assert "../low.flac" in (library / "a" / "lists" / "low.m3u8").read_text()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--output="], "--output: give a folder"),
        (["--files=nowhere"], "does not exist"),
        ([], "--files: give"),
        (["--threshold=2", "--files=x"], "--threshold: must be 0 to 1"),
        (["--undo"], "journal.jsonl: is not there"),
    ],
)
def test_mistakes_are_one_line(organize, arguments, wanted):
    code, _, errors = organize(*arguments)
    assert code == 1
    assert wanted in errors.splitlines()[-1]


def test_asked_to_stop_it_stops_between_two_files_and_goes_on(organize, library, monkeypatch):
    right = tag_writer.rewrite
    done = []

    def rewrite(path, changes, record):
        right(path, changes, record)
        done.append(path)
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tag_writer, "rewrite", rewrite)
    code, said, errors = organize(f"--files={library}", "--write")
    assert code == 130
    assert errors.splitlines()[-1] == "deepgenre: stopped when 2 files were changed"
    assert said.count("genre:") == len(done) == 2
    _, said, errors = organize(f"--files={library}", "--write")
    assert said.count("genre:") == 4
    assert len(set(done)) == len(done) == 6
    assert "7 of 9 files are there already" in errors


def test_the_report_shows_names_as_they_are():
    name = Path("-*a*_b_ [x](y) <b> `c` | d\n# e \\ $f$ &amp;")
    song = Song(name, 3600.0, ("r|b",), "r|b", 0.9)
    page = to_markdown(
        Report("h", [song], ["r|b"], {"r|b": "r_b #1.m3u8"}, ["x|y"], [[name, name]])
    )
    assert "| [r\\|b](r_b%20%231.m3u8) | 1 | 100.0 % | 1.00 |" in page
    assert "- x\\|y\n" in page
    shown = "\\-\\*a\\*\\_b\\_ \\[x\\](y) \\<b\\> \\`c\\` \\| d\\\\n\\# e \\\\ \\$f\\$ \\&amp;"
    assert f"- {shown} = {shown}\n" in page

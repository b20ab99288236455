"""Mode `organize` on a small library with broken, duplicate and badly named files."""

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
from deepgenre.inference import thresholds
from deepgenre.library import file_tags, tag_writer
from deepgenre.library.report import Report, Song, to_markdown
from deepgenre.weights import checkpoint, weight_file

LOW_THRESHOLD = "--threshold=0"  # after two epochs on a few tones scores are low


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Returns a folder of songs in several formats, a copy, links, a cycle, and invalid files."""
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
    """Returns the bytes and modification time (ns) of every file."""
    files = [path for path in expand([str(folder)]).files if path.exists()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def organize(monkeypatch, capsys, trained, library, tmp_path):
    """Runs mode `organize`; returns exit code, standard output and standard error."""

    def run(*arguments: str, network: Path = trained) -> tuple[int, str, str]:
        capsys.readouterr()
        call = [
            "--mode=organize",
            f"--weights={network}",
            f"--output={tmp_path / 'out'}",
            LOW_THRESHOLD,
        ]
        code = tiny.call(monkeypatch, *call, *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def genre_in(path: Path) -> str:
    return "; ".join(file_tags.read(path)["genre"])


def test_organize_write_and_undo(organize, library, tmp_path):
    before = contents(library)
    code, diff, errors = organize(f"--files={library}")
    assert code == 1
    assert contents(library) == before
    assert f"{library}/a/low.flac: genre: '' -> 'Low'\n" in diff
    assert "no file was changed" in errors
    for message in (
        "x.au: tags cannot be written into this format",
        "bad.mp3: is not audio",
        "dead.mp3: ",
        "playlists cannot contain it",
    ):
        assert any(message in line for line in errors.splitlines()), message
    assert "Traceback" not in errors

    out = tmp_path / "out"
    listed = {
        label: [
            library / path.resolve().relative_to(library) for path in expand([str(playlist)]).files
        ]
        for label in ("low", "mid", "high")
        if (playlist := out / f"{label}.m3u8").exists()
    }
    assert listed == {
        "low": [library / name for name in ("a/low.flac", "a/low.wav", "copy of low.flac")],
        "mid": [library / "a/mid.mp3"],
        "high": [library / "a/high.ogg", library / "x.au"],
    }
    assert "#EXTINF:2,low\n../library/a/low.flac\n" in (out / "low.m3u8").read_text()
    report = (out / "report.md").read_text()
    assert "| [low](low.m3u8) | 3 | 42.9 % | 0.00 |" in report
    assert (
        "7 songs, 0.00 hours; 0 below the threshold, 4 failures, 2 recordings with dupl" in report
    )
    plain = report.replace("\\", "")
    assert f"- {library}/a/low.flac = {library}/link.flac\n" in plain
    assert f"- {library}/a/low.flac = {library}/copy of low.flac\n" in plain
    assert "bad.mp3: is not audio" in plain
    assert not (out / "journal.jsonl").exists()

    sound = soundfile.read(library / "a" / "mid.mp3")[0]
    code, output, errors = organize(f"--files={library}", "--write")
    assert code == 1
    assert [line for line in output.splitlines() if "genre:" in line] == [
        line for line in diff.splitlines() if "genre:" in line
    ]
    assert "changed 6 files; --undo restores them" in errors
    assert "7 of 9 files are already in the output" in errors
    genres = {path.name: genre_in(path) for path in before if path.name not in ("bad.mp3", "x.au")}
    assert genres.pop("new\nline.wav") == "Mid"
    assert all(
        name.removeprefix("copy of ").startswith(genre.lower()) for name, genre in genres.items()
    )
    assert (library / "link.flac").is_symlink()
    np.testing.assert_array_equal(soundfile.read(library / "a" / "mid.mp3")[0], sound)

    _, output, errors = organize(f"--files={library}", "--write")
    assert "genre:" not in output
    assert "7 of 9 files are already in the output" in errors  # only tags changed
    assert organize("--undo")[0] == 0
    assert contents(library) == before
    assert organize("--undo")[0] == 1  # the journal is gone


def test_songs_below_threshold_are_not_listed_and_keep_tags(organize, library, tmp_path):
    before = contents(library)
    _, output, errors = organize(f"--files={library}/a", "--threshold=1", "--write")
    assert "genre:" not in output
    assert "changed 0 files" in errors
    assert contents(library) == before
    report = (tmp_path / "out" / "report.md").read_text()
    assert "7 songs, 0.00 hours; 7 below the threshold" in report
    assert re.search(r"\| high \| [01]\.\d{3} \| .*/a/high\.ogg \|", report)
    assert not list((tmp_path / "out").glob("*.m3u8"))


def test_multi_label_weights_write_tags_and_keep_genre(organize, library, trained, tmp_path):
    weights = checkpoint.restore(trained)
    spec = dataclasses.replace(weights.spec, multi_label=True)
    tagger = tmp_path / "tags.safetensors"
    weight_file.write(tagger, dataclasses.replace(weights, spec=spec), dtype="float32")
    song = library / "a" / "low.flac"
    file_tags.write(song, {"genre": ("Polka",)})
    _, output, _ = organize(f"--files={song}", "--write", network=tagger)
    assert f"{song}: tags: '' -> 'high; low; mid'\n" in output
    read = file_tags.read(song)
    assert (read["genre"], read["tags"]) == (("Polka",), ("high", "low", "mid"))
    assert all("low.flac" in p.read_text() for p in (tmp_path / "out").glob("*.m3u8"))


def test_multi_label_weights_get_tags_without_synonyms_above_a_default(
    organize, library, trained, tmp_path, monkeypatch
):
    weights = checkpoint.restore(trained)
    classes = ("female", "woman", "no vocals")
    spec = dataclasses.replace(weights.spec, multi_label=True, classes=classes)
    tagger = tmp_path / "tags.safetensors"
    weight_file.write(tagger, dataclasses.replace(weights, spec=spec), dtype="float32")
    song, out = library / "a" / "low.flac", tmp_path / "out"

    organize(f"--files={song}", network=tagger)
    lists = {path.name for path in out.glob("*.m3u8")}
    assert len(lists) == 1  # the two contradict each other
    assert lists < {"female vocals.m3u8", "instrumental.m3u8"}
    organize(f"--files={song}", "--noconsistent", network=tagger)
    lists = {path.name for path in out.glob("*.m3u8")}
    assert lists == {"female vocals.m3u8", "instrumental.m3u8"}
    organize(f"--files={song}", "--noconsistent", "--nomerge_synonyms", network=tagger)
    assert {path.name for path in out.glob("*.m3u8")} == {f"{name}.m3u8" for name in classes}
    (scores,) = [path.read_text() for path in out.glob("songs-*.jsonl")]
    assert all(f'"{name}": ' in scores for name in classes)

    call = ["--mode=organize", f"--weights={tagger}", f"--output={out}", f"--files={song}"]
    assert tiny.call(monkeypatch, *call) == 0
    default = thresholds.table()[0]
    assert f"labels with a score of {default} or more" in (out / "report.md").read_text()


def test_explicit_threshold_is_for_all_tags(organize, library, trained, tmp_path, monkeypatch):
    weights = checkpoint.restore(trained)
    spec = dataclasses.replace(weights.spec, multi_label=True, classes=("harp", "flute", "solo"))
    tagger, out = tmp_path / "tags.safetensors", tmp_path / "out"
    weight_file.write(tagger, dataclasses.replace(weights, spec=spec), dtype="float32")
    row = thresholds.Row("w", spec.model, {"harp": 0.0, "flute": 0.999, "solo": 0.999})
    monkeypatch.setattr(thresholds, "table", lambda: (0.5, (row,)))

    call = ["--mode=organize", f"--weights={tagger}", f"--output={out}", f"--files={library}/a"]
    tiny.call(monkeypatch, *call)
    assert {path.stem for path in out.glob("*.m3u8")} == {"harp"}
    report = (out / "report.md").read_text()
    assert "labels with a score above their own threshold, 0.0 to 0.999" in report
    tiny.call(monkeypatch, *call, "--threshold=0")
    assert {path.stem for path in out.glob("*.m3u8")} == {"harp", "flute", "solo"}
    tiny.call(monkeypatch, *call, "--threshold=1")
    assert not list(out.glob("*.m3u8"))


def test_playlists_of_two_weights_do_not_mix(organize, library, trained, tmp_path):
    weights = checkpoint.restore(trained)
    spec = dataclasses.replace(weights.spec, classes=("x", "y", "z"))
    other = tmp_path / "other.safetensors"
    weight_file.write(other, dataclasses.replace(weights, spec=spec), dtype="float32")
    organize(f"--files={library}/a")
    _, _, errors = organize(f"--files={library}/a", network=other)
    lists = {path.stem for path in (tmp_path / "out").glob("*.m3u8")}
    assert lists
    assert lists <= {"x", "y", "z"}
    assert "playlists of an earlier run" in errors
    report = (tmp_path / "out" / "report.md").read_text()
    assert {*re.findall(r"^\| \[(\w+)\]", report, re.MULTILINE)} == lists


def test_output_inside_library_is_not_organised(organize, library):
    for _ in range(2):
        _, _, errors = organize(f"--files={library}", f"--output={library}/a/lists")
        assert "of 9 files" in errors or "of 2 files" in errors
    assert "../low.flac" in (library / "a" / "lists" / "low.m3u8").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output="], "--output=: is empty; give a value"),
        (["--files=nowhere"], "does not exist"),
        ([], "--files: give"),
        (["--threshold=2", "--files=x"], "--threshold: must be 0 to 1"),
        (["--undo"], "journal.jsonl: does not exist"),
    ],
)
def test_user_errors_are_one_line(organize, arguments, message):
    code, _, errors = organize(*arguments)
    assert code == 1
    assert message in errors.splitlines()[-1]


def test_sigterm_stops_between_files_and_rerun_completes(organize, library, monkeypatch):
    original_rewrite = tag_writer.rewrite
    rewritten = []

    def rewrite(path, changes, record):
        original_rewrite(path, changes, record)
        rewritten.append(path)
        if len(rewritten) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tag_writer, "rewrite", rewrite)
    code, output, errors = organize(f"--files={library}", "--write")
    assert code == 130
    assert errors.splitlines()[-1] == "deepgenre: stopped after changing 2 files"
    assert output.count("genre:") == len(rewritten) == 2
    _, output, errors = organize(f"--files={library}", "--write")
    assert output.count("genre:") == 4
    assert len(set(rewritten)) == len(rewritten) == 6
    assert "7 of 9 files are already in the output" in errors


def test_report_escapes_markdown_in_names():
    name = Path("-*a*_b_ [x](y) <b> `c` | d\n# e \\ $f$ &amp;")
    song = Song(name, 3600.0, ("r|b",), "r|b", 0.9)
    page = to_markdown(
        Report("h", [song], ["r|b"], {"r|b": "r_b #1.m3u8"}, ["x|y"], [[name, name]])
    )
    assert "| [r\\|b](r_b%20%231.m3u8) | 1 | 100.0 % | 1.00 |" in page
    assert "- x\\|y\n" in page
    shown = "\\-\\*a\\*\\_b\\_ \\[x\\](y) \\<b\\> \\`c\\` \\| d\\\\n\\# e \\\\ \\$f\\$ \\&amp;"
    assert f"- {shown} = {shown}\n" in page


def tagged_songs(library: Path) -> list[Path]:
    """Returns the four songs in `library`/a, with genres of the owner in the first two."""
    songs = sorted((library / "a").glob("*.*"))
    for song in songs[:2]:
        file_tags.write(song, {"genre": ("Polka",)})
    return songs


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, ["Polka", "Polka", "Low", "Mid"]),  # fill
        ("fill", ["Polka", "Polka", "Low", "Mid"]),
        ("add", ["Polka; High", "Polka; Low", "Low", "Mid"]),
        ("replace", ["High", "Low", "Low", "Mid"]),
    ],
)
def test_policy_decides_about_genres_of_the_owner(policy, expected, organize, library):
    songs = tagged_songs(library)
    flag = [f"--policy={policy}"] if policy else []
    _, output, errors = organize(f"--files={library}/a/*.*", "--write", *flag)
    assert [genre_in(song) for song in songs] == expected
    assert ("2 files keep the genre that they have (--policy=fill)" in errors) == (
        policy in (None, "fill")
    )
    assert ("genre: 'Polka' -> " in output) == (policy in ("add", "replace"))
    assert "changed 0 files" in organize(f"--files={library}/a/*.*", "--write", *flag)[2]
    assert [genre_in(song) for song in songs] == expected


def test_mapping_and_field_decide_what_is_written_where(organize, library, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("# mine\nlow = Deep & Slow\nMID = Deep & Slow\nhigh =\n")
    code, _, errors = organize(
        f"--files={library}/a/*.*", "--write", "--field=grouping", f"--mapping={names}"
    )
    assert (code, "changed 3 files" in errors) == (0, True)
    songs = {song.name: file_tags.read(song) for song in (library / "a").glob("*.*")}
    assert {name: read["grouping"] for name, read in songs.items()} == {
        "high.ogg": (),
        "low.flac": ("Deep & Slow",),
        "low.wav": ("Deep & Slow",),
        "mid.mp3": ("Deep & Slow",),
    }
    assert not any(read["genre"] for read in songs.values())
    names.write_text("lo = x")
    code, _, errors = organize(f"--files={library}/a/*.*", f"--mapping={names}")
    assert (code, "none of its classes is one of these weights" in errors) == (1, True)


def test_genres_no_longer_predicted_are_taken_back(organize, library):
    songs = tagged_songs(library)
    before = [genre_in(song) for song in songs]
    organize(f"--files={library}/a/*.*", "--write", "--policy=replace")
    file_tags.write(songs[3], {"genre": ("Mid", "of the owner")})
    _, plan, _ = organize(f"--files={library}/a/*.*", "--threshold=1", "--policy=replace")
    _, output, _ = organize(
        f"--files={library}/a/*.*", "--threshold=1", "--policy=replace", "--write"
    )
    assert output.splitlines()[-4:] == plan.splitlines()[-4:]
    assert f"{songs[0]}: genre: 'High' -> 'Polka' (no longer predicted)" in output
    assert f"{songs[2]}: genre: 'Low' -> '' (no longer predicted)" in output
    assert [genre_in(song) for song in songs] == [*before[:3], "of the owner"]
    assert organize("--undo")[0] == 0
    assert [genre_in(song) for song in songs] == [*before[:3], "of the owner"]


def test_undo_of_one_file_from_the_command_line(organize, library):
    songs = sorted((library / "a").glob("*.*"))
    before = [song.read_bytes() for song in songs]
    organize(f"--files={library}/a/*.*", "--write")
    song = library / "a" / "mid.mp3"
    code, _, errors = organize("--undo", song)
    assert (code, f"restored: {song}" in errors) == (0, True)
    assert [s for s, old in zip(songs, before, strict=True) if s.read_bytes() == old] == [song]
    assert organize("--undo")[0] == 0
    assert [song.read_bytes() for song in songs] == before


def test_written_tags_cost_no_new_analysis_in_any_mode(
    organize, library, trained, tmp_path, monkeypatch, capsys
):
    index, rows = tmp_path / "index.npz", tmp_path / "rows.csv"

    def analyse() -> str:
        capsys.readouterr()
        flags = [f"--weights={trained}", f"--files={library}/a/*.*"]
        assert tiny.call(monkeypatch, "embed", *flags, f"--output={index}") == 0
        assert tiny.call(monkeypatch, "predict", *flags, f"--output={rows}", "--resume") == 0
        return capsys.readouterr().err

    all_known = ("4 of 4 files unchanged, 0 to process", "4 of 4 files are already in the output")
    assert "4 to process" in analyse()
    for steps in (["--write"], ["--write", "--threshold=1"], ["--write"], ["--undo"]):
        assert (
            organize(*([] if "--undo" in steps else [f"--files={library}/a/*.*"]), *steps)[0] == 0
        )
        errors = analyse()
        assert all(line in errors for line in all_known), (steps, errors)
    soundfile.write(library / "a" / "low.wav", tiny.tone(120, 2.0, 3), tiny.RATE_HZ)
    errors = analyse()
    assert "3 of 4 files unchanged, 1 to process" in errors
    assert "3 of 4 files are already in the output" in errors


def test_descriptors_are_written_into_empty_fields_and_undone(organize, tmp_path):
    songs = tmp_path / "songs"
    songs.mkdir()
    clicks = np.zeros(10 * tiny.RATE_HZ, np.float32)
    clicks[:: tiny.RATE_HZ // 2] = 0.9
    owned, untagged = songs / "owned.mp3", songs / "untagged.flac"
    for path in (owned, untagged):
        soundfile.write(path, clicks, tiny.RATE_HZ)
    file_tags.write(owned, {"tempo": ("99",)})
    before = contents(songs)
    code, printed, _ = organize(f"--files={songs}", "--write", "--describe=tempo,loudness")
    assert code == 0
    assert file_tags.read(owned)["tempo"] == ("99",)
    written = file_tags.read(untagged)
    assert written["tempo"] == ("120",)
    assert re.fullmatch(r"-?\d+\.\d\d dB", written["gain"][0])
    assert f"untagged.flac: gain: '' -> '{written['gain'][0]}'" in printed
    organize(f"--files={songs}", "--write", "--describe=tempo", "--policy=replace")
    assert file_tags.read(owned)["tempo"] == ("120",)
    assert file_tags.read(untagged)["gain"] == written["gain"]  # not of this run
    assert organize("--undo")[0] == 0
    assert contents(songs) == before


def test_fingerprints_find_copies_in_other_formats(organize, library, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * tiny.RATE_HZ)
    soundfile.write(library / "noise.wav", noise, tiny.RATE_HZ)
    soundfile.write(library / "noise.ogg", noise / 2, tiny.RATE_HZ)
    organize(f"--files={library}", "--describe=fingerprint")
    report = (tmp_path / "out" / "report.md").read_text()
    duplicates = report.split("## Duplicates")[1]
    assert re.search(r"noise\.ogg = .*noise\.wav", duplicates)

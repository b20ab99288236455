import json
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from deepgenre.data.datasets import million_song
from deepgenre.data.datasets.manifest import read_manifest
from deepgenre.data.datasets.million_song import Song
from deepgenre.errors import UserError

TRACKS = {
    "TRMMMYQ128F932D901": ("SOQMMHC12AB0180CB8", "Faster Pussy cat", "Silent Night"),
    "TRMMMKD128F425225D": ("SOVFVAK12A8C1350D9", "Karkkiautomaatti", "Tanssi vaan"),
    "TRAAAAW128F429D538": ("SOAAAAW128F429D538", "Beyoncé", "Déjà Vu (live)"),
    "TRBBBBW128F429D538": ("SOBBBBW128F429D538", "AC/DC", "T.N.T."),
    "TRCCCCW128F429D538": ("SOCCCCW128F429D538", "AC/DC", "Twice"),
    "TRDDDDW128F429D538": ("SODDDDW128F429D538", "AC-DC", "Twice"),
    "TREEEEW128F429D538": ("SOEEEEW128F429D538", "!!!", "?"),
}
TAGS = {
    "TRMMMYQ128F932D901": {"rock": 100, "christmas": 40, "seen live": 0},
    "TRMMMKD128F425225D": {"rock": 100, "finnish": 90},
    "TRAAAAW128F429D538": {"pop": 100, "rock": 3},
    "TRZZZZW128F429D538": {"christmas": 100, "finnish": 2},
}


def songs() -> dict[str, Song]:
    return {track: Song(artist, title) for track, (_, artist, title) in TRACKS.items()}


def pairs(least: int) -> set[tuple[str, str]]:
    return {(track, tag) for track, row in TAGS.items() for tag, n in row.items() if n >= least}


def write_metadata(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "unique_tracks.txt":
        lines = [f"{t}<SEP>{s}<SEP>{a}<SEP>{title}\n" for t, (s, a, title) in TRACKS.items()]
        path.write_text("".join(lines), encoding="utf-8")
        return path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE songs (track_id text PRIMARY KEY, title text, song_id text, "
            "release text, artist_id text, artist_mbid text, artist_name text, duration real, "
            "artist_familiarity real, artist_hotttnesss real, year int)"
        )
        connection.executemany(
            "INSERT INTO songs (track_id, song_id, artist_name, title) VALUES (?, ?, ?, ?)",
            [(track, *row) for track, row in TRACKS.items()],
        )
        connection.commit()
    return path


def write_tags(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "lastfm_tags.db":
        names = sorted({tag for row in TAGS.values() for tag in row})
        rows = [
            (track_row, names.index(tag) + 1, float(count))
            for track_row, row in enumerate(TAGS.values(), start=1)
            for tag, count in row.items()
        ]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE tids (tid TEXT)")
            connection.execute("CREATE TABLE tags (tag TEXT)")
            connection.execute("CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT)")
            connection.executemany("INSERT INTO tids VALUES (?)", [(track,) for track in TAGS])
            connection.executemany("INSERT INTO tags VALUES (?)", [(name,) for name in names])
            connection.executemany("INSERT INTO tid_tag VALUES (?, ?, ?)", rows)
            connection.commit()
        return path
    texts = {
        f"lastfm_train/{track[2]}/{track[3]}/{track[4]}/{track}.json": json.dumps(
            {"track_id": track, "similars": [], "tags": [[tag, str(n)] for tag, n in row.items()]}
        )
        for track, row in TAGS.items()
    }
    if kind.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
            archive.writestr("__MACOSX/lastfm_train/._x.json", b"\0")
    else:
        for name, text in texts.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
    return path


METADATA = ["track_metadata.db", "unique_tracks.txt"]
TAG_LISTS = ["lastfm_tags.db", "lastfm_train.zip", "json"]


def failure(path: Path, read: Callable[..., Iterable], *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        list(read(*arguments))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("kind", METADATA)
def test_reads_songs_from_both_metadata_formats(tmp_path, kind):
    assert million_song.read_songs(write_metadata(tmp_path, kind)) == songs()


def test_song_without_artist_has_an_empty_artist(tmp_path):
    path = write_metadata(tmp_path, "track_metadata.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE songs SET artist_name = NULL WHERE title = 'T.N.T.'")
        connection.commit()
    assert million_song.read_songs(path)["TRBBBBW128F429D538"] == Song("", "T.N.T.")


@pytest.mark.parametrize("kind", TAG_LISTS)
@pytest.mark.parametrize("least", [0, 3, 50, 100])
def test_reads_tags_from_every_format_above_the_minimum_count(tmp_path, kind, least):
    read = list(million_song.read_tags(write_tags(tmp_path, kind), least))
    assert len(read) == len(set(read))
    assert set(read) == pairs(least)


@pytest.mark.parametrize(
    ("name", "track", "rule"),
    [
        ("TRMMMYQ128F932D901.mp3", "TRMMMYQ128F932D901", "track id"),
        ("M/Y/trmmmyq128f932d901.clip.mp3", "TRMMMYQ128F932D901", "track id"),
        ("preview_TRMMMYQ128F932D901_x.mp3", "TRMMMYQ128F932D901", "track id"),
        ("AC-DC - T.N.T. (TRMMMYQ128F932D901).mp3", "TRMMMYQ128F932D901", "track id"),
        ("TRMMMYQ128F932D901 TRMMMKD128F425225D.mp3", None, "ambiguous"),
        ("TRMMMYQ128F932D901X.mp3", None, "unmatched"),
        ("XTRMMMYQ128F932D901.mp3", None, "unmatched"),
        ("TRMMMYQ128F932D90.mp3", None, "unmatched"),
        ("TRQQQQQ128F932D901.mp3", None, "unmatched"),
        ("Karkkiautomaatti - Tanssi vaan.mp3", "TRMMMKD128F425225D", "artist - title"),
        ("BEYONCE - deja vu [Live].flac", "TRAAAAW128F429D538", "artist - title"),
        ("Beyonce\u0301_-_De\u0301ja\u0300_Vu_live.wav", "TRAAAAW128F429D538", "artist - title"),
        ("acdc \u2013 T N T.mp3", "TRBBBBW128F429D538", "artist - title"),
        ("AC - DC - TNT.mp3", "TRBBBBW128F429D538", "artist - title"),
        ("AC_DC - Twice.mp3", None, "ambiguous"),
        ("!!! - ?.mp3", None, "unmatched"),
        ("ACDC TNT.mp3", None, "unmatched"),
        ("ACDC-TNT.mp3", None, "unmatched"),
        ("TNT - ACDC.mp3", None, "unmatched"),
        ("01 - Karkkiautomaatti - Tanssi vaan.mp3", None, "unmatched"),
        ("Karkkiautomaatti - Tanssi vaan 2.mp3", None, "unmatched"),
    ],
)
def test_file_is_matched_to_the_one_track_of_its_name(name, track, rule):
    path = Path("music") / name
    matched, rules = million_song.match([path], songs())
    assert matched == ({path: track} if track else {})
    assert rules == Counter([rule])


def test_most_frequent_tags_are_counted_over_the_whole_list(tmp_path):
    read = sorted(pairs(0))
    tracks = {"TRMMMYQ128F932D901", "TRAAAAW128F429D538", "TRBBBBW128F429D538"}
    # rock 3; christmas and finnish 2 each, although no file has finnish; then pop, seen live.
    assert million_song.choose_tags(read, tracks, 3) == {
        "TRMMMYQ128F932D901": ("rock", "christmas"),
        "TRAAAAW128F429D538": ("rock",),
        "TRBBBBW128F429D538": (),
    }
    every = million_song.choose_tags(read, tracks, 0)
    assert every["TRMMMYQ128F932D901"] == ("rock", "christmas", "seen live")
    for order in (read, reversed(read)):
        tied = million_song.choose_tags(order, tracks, 4)
        assert tied["TRAAAAW128F429D538"] == ("rock", "pop")


def write_audio(folder: Path) -> Path:
    for name in [
        "A/TRMMMYQ128F932D901.mp3", "karkkiautomaatti - Tanssi Vaan.wav", "ACDC - TNT.flac",
        "acdc - twice.mp3", "unknown.mp3", "cover.jpg",
    ]:  # fmt: skip
        (folder / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "audio" / name).touch()
    return folder / "audio"


def command(folder: Path, *more: str, **changed: Path | str) -> subprocess.CompletedProcess[str]:
    values = {"audio": folder / "audio", "output": folder / "out" / "manifest.csv", **changed}
    arguments = [f"--{name}={value}" for name, value in values.items()] + list(more)
    module = [sys.executable, "-m", "deepgenre.data.datasets.million_song"]
    return subprocess.run([*module, *arguments], capture_output=True, text=True, check=False)


def test_command_writes_a_manifest_and_reports_matches(tmp_path):
    audio = write_audio(tmp_path)
    metadata = write_metadata(tmp_path, "track_metadata.db")
    tags = write_tags(tmp_path, "lastfm_tags.db")
    result = command(tmp_path, "--top_tags=2", metadata=metadata, tags=tags)
    output = tmp_path / "out" / "manifest.csv"
    assert result.stderr == (
        "5 audio files: 1 matched by track id, 2 by artist and title; left out: 1 ambiguous, "
        f"1 unmatched. 2 have tags, 1 have none. Wrote 3 clips to {str(output)!r}.\n"
    )
    assert (result.returncode, result.stdout) == (0, "")
    clips = read_manifest(output, multi_label=True).clips
    assert {(clip.path, clip.labels, clip.group) for clip in clips} == {
        (audio / "A/TRMMMYQ128F932D901.mp3", ("rock", "christmas"), "Faster Pussy cat"),
        (audio / "karkkiautomaatti - Tanssi Vaan.wav", ("rock",), "Karkkiautomaatti"),
        (audio / "ACDC - TNT.flac", (), "AC/DC"),
    }


def test_command_reports_an_error_in_one_line(tmp_path):
    write_audio(tmp_path)
    metadata = write_metadata(tmp_path, "unique_tracks.txt")
    result = command(tmp_path, metadata=metadata, tags=tmp_path / "gone.db")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "gone.db" in result.stderr


def test_tags_are_stripped_and_blank_tags_ignored():
    read = [("TRA", "rock "), ("TRB", "rock"), ("TRA", "pop"), ("TRC", " "), ("TRC", "")]
    assert million_song.choose_tags(read, {"TRA", "TRC"}, 1) == {"TRA": ("rock",), "TRC": ()}


def test_several_tag_lists_are_joined(tmp_path):
    audio = write_audio(tmp_path)
    parts = [tmp_path / "train", tmp_path / "test"]
    for track, part in zip(["TRMMMYQ128F932D901", "TRMMMKD128F425225D"], parts, strict=True):
        part.mkdir()
        (part / "x.json").write_text(json.dumps({"track_id": track, "tags": [[part.name, 100]]}))
    output = tmp_path / "m.jsonl"
    metadata = write_metadata(tmp_path, "unique_tracks.txt")
    million_song.make_manifest(metadata, parts, audio, output)
    labels = [clip.labels for clip in read_manifest(output, multi_label=True).clips]
    assert sorted(labels) == [(), ("test",), ("train",)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.txt", None, "No such file"),
        ("empty.txt", b"", "no track"),
        ("other.txt", b"TRA<SEP>SOA<SEP>Artist<SEP>Title\nTRB,SOB,Artist,Title\n", "line 2"),
        ("latin.txt", "TRA<SEP>SOA<SEP>é<SEP>Title\n".encode("latin-1"), "UTF-8"),
        ("torn.db", b"SQLite format 3\0" + b"\xff" * 2000, "database"),
    ],
)
def test_malformed_metadata_is_reported(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert words in failure(path, million_song.read_songs, path)


def test_other_databases_are_rejected(tmp_path):
    path = write_tags(tmp_path, "lastfm_tags.db")
    assert "songs" in failure(path, million_song.read_songs, path)
    path = write_metadata(tmp_path, "track_metadata.db")
    assert "tid_tag" in failure(path, million_song.read_tags, path, 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"tags": []}', b'{"track_id": "TRA", "tags": [["rock", "many"]]}',
     b'{"track_id": "TRA", "tags": ["rock"]}', b'{"track_id": "TRA", "tags": null}', b"\xff"],
)  # fmt: skip
def test_malformed_json_is_reported(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    failure(tmp_path / "x.json", million_song.read_tags, tmp_path, 0)


def test_missing_foreign_and_damaged_tag_lists_are_reported(tmp_path):
    (tmp_path / "notes.txt").write_text("rock")
    torn = write_tags(tmp_path, "lastfm_train.zip")
    torn.write_bytes(torn.read_bytes().replace(b"finnish", b"swedish"))
    for path in (tmp_path / "gone.db", tmp_path / "notes.txt", torn):
        failure(path, million_song.read_tags, path, 0)


def test_no_match_and_no_tags_are_reported(tmp_path):
    audio = write_audio(tmp_path)
    metadata = write_metadata(tmp_path, "unique_tracks.txt")
    tags, output = write_tags(tmp_path, "json"), tmp_path / "m.csv"
    empty = tmp_path / "none"
    empty.mkdir()
    make, misspelt = million_song.make_manifest, tmp_path / "m.xls"
    failure(misspelt, make, tmp_path / "gone.db", [tags], audio, misspelt)  # before reading
    failure(empty, make, metadata, [empty], audio, output)
    failure(empty, make, metadata, [tags], empty, output)
    assert not output.exists()

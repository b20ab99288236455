"""Changes are undone: all, of one file, of one field; with old and with damaged journals."""

import json

import pytest
from tag_files import FIELDS, add_user_tags, undo, write, write_tone, written

from deepgenre import files
from deepgenre.errors import UserError
from deepgenre.library import file_tags
from deepgenre.library import undo as undo_files
from deepgenre.sealed_lines import unsealed


def test_undo_after_two_writes_restores_original(tmp_path):
    song = write_tone(tmp_path / "x.flac")
    old = song.read_bytes()
    write(tmp_path, song)
    write(tmp_path, song, fields={"genre": ("something else",)})
    assert file_tags.read(song)["genre"] == ("something else",)
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == old
    write(tmp_path, song)
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == old


def test_one_file_is_undone_although_others_changed(tmp_path):
    (tmp_path / "a").mkdir()
    songs = [write_tone(tmp_path / name) for name in ("a/1.flac", "a/2.flac", "b.flac", "c.flac")]
    old = [song.read_bytes() for song in songs]
    write(tmp_path, *songs)
    new = [song.read_bytes() for song in songs]
    with songs[2].open("ab") as stream:
        stream.write(b"more")
    assert undo(tmp_path, songs[3]) == {"c.flac": ""}
    assert songs[3].read_bytes() == old[3]
    assert [song.read_bytes() for song in songs[:2]] == new[:2]
    errors = undo(tmp_path, tmp_path / "a", songs[3])
    assert errors["1.flac"] == errors["2.flac"] == ""
    assert "the journal holds no change of it" in errors["c.flac"]
    assert [song.read_bytes() for song in songs[:2]] == old[:2]
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(songs[2])


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a", ".wv"])
def test_only_our_fields_are_restored_where_another_program_edited_the_file(suffix, tmp_path):
    song = write_tone(tmp_path / f"x{suffix}")
    add_user_tags(song)
    old_genre = file_tags.read(song)["genre"]
    write(tmp_path, song)
    write(tmp_path, song, fields={"genre": ("second",)})
    file_tags.write(song, {"comment": ("of the owner",)})
    others = file_tags.other_tags(song, FIELDS)
    (outcome,) = undo_files.run(tmp_path / "journal.jsonl")
    assert outcome.error == ""
    assert outcome.note == f"only its {', '.join(FIELDS)}: another program changed the file since"
    now = file_tags.read(song)
    assert (now["genre"], now["tags"], now["comment"]) == (old_genre, (), ("of the owner",))
    assert file_tags.other_tags(song, FIELDS) == others
    assert not (tmp_path / "journal.jsonl").exists()


def test_field_that_the_owner_edited_stays(tmp_path):
    song = write_tone(tmp_path / "x.flac")
    write(tmp_path, song)
    file_tags.write(song, {"genre": ("Folk",)})
    (outcome,) = undo_files.run(tmp_path / "journal.jsonl")
    assert outcome.note.endswith("also its genre, which stays")
    assert file_tags.read(song)["genre"] == ("Folk",)
    assert file_tags.read(song)["tags"] == ()

    write(tmp_path, song, fields={"genre": ("Rock",)})
    file_tags.write(song, {"genre": ("Jazz",)})
    content = song.read_bytes()
    (outcome,) = undo_files.run(tmp_path / "journal.jsonl")
    assert "was changed since its tags were written, also its genre" in outcome.error
    assert song.read_bytes() == content
    assert (tmp_path / "journal.jsonl").exists()


def test_values_that_the_owner_added_to_our_field_stay(tmp_path):
    song = write_tone(tmp_path / "x.flac")
    write(tmp_path, song, fields={"genre": ("Rock",)})
    file_tags.write(song, {"genre": ("Rock", "Folk")})
    assert undo(tmp_path) == {"x.flac": ""}
    assert file_tags.read(song)["genre"] == ("Folk",)


def test_edit_between_two_writes_is_restored_and_the_first_change_undone(tmp_path):
    song = write_tone(tmp_path / "x.mp3")
    write(tmp_path, song, fields={"genre": ("Rock",)})
    file_tags.write(song, {"comment": ("of the owner",)})
    write(tmp_path, song, fields={"genre": ("Pop",)})
    assert undo(tmp_path) == {"x.mp3": ""}
    assert written(song) == {"comment": ("of the owner",)}


def test_missing_file_fails_and_stays_in_the_journal(tmp_path):
    missing, intact = (write_tone(tmp_path / f"{name}.flac") for name in ("missing", "intact"))
    write(tmp_path, missing, intact)
    missing.unlink()
    errors = undo(tmp_path)
    assert "No such file" in errors["missing.flac"]
    assert errors["intact.flac"] == ""
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(missing)


def test_file_that_is_old_already_counts_as_restored(tmp_path):
    song = write_tone(tmp_path / "x.flac")
    old = song.read_bytes()
    write(tmp_path, song)
    song.write_bytes(old)
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == old


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"{" + line,
        lambda line: line[: len(line) // 2],
        lambda line: b"\xff\xfe" + line,
        lambda line: b"[]",
        lambda line: b"17",
        lambda line: json.dumps({**unsealed(line), "back": [[1, 2, 3]]}).encode(),
        lambda line: json.dumps({**unsealed(line), "back": [["a", 2]]}).encode(),
        lambda line: json.dumps({**unsealed(line), "changes": [{"field": 1}]}).encode(),
        lambda line: json.dumps({**unsealed(line), "changes": None}).encode(),
        lambda line: json.dumps({**unsealed(line), "path": None}).encode(),
        lambda line: json.dumps({"path": unsealed(line)["path"]}).encode(),
        lambda line: line.replace(b'"mtime_ns": 1', b'"mtime_ns": 3'),  # a bit, at rest
    ],
)
def test_damaged_line_is_named_and_others_are_undone(damage, tmp_path):
    songs = [write_tone(tmp_path / f"{i}.flac", seconds=0.5) for i in range(3)]
    old = [song.read_bytes() for song in songs]
    write(tmp_path, *songs)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    lines[1] = damage(lines[1])
    (tmp_path / "journal.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    errors = undo(tmp_path)
    assert "line 2 is damaged and was skipped" in errors.pop("journal.jsonl")
    assert errors == {"0.flac": "", "2.flac": ""}
    assert [song.read_bytes() == content for song, content in zip(songs, old, strict=True)] == [
        True, False, True,
    ]  # fmt: skip
    assert (tmp_path / "journal.jsonl").read_bytes() == lines[1] + b"\n"


@pytest.mark.parametrize("back", [["no base64 !"], ["QUJD"], [[5, 10**12]], [[-9, 3]], []])
def test_pieces_that_do_not_restore_the_file_leave_it_unchanged(back, tmp_path):
    song = write_tone(tmp_path / "x.flac", seconds=0.5)
    write(tmp_path, song)
    content = song.read_bytes()
    line = unsealed((tmp_path / "journal.jsonl").read_bytes())
    (tmp_path / "journal.jsonl").write_text(json.dumps({**line, "back": back}) + "\n")
    assert "its line in the journal is damaged" in undo(tmp_path)["x.flac"]
    assert song.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "x.flac"]


def test_journal_of_an_earlier_version_is_undone(tmp_path):
    """Its changes were texts, in which several values were joined."""
    exact, edited = (write_tone(tmp_path / name) for name in ("exact.flac", "edited.flac"))
    add_user_tags(exact)
    old = exact.read_bytes()
    write(tmp_path, exact, edited)
    lines = list(map(unsealed, (tmp_path / "journal.jsonl").read_bytes().splitlines()))
    for line in lines:
        for change in line["changes"]:
            change.update({key: "; ".join(change[key]) for key in ("old", "new")})
    assert lines[0]["changes"][1]["new"] == "guitar; no vocals"
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "journal.jsonl").write_text(text)
    file_tags.write(edited, {"mood": ("calm",)})
    assert undo(tmp_path) == {"exact.flac": "", "edited.flac": ""}
    assert exact.read_bytes() == old
    assert written(edited) == {"mood": ("calm",)}


def test_incomplete_last_line_is_reported_unless_its_file_is_unchanged(tmp_path):
    first, last = write_tone(tmp_path / "a.flac"), write_tone(tmp_path / "b.flac")
    originals = first.read_bytes(), last.read_bytes()
    write(tmp_path, first, last)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # torn after the journal was closed
    errors = undo(tmp_path)
    assert errors["a.flac"] == ""
    assert f"its last line is incomplete: the change of {last}" in errors["journal.jsonl"]
    assert first.read_bytes() == originals[0]
    assert journal.exists()
    last.write_bytes(originals[1])  # as where the run was killed while it wrote the line
    assert undo(tmp_path) == {}
    assert not journal.exists()


def test_second_writer_of_a_journal_is_refused(tmp_path):
    song = write_tone(tmp_path / "a.flac")
    write(tmp_path, song)
    with (
        files.updating(tmp_path / "journal.jsonl"),
        pytest.raises(UserError, match=r"journal.jsonl: is being updated by process"),
    ):
        undo(tmp_path)


@pytest.mark.parametrize(
    "back", [[[0, 1 << 62]], [[-5, 3]], [[5, -3]], [[1 << 62, 1]], ["eJw="], ["é"]]
)
def test_impossible_piece_of_a_line_leaves_the_file_unchanged(tmp_path, back):
    song = write_tone(tmp_path / "a.flac")
    write(tmp_path, song)
    written = song.read_bytes()
    journal = tmp_path / "journal.jsonl"
    line = unsealed(journal.read_bytes())
    journal.write_text(json.dumps(line | {"back": back}) + "\n")
    (error,) = undo(tmp_path).values()
    assert "damaged" in error
    assert song.read_bytes() == written
    assert journal.exists()

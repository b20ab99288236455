"""What is remembered of files, across runs, renames and changes of tags."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files.rows import Layout, Result
from deepgenre.library.remembered import Entry, Remembered

LAYOUT = Layout({"": ("a", "b")})
SCORES = (Result(np.array([0.25, 0.75], np.float32), ("b", "a")),)
OTHERS = (Result(np.array([0.75, 0.25], np.float32), ("a",)),)
STATE = (10, 1_700_000_000_123_456_789)
OTHER = (11, 1_700_000_000_500_000_001)
LATER = (12, 1_700_000_001_000_000_007)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "songs.jsonl"


def check_same(found: Sequence[Result], expected: Sequence[Result]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.tags == other.tags


def remember(file: Path, *entries: Entry) -> Remembered:
    remembered = Remembered(file, LAYOUT)
    for entry in entries:
        remembered.append(entry)
    return Remembered(file, LAYOUT)  # as the next run reads it


def test_entries_are_read_back_and_repeated_lines_dropped(file):
    song = Entry(Path("/m/caf\udce9\n.mp3"), STATE, SCORES, seconds=2.5)
    written = Entry(
        song.path, STATE, SCORES, seconds=2.5, written={"genre": ("B", "C")}, stamp=LATER
    )
    other = Entry(song.path, OTHER, OTHERS, seconds=3.0)
    failed = Entry(Path("/m/bad.mp3"), STATE, error="bad.mp3: is not audio")
    absent = Entry(Path("/m/absent.mp3"), None, error="does not exist")
    remember(file, song, song, failed, absent, other, written)
    with file.open("ab") as stream:
        stream.write(b'{"path": "half')
    remembered = Remembered(file, LAYOUT)
    assert file.read_bytes().count(b"\n") == 4
    for entry in (other, written, failed, absent):
        found = remembered.get(entry.path, entry.state)
        assert found is not None and found is remembered.get(entry.path, entry.fingerprint)
        check_same(found.results, entry.results)
        assert {**vars(found), "results": 0} == {**vars(entry), "results": 0}
    assert remembered.get(song.path, (12, 0)) is None
    assert remembered.get(Path("/m/other.mp3"), STATE) is None
    last = remembered.last(song.path)
    assert last.state == LATER


def test_a_prediction_of_organize_loses_nothing(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = {"genre": ("B",)}
    path = tmp_path / "a.mp3"
    known = Entry(path, STATE, SCORES, seconds=2.5, written=written, stamp=LATER)
    remember(file, known, Entry(Path("a.mp3"), STATE, SCORES))
    found = Remembered(file, LAYOUT).get(path, LATER)
    assert found is not None
    assert (found.results[0].tags, found.seconds, found.written) == (("b", "a"), 2.5, written)


def test_other_classes_are_refused(file):
    remember(file, Entry(Path("/m/a.mp3"), STATE, SCORES))
    with pytest.raises(UserError, match=r"songs\.jsonl: cannot be resumed: .* other classes"):
        Remembered(file, Layout({"": ("a", "c")}))


def test_a_renamed_file_is_recognised_until_it_is_ambiguous(file, tmp_path):
    old, new = tmp_path / "old.mp3", tmp_path / "new.mp3"
    entry = Entry(old, STATE, SCORES, seconds=1.0)
    remembered = remember(file, entry)
    found = remembered.of_renamed(new, STATE)
    assert found is not None and (found.path, found.seconds) == (new, 1.0)
    assert remembered.of_renamed(new, LATER) is None
    assert remembered.of_renamed(new, None) is None
    remembered.append(found)
    again = remembered.of_renamed(tmp_path / "third.mp3", STATE)  # renamed twice
    assert again is not None and again.path.name == "third.mp3"
    remembered.append(Entry(tmp_path / "twin.mp3", STATE, OTHERS))
    assert remembered.of_renamed(tmp_path / "third.mp3", STATE) is None
    old.touch()
    assert remember(tmp_path / "other.jsonl", entry).of_renamed(new, STATE) is None  # a copy
    new.symlink_to(old)
    assert remember(tmp_path / "other.jsonl", entry).of_renamed(new, STATE) is not None


def test_a_renamed_file_has_our_tags_only_if_the_old_one_had_them(file, tmp_path):
    old, new = tmp_path / "old.mp3", tmp_path / "new.mp3"
    remembered = remember(file, Entry(old, STATE, SCORES, written={"genre": ("B",)}, stamp=LATER))
    for state, written in ((LATER, {"genre": ("B",)}), (STATE, None)):
        found = remembered.of_renamed(new, state)
        assert found is not None
        assert (found.path, found.fingerprint, found.state) == (new, state, state)
        assert found.written == written


def test_times_of_whole_seconds_do_not_identify_a_renamed_file(file, tmp_path):
    coarse = (10, 1_700_000_000_000_000_000)
    remembered = remember(file, Entry(tmp_path / "old.mp3", coarse, SCORES))
    assert remembered.of_renamed(tmp_path / "new.mp3", coarse) is None


def test_fields_written_into_the_same_audio(file):
    path = Path("/m/a.mp3")
    remembered = remember(
        file,
        Entry(path, STATE, SCORES, seconds=1.0),
        Entry(path, STATE, SCORES, seconds=1.0, written={"genre": ("B",)}, stamp=LATER),
    )
    assert remembered.written_before(path, (Result(SCORES[0].scores + np.float32(1e-5), ()),)) == {
        "genre": ("B",)
    }
    assert remembered.written_before(path, OTHERS) is None
    assert remembered.written_before(Path("/m/b.mp3"), SCORES) is None

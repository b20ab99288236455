"""Fingerprints of files whose tags were written."""

import os
from pathlib import Path

from deepgenre.files import fingerprint, record_retagged, stamp


def rewrite(path: Path, content: str, time_ns: int) -> None:
    """Rewrites a file and notes that only tags changed."""
    before = stamp(path)
    path.write_text(content)
    os.utime(path, ns=(time_ns, time_ns))
    after = stamp(path)
    assert before and after
    record_retagged(path, before, after)


def test_fingerprint_stays_while_only_tags_change(tmp_path):
    song, link = tmp_path / "x.mp3", tmp_path / "link.mp3"
    song.write_text("a")
    link.symlink_to(song)
    original = fingerprint(song)
    assert original == stamp(song)
    for number in range(3):
        rewrite(song, "a" * number, 1_000 + number)
        assert fingerprint(song) == fingerprint(link) == original != stamp(song)
    song.write_text("other audio")
    assert fingerprint(song) == stamp(song)


def test_another_file_of_the_same_size_and_time_is_not_confused(tmp_path):
    song, other = tmp_path / "x.mp3", tmp_path / "y.mp3"
    song.write_text("a")
    rewrite(song, "bb", 5_000)
    other.write_text("bb")
    os.utime(other, ns=(5_000, 5_000))
    assert fingerprint(other) == stamp(other) == stamp(song)


def test_damaged_record_is_skipped(tmp_path):
    song = tmp_path / "x.mp3"
    song.write_text("a")
    original = fingerprint(song)
    Path(os.environ["DEEPGENRE_RETAGGED"]).write_bytes(b'{"path": "/wor\n[]\n\xff\n')
    rewrite(song, "bb", 5_000)
    assert fingerprint(song) == original
    assert fingerprint(tmp_path / "missing") is None

"""Writes fields into audio files of every format; everything else in them stays unchanged."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import in_process
import numpy as np
import pytest
from mutagen import id3, mp3, oggvorbis, wave
from mutagen.id3 import ID3
from tag_files import FIELDS, SUFFIXES, add_user_tags, changes, samples_of, undo, write, write_tone

from deepgenre.errors import UserError
from deepgenre.library import file_tags, journal, tag_writer
from deepgenre.library.file_tags import Change


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_write_changes_only_fields_and_undo_restores_file(suffix, tagged, tmp_path):
    song = write_tone(tmp_path / f"a song{suffix}")
    if tagged:
        add_user_tags(song)
    song.chmod(0o640)
    os.utime(song, ns=(1, 1_500_000_000_123_456_789))
    old, sound, others = song.read_bytes(), samples_of(song), file_tags.other_tags(song, FIELDS)
    assert bool(tagged) == any("Za" in other for other in others)

    old_genre = ("Polka",) if tagged else ()
    assert changes(song)[0] == Change("genre", old_genre, FIELDS["genre"])
    assert song.read_bytes() == old
    before = time.time()
    write(tmp_path, song)
    assert {field: file_tags.read(song)[field] for field in FIELDS} == FIELDS
    assert not changes(song)
    assert file_tags.other_tags(song, FIELDS) == others
    np.testing.assert_array_equal(samples_of(song), sound)
    assert song.stat().st_mode & 0o777 == 0o640
    assert song.stat().st_mtime >= before - 1

    assert undo(tmp_path) == {song.name: ""}
    assert song.read_bytes() == old
    assert song.stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert song.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [song.name]


def test_fields_are_readable_by_other_programs(tmp_path):
    songs = {
        suffix: write_tone(tmp_path / f"x{suffix}") for suffix in (".mp3", ".ogg", ".wav", ".m4a")
    }
    write(tmp_path, *songs.values())
    assert ID3(songs[".mp3"])["TCON"].text == [*FIELDS["genre"]]
    assert ID3(songs[".mp3"])["TXXX:DEEPGENRE_TAGS"].text == [*FIELDS["tags"]]
    assert wave.WAVE(songs[".wav"])["TCON"].text == [*FIELDS["genre"]]
    assert oggvorbis.OggVorbis(songs[".ogg"])["deepgenre_tags"] == [*FIELDS["tags"]]
    probe = ["ffprobe", "-v", "error", "-show_format", "-of", "json", songs[".m4a"]]
    probed = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)
    assert probed["format"]["tags"]["genre"] == FIELDS["genre"][0]


def test_id3_version_and_id3v1_tag_are_kept(tmp_path):
    song = write_tone(tmp_path / "x.mp3")
    tags = ID3()
    tags.add(id3.TIT2(encoding=1, text=["T"]))
    tags.add(id3.TYER(encoding=0, text=["1999"]))
    tags.save(song, v1=2, v2_version=3)
    content = bytearray(song.read_bytes())
    content[-125:-95] = b"another title".ljust(30, b"\0")  # of ID3v1
    song.write_bytes(content)
    write(tmp_path, song)
    written = mp3.MP3(song, translate=False).tags
    assert written is not None
    assert written.version == (2, 3, 0)
    assert str(written["TYER"]) == "1999"
    assert written["TXXX:DEEPGENRE_TAGS"].text == ["/".join(FIELDS["tags"])]
    assert song.read_bytes()[-128:] == content[-128:]
    assert undo(tmp_path) == {"x.mp3": ""}
    assert song.read_bytes() == content


def test_journal_is_small_for_large_files(tmp_path):
    songs = [
        write_tone(tmp_path / f"x{suffix}", seconds=20) for suffix in (".wav", ".aiff", ".flac")
    ]
    add_user_tags(songs[2])
    write(tmp_path, *songs)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert max(map(len, lines)) < 10_000
    assert min(song.stat().st_size for song in songs) > 300_000


def test_symbolic_link_is_kept(tmp_path):
    song, link = write_tone(tmp_path / "x.flac"), tmp_path / "link.flac"
    link.symlink_to(song.name)
    write(tmp_path, link)
    assert link.is_symlink()
    assert file_tags.read(song)["genre"] == FIELDS["genre"]


def write_error(song: Path, folder: Path) -> str:
    """Returns the message of a failed write, one line; checks that no file changed."""
    old, names = song.read_bytes(), sorted(set(song.parent.iterdir()) - {folder / "journal"})
    with pytest.raises(UserError) as raised:
        write(folder / "journal", song)
    assert song.read_bytes() == old
    assert sorted(set(song.parent.iterdir()) - {folder / "journal"}) == names
    assert str(song) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_files_that_cannot_be_written_stay_unchanged(tmp_path):
    read_only = write_tone(tmp_path / "read-only.mp3")
    read_only.chmod(0o444)
    assert "is read-only" in write_error(read_only, tmp_path)
    linked = write_tone(tmp_path / "linked.mp3")
    (tmp_path / "other.mp3").hardlink_to(linked)
    assert "2 names (hard links)" in write_error(linked, tmp_path)
    assert "cannot be written into this format" in write_error(
        write_tone(tmp_path / "x.au"), tmp_path
    )
    old = write_tone(tmp_path / "old.mp3")
    old.write_bytes(b"ID3\2\0\0\0\0\0\x0aTT2\0\0\4\0abc" + old.read_bytes())
    assert "ID3v2.2" in write_error(old, tmp_path)
    truncated = write_tone(tmp_path / "truncated.flac")
    truncated.write_bytes(truncated.read_bytes()[:30])
    assert "its tags cannot be read or written" in write_error(truncated, tmp_path)


def test_verification_detects_changed_audio_or_tags(tmp_path, monkeypatch):
    in_process.call_here(monkeypatch)
    song = write_tone(tmp_path / "x.wav")
    add_user_tags(song)
    original_write = file_tags.write

    def corrupt_audio(path, fields):
        original_write(path, fields)
        content = bytearray(path.read_bytes())
        content[1000] ^= 64
        path.write_bytes(content)

    def corrupt_tags(path, fields):
        original_write(path, fields)
        tagged = wave.WAVE(path)
        assert tagged.tags is not None
        del tagged.tags["TIT2"]
        tagged.save()

    monkeypatch.setattr(file_tags, "write", corrupt_audio)
    assert "audio differs" in write_error(song, tmp_path)
    monkeypatch.setattr(file_tags, "write", corrupt_tags)
    assert "other tags differ" in write_error(song, tmp_path)


def test_file_that_another_program_writes_is_not_replaced(tmp_path):
    song = write_tone(tmp_path / "x.flac")

    def append_to_song(line):
        with song.open("ab") as stream:
            stream.write(b"appended")

    with pytest.raises(UserError, match="another program"):
        tag_writer.rewrite(song, changes(song), append_to_song)
    assert song.read_bytes().endswith(b"appended")


def test_tags_are_written_where_the_record_of_retagged_files_cannot(tmp_path, monkeypatch, capsys):
    song = write_tone(tmp_path / "x.flac")
    monkeypatch.setenv("DEEPGENRE_RETAGGED", str(tmp_path))  # a folder
    write(tmp_path, song)
    assert file_tags.read(song)["genre"] == FIELDS["genre"]
    assert f"{song}: will be analysed again ({tmp_path}: Is a directory)" in capsys.readouterr().err


def test_journal_is_locked(tmp_path):
    song = write_tone(tmp_path / "x.flac")
    with (
        journal.appending(tmp_path / "journal.jsonl"),
        pytest.raises(UserError, match="is being updated by process"),
    ):
        write(tmp_path, song)


def test_full_disk_leaves_file_unchanged(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        song = write_tone(disk / "x.wav", seconds=5)
        assert "No space left on device" in write_error(song, tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


WRITER = """
import sys
from pathlib import Path
from deepgenre.library import journal, tag_writer
folder = Path(sys.argv[1])
tag_writer.remove_stale_copies({folder / "songs"})
songs = sorted((folder / "songs").iterdir())
with journal.appending(folder / "journal.jsonl") as record:
    print("started", flush=True)
    for song in songs:
        requested = {"genre": lambda old: (sys.argv[2],), "tags": lambda old: ("x" * 20_000,)}
        if changes := tag_writer.changes(song, requested):
            tag_writer.rewrite(song, changes, record)
print("done")
"""


def start_writer(folder: Path, genre: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, folder, genre]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    return process


def copies(folder: Path) -> list[Path]:
    return list(folder.glob(f"{tag_writer.TEMPORARY}*"))


def digests(songs: list[Path]) -> list[str]:
    return [hashlib.sha256(song.read_bytes()).hexdigest() for song in songs]


def test_killed_writer_leaves_complete_files_and_rerun_completes(tmp_path):
    (tmp_path / "songs").mkdir()
    songs = [
        write_tone(tmp_path / "songs" / f"{i}{suffix}") for i in range(6) for suffix in SUFFIXES[:5]
    ]
    shutil.copytree(tmp_path / "songs", tmp_path / "reference" / "songs")
    old = digests(songs)
    assert start_writer(tmp_path / "reference", "new").wait() == 0
    new = digests([tmp_path / "reference" / "songs" / song.name for song in songs])

    rng, copies_left = random.Random(0), 0
    recorded = tmp_path / "journal.jsonl"
    for number in range(8):
        process = start_writer(tmp_path, "new")
        # After more songs in each round, also where a busy machine is slow.
        while process.poll() is None and (
            recorded.read_bytes().count(b"\n") < 2 * number or not copies(tmp_path / "songs")
        ):
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.03))
        process.kill()
        process.wait()
        assert all(now in pair for now, *pair in zip(digests(songs), old, new, strict=True))
        copies_left += len(copies(tmp_path / "songs"))
    assert copies_left > 0  # a kill happened between copy and rename
    assert old != digests(songs) != new
    with (tmp_path / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"path": "/wor')  # an incomplete line, as after a kill
    process = start_writer(tmp_path, "new")
    assert process.communicate()[0] == b"done\n"
    assert digests(songs) == new
    assert sorted((tmp_path / "songs").iterdir()) == sorted(songs)
    assert set(undo(tmp_path).values()) == {""}
    assert digests(songs) == old

"""Fields are written into real audio files of every format, and nothing else of them changes."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from mutagen import flac, id3, mp3, mp4, oggvorbis, wave
from mutagen.id3 import ID3

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError
from deepgenre.library import file_tags, tag_writer

SUFFIXES = [".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff", ".m4a"]
FIELDS = {"genre": "hip hop & ç", "tags": "guitar; no vocals"}
COVER = np.random.default_rng(0).bytes(30_000)


def make(path: Path, *, seconds: float = 2.0) -> Path:
    """Writes a *synthetic* tone as an audio file of the format that its suffix says."""
    samples = tiny.tone(440, seconds, 1)
    if path.suffix == ".opus":
        soundfile.write(path, samples, 48_000, format="OGG", subtype="OPUS")
        return path
    if path.suffix != ".m4a":
        soundfile.write(path, samples, tiny.RATE_HZ)
        return path
    if not ffmpeg.is_there():
        pytest.skip("m4a files are made and heard with ffmpeg, which is not here")
    wav = path.with_suffix(".source.wav")
    soundfile.write(wav, samples, tiny.RATE_HZ)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", wav, path], check=True)
    wav.unlink()
    return path


def dress(path: Path) -> None:
    """Gives a file tags as a user has them: a cover too, and of an mp3 the old tag at its end."""
    song: Any = file_tags._open(path)
    if song.tags is None:
        song.add_tags()
    if isinstance(song, file_tags.ID3_FORMATS):
        frames: Any = song.tags
        frames.add(id3.TIT2(encoding=3, text=["Zażółć"]))
        frames.add(id3.TCON(encoding=3, text=["Polka"]))
        frames.add(id3.TXXX(encoding=3, desc="MOOD", text=["a", "b"]))
        frames.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=COVER))
        song.save(**({"v1": 2} if path.suffix == ".mp3" else {}))
        return
    if isinstance(song, mp4.MP4):
        song["\xa9nam"], song["\xa9gen"] = ["Zażółć"], ["Polka"]
        song["covr"] = [mp4.MP4Cover(COVER)]
    else:
        song["title"], song["genre"], song["mood"] = ["Zażółć"], ["Polka"], ["a", "b"]
    if isinstance(song, flac.FLAC):
        picture = flac.Picture()
        picture.data = COVER
        song.add_picture(picture)
    song.save()


def samples_of(path: Path) -> np.ndarray:
    if path.suffix == ".m4a":
        return np.concatenate([block for block, _ in ffmpeg.decode(path)])
    return soundfile.read(path, always_2d=True)[0]


def write(folder: Path, *songs: Path, fields: dict[str, str] = FIELDS) -> None:
    with tag_writer.journal(folder / "journal.jsonl") as record:
        for song in songs:
            tag_writer.rewrite(song, tag_writer.changes(song, fields), record)


def undo(folder: Path) -> dict[str, str]:
    """Returns the complaint a file, '' where it is again what it was."""
    return {path.name: error for path, error in tag_writer.undo(folder / "journal.jsonl")}


@pytest.mark.parametrize("dressed", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fields_are_written_nothing_else_changes_and_all_is_undone(suffix, dressed, tmp_path):
    song = make(tmp_path / f"a song{suffix}")
    if dressed:
        dress(song)
    song.chmod(0o640)
    os.utime(song, ns=(1, 1_500_000_000_123_456_789))
    old, sound, others = song.read_bytes(), samples_of(song), file_tags.others(song)
    assert bool(dressed) == any("Za" in other for other in others)

    asked = tag_writer.changes(song, FIELDS)
    assert asked[0] == tag_writer.Change("genre", "Polka" if dressed else "", FIELDS["genre"])
    assert song.read_bytes() == old
    before = time.time()
    write(tmp_path, song)
    assert file_tags.read(song) == FIELDS
    assert not tag_writer.changes(song, FIELDS)
    assert file_tags.others(song) == others
    np.testing.assert_array_equal(samples_of(song), sound)
    assert song.stat().st_mode & 0o777 == 0o640
    assert song.stat().st_mtime >= before - 1

    assert undo(tmp_path) == {song.name: ""}
    assert song.read_bytes() == old
    assert song.stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert song.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [song.name]


def test_others_read_our_fields_where_other_programs_look(tmp_path):
    songs = {suffix: make(tmp_path / f"x{suffix}") for suffix in (".mp3", ".ogg", ".wav", ".m4a")}
    write(tmp_path, *songs.values())
    assert ID3(songs[".mp3"])["TCON"].text == [FIELDS["genre"]]
    assert ID3(songs[".mp3"])["TXXX:DEEPGENRE_TAGS"].text == [FIELDS["tags"]]
    assert wave.WAVE(songs[".wav"])["TCON"].text == [FIELDS["genre"]]
    assert oggvorbis.OggVorbis(songs[".ogg"])["deepgenre_tags"] == [FIELDS["tags"]]
    probe = ["ffprobe", "-v", "error", "-show_format", "-of", "json", songs[".m4a"]]
    found = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)
    assert found["format"]["tags"]["genre"] == FIELDS["genre"]


def test_id3_keeps_its_version_and_the_old_tag_at_the_end(tmp_path):
    song = make(tmp_path / "x.mp3")
    tags = ID3()
    tags.add(id3.TIT2(encoding=1, text=["T"]))
    tags.add(id3.TYER(encoding=0, text=["1999"]))
    tags.save(song, v1=2, v2_version=3)
    content = bytearray(song.read_bytes())
    content[-125:-95] = b"another title".ljust(30, b"\0")  # of ID3v1
    song.write_bytes(content)
    write(tmp_path, song)
    found = mp3.MP3(song, translate=False).tags
    assert found is not None
    assert found.version == (2, 3, 0)
    assert str(found["TYER"]) == "1999"
    assert found["TXXX:DEEPGENRE_TAGS"].text == [FIELDS["tags"]]
    assert song.read_bytes()[-128:] == content[-128:]
    assert undo(tmp_path) == {"x.mp3": ""}
    assert song.read_bytes() == content


def test_a_long_cover_or_a_long_wav_makes_no_long_journal(tmp_path):
    songs = [make(tmp_path / f"x{suffix}", seconds=20) for suffix in (".wav", ".aiff", ".flac")]
    dress(songs[2])
    write(tmp_path, *songs)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert max(map(len, lines)) < 10_000
    assert min(song.stat().st_size for song in songs) > 300_000


def test_written_twice_and_undone_is_as_it_was_first(tmp_path):
    song = make(tmp_path / "x.flac")
    old = song.read_bytes()
    write(tmp_path, song)
    write(tmp_path, song, fields={"genre": "something else"})
    assert file_tags.read(song)["genre"] == "something else"
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == old
    write(tmp_path, song)
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == old


def test_what_changed_since_is_not_undone_and_stays_in_the_journal(tmp_path):
    changed, gone, fine = (make(tmp_path / f"{name}.flac") for name in ("changed", "gone", "fine"))
    write(tmp_path, changed, gone, fine)
    with changed.open("ab") as stream:
        stream.write(b"more")
    content = changed.read_bytes()
    gone.unlink()
    complaints = undo(tmp_path)
    assert "changed since" in complaints["changed.flac"]
    assert "No such file" in complaints["gone.flac"]
    assert complaints["fine.flac"] == ""
    assert changed.read_bytes() == content
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert {Path(line["path"]).name for line in lines} == {"changed.flac", "gone.flac"}


def test_a_link_stays_a_link(tmp_path):
    song, link = make(tmp_path / "x.flac"), tmp_path / "link.flac"
    link.symlink_to(song.name)
    write(tmp_path, link)
    assert link.is_symlink()
    assert file_tags.read(song)["genre"] == FIELDS["genre"]


def refusal(song: Path, folder: Path) -> str:
    """Returns the one line that says why nothing was written; checks that nothing was."""
    old, names = song.read_bytes(), sorted(set(song.parent.iterdir()) - {folder / "journal"})
    with pytest.raises(UserError) as refused:
        write(folder / "journal", song)
    assert song.read_bytes() == old
    assert sorted(set(song.parent.iterdir()) - {folder / "journal"}) == names
    assert str(song) in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_cannot_be_written_is_one_line_and_stays_as_it_was(tmp_path):
    read_only = make(tmp_path / "read-only.mp3")
    read_only.chmod(0o444)
    assert "is read-only" in refusal(read_only, tmp_path)
    linked = make(tmp_path / "linked.mp3")
    (tmp_path / "other.mp3").hardlink_to(linked)
    assert "2 names (hard links)" in refusal(linked, tmp_path)
    assert "cannot be written into this format" in refusal(make(tmp_path / "x.au"), tmp_path)
    old = make(tmp_path / "old.mp3")
    old.write_bytes(b"ID3\2\0\0\0\0\0\x0aTT2\0\0\4\0abc" + old.read_bytes())
    assert "ID3v2.2" in refusal(old, tmp_path)
    torn = make(tmp_path / "torn.flac")
    torn.write_bytes(torn.read_bytes()[:30])
    assert "its tags cannot be read or written" in refusal(torn, tmp_path)


def test_a_writer_that_harms_sound_or_tags_is_stopped(tmp_path, monkeypatch):
    song = make(tmp_path / "x.wav")
    dress(song)
    right = file_tags.write

    def harm_sound(path, fields):
        right(path, fields)
        content = bytearray(path.read_bytes())
        content[1000] ^= 64
        path.write_bytes(content)

    def harm_tags(path, fields):
        right(path, fields)
        tagged = wave.WAVE(path)
        assert tagged.tags is not None
        del tagged.tags["TIT2"]
        tagged.save()

    monkeypatch.setattr(file_tags, "write", harm_sound)
    assert "its sound would change" in refusal(song, tmp_path)
    monkeypatch.setattr(file_tags, "write", harm_tags)
    assert "its other tags would change" in refusal(song, tmp_path)


def test_a_song_that_another_program_writes_meanwhile_is_left_alone(tmp_path):
    song = make(tmp_path / "x.flac")

    def meddle(line):
        with song.open("ab") as stream:
            stream.write(b"meddled")

    with pytest.raises(UserError, match="another program"):
        tag_writer.rewrite(song, tag_writer.changes(song, FIELDS), meddle)
    assert song.read_bytes().endswith(b"meddled")


def test_two_runs_do_not_share_a_journal(tmp_path):
    song = make(tmp_path / "x.flac")
    with (
        tag_writer.journal(tmp_path / "journal.jsonl"),
        pytest.raises(UserError, match="another run"),
    ):
        write(tmp_path, song)


def test_on_a_full_disk_the_song_stays_as_it_was(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        song = make(disk / "x.wav", seconds=5)
        assert "No space left on device" in refusal(song, tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


WRITER = """
import sys
from pathlib import Path
from deepgenre import retag
folder = Path(sys.argv[1])
retag.clear_up({folder / "songs"})
songs = sorted((folder / "songs").iterdir())
with retag.journal(folder / "journal.jsonl") as record:
    print("begun", flush=True)
    for song in songs:
        if changes := retag.changes(song, {"genre": sys.argv[2], "tags": "x" * 20_000}):
            retag.rewrite(song, changes, record)
print("done")
"""


def start_writer(folder: Path, genre: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, folder, genre]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def copies(folder: Path) -> list[Path]:
    return list(folder.glob(f"{tag_writer.TEMPORARY}*"))


def digests(songs: list[Path]) -> list[str]:
    return [hashlib.sha256(song.read_bytes()).hexdigest() for song in songs]


def test_a_kill_leaves_every_song_old_or_new_and_the_rest_goes_on(tmp_path):
    (tmp_path / "songs").mkdir()
    songs = [make(tmp_path / "songs" / f"{i}{suffix}") for i in range(6) for suffix in SUFFIXES[:5]]
    shutil.copytree(tmp_path / "songs", tmp_path / "reference" / "songs")
    old = digests(songs)
    assert start_writer(tmp_path / "reference", "new").wait() == 0
    new = digests([tmp_path / "reference" / "songs" / song.name for song in songs])

    draw, copies_left = random.Random(0), 0
    for _ in range(8):
        process = start_writer(tmp_path, "new")
        while process.poll() is None and not copies(tmp_path / "songs"):
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.03))
        process.kill()
        process.wait()
        assert all(now in pair for now, *pair in zip(digests(songs), old, new, strict=True))
        copies_left += len(copies(tmp_path / "songs"))
    assert copies_left > 0  # a kill fell between the making of a copy and its taking the name
    assert old != digests(songs) != new
    with (tmp_path / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"path": "/wor')  # half a line, as a kill may leave it
    process = start_writer(tmp_path, "new")
    assert process.communicate()[0] == b"done\n"
    assert digests(songs) == new
    assert sorted((tmp_path / "songs").iterdir()) == sorted(songs)
    assert set(undo(tmp_path).values()) == {""}
    assert digests(songs) == old

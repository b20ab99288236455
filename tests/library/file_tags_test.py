"""Fields in every format and in every block of a file, and damaged files."""

import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import in_process
import pytest
from mutagen import apev2, id3, mp3, mp4
from mutagen.flac import FLAC
from mutagen.id3 import ID3
from tag_files import SUFFIXES, add_user_tags, samples_of, undo, write, write_tone, written

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError
from deepgenre.library import file_tags, tag_blocks
from deepgenre.library.tag_fields import FIELDS, Values

ALL_FIELDS: dict[str, Values] = {
    "genre": ("Rock", "Hip-Hop", "R&B"),
    "grouping": ("Fast", "Loud"),
    "mood": ("Zły", "Sad"),
    "comment": ("one", "two"),
    "tags": ("guitar", "no vocals"),
    "tempo": ("128",),
    "key": ("F#m",),
    "gain": ("-6.50 dB",),
    "peak": ("0.988525",),
    "energy": ("7",),
}


def test_every_field_is_tested():
    assert tuple(ALL_FIELDS) == FIELDS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_values_in_every_field_of_every_format(suffix, tmp_path):
    song = write_tone(tmp_path / f"x{suffix}", seconds=0.5)
    file_tags.write(song, ALL_FIELDS)
    assert file_tags.read(song) == ALL_FIELDS
    file_tags.write(song, dict.fromkeys(FIELDS, ()))
    assert written(song) == {}


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".m4a", ".wma", ".wv"])
def test_ffmpeg_finds_the_first_genre(suffix, tmp_path):
    song = write_tone(tmp_path / f"x{suffix}", seconds=0.5)
    if not ffmpeg.is_installed():
        pytest.skip("ffmpeg is not installed")
    file_tags.write(song, ALL_FIELDS)
    probe = ["ffprobe", "-v", "error", "-show_entries", "format_tags=genre:stream_tags=genre"]
    probed = subprocess.run([*probe, song], check=True, capture_output=True, text=True).stdout
    assert "rock" in probed.lower()


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".m4a", ".wma", ".wv"])
def test_ffmpeg_finds_tempo_and_gain(suffix, tmp_path):
    song = write_tone(tmp_path / f"x{suffix}", seconds=0.5)
    if not ffmpeg.is_installed():
        pytest.skip("ffmpeg is not installed")
    file_tags.write(song, ALL_FIELDS)
    probe = ["ffprobe", "-v", "error", "-show_entries", "format_tags:stream_tags", song]
    probed = subprocess.run(probe, check=True, capture_output=True, text=True).stdout
    assert "=128\n" in probed or suffix == ".m4a"  # ffmpeg does not read tmpo
    assert "replaygain_track_gain=-6.50 db" in probed.lower()


def test_the_tempo_of_mp4_is_a_number(tmp_path):
    song = write_tone(tmp_path / "x.m4a", seconds=0.5)
    file_tags.write(song, {"tempo": ("128",)})
    assert mp4.MP4(song)["tmpo"] == [128]


def test_replaygain_of_other_programs_is_replaced_whatever_its_case(tmp_path):
    song = write_tone(tmp_path / "x.mp3", seconds=0.5)
    tags: Any = ID3()
    tags.add(id3.TXXX(encoding=3, desc="replaygain_track_gain", text=["-1.00 dB"]))
    tags.save(song)
    assert file_tags.read(song)["gain"] == ("-1.00 dB",)
    file_tags.write(song, {"gain": ("-6.50 dB",)})
    assert [frame.text for frame in ID3(song).getall("TXXX")] == [["-6.50 dB"]]


def test_id3_frames_hold_true_multiple_values(tmp_path):
    song = write_tone(tmp_path / "x.mp3", seconds=0.5)
    file_tags.write(song, ALL_FIELDS)
    assert b"Rock\0Hip-Hop\0R&B" in song.read_bytes()
    assert ID3(song)["TMOO"].text == ["Zły", "Sad"]
    assert ID3(song)["COMM::eng"].text == ["one; two"]


def test_id3v23_joins_values_by_slashes_and_is_not_written_twice(tmp_path):
    song = write_tone(tmp_path / "x.mp3", seconds=0.5)
    tags: Any = ID3()
    tags.add(id3.TXXX(encoding=1, desc="mood", text=["Calm"]))
    tags.add(id3.TXXX(encoding=1, desc="other", text=["a", "b"]))
    tags.save(song, v2_version=3, v23_sep=None)
    assert file_tags.read(song)["mood"] == ("Calm",)
    fields: dict[str, Values] = ALL_FIELDS | {"genre": ("R&B/Soul", "Rock")}
    file_tags.write(song, fields)
    read: Any = mp3.MP3(song, translate=False).tags
    assert read.version == (2, 3, 0)
    assert read["TCON"].text == ["R&B/Soul/Rock"]
    assert read["TXXX:mood"].text == ["Zły/Sad"]
    assert read["TXXX:other"].text == ["a", "b"]
    assert "TMOO" not in read
    found, slashes = file_tags.read_with_slashes(song)
    requested = {field: lambda old, new=new: new for field, new in fields.items()}
    assert not file_tags.changes(found, requested, slashes=slashes)


def test_tags_of_earlier_versions_are_read_as_several(tmp_path):
    song = write_tone(tmp_path / "x.flac", seconds=0.5)
    tagged = FLAC(song)
    tagged["DEEPGENRE_TAGS"], tagged["GENRE"] = "guitar; no vocals", "Rock; Pop"
    tagged.save()
    read = file_tags.read(song)
    assert (read["tags"], read["genre"]) == (("guitar", "no vocals"), ("Rock; Pop",))


def test_synonyms_of_a_field_do_not_contradict_it(tmp_path):
    song = write_tone(tmp_path / "x.mp3", seconds=0.5)
    tags = ID3()
    tags.add(id3.TMOO(encoding=3, text=["Calm"]))
    tags.add(id3.TXXX(encoding=3, desc="MOOD", text=["Wild"]))
    tags.add(id3.COMM(encoding=3, lang="deu", desc="", text=["gut"]))
    tags.add(id3.COMM(encoding=3, lang="eng", desc="iTunNORM", text=["00"]))
    tags.save(song)
    assert file_tags.read(song)["comment"] == ("gut",)
    file_tags.write(song, {"mood": ("Sad",), "comment": ("gut", "Sad")})
    read = ID3(song)
    assert sorted(read) == ["COMM::deu", "COMM:iTunNORM:eng", "TMOO"]
    assert read["COMM::deu"].text == ["gut; Sad"]


def id3v1(genre: int, comment: bytes = b"") -> bytes:
    return (
        b"TAG" + b"a title".ljust(94, b"\0") + comment.ljust(28, b"\0") + b"\0\7" + bytes([genre])
    )


def with_blocks(path: Path, *, v1: int | None = None, ape: str = "") -> Path:
    """Returns an mp3, wv or other file that ends with APEv2 and ID3v1 tags."""
    write_tone(path, seconds=0.5)
    if ape:
        tags = apev2.APEv2()
        tags["Genre"], tags["Artist"] = ape, "an artist"
        tags.save(path)
    if v1 is not None:
        with path.open("ab") as stream:
            stream.write(id3v1(v1, b"cool"))
    return path


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".tta"])
@pytest.mark.parametrize(
    ("blocks", "old"),
    [({"v1": 13}, "Pop"), ({"ape": "Folk"}, "Folk"), ({"v1": 13, "ape": "Folk"}, "Folk")],
)
def test_genre_in_other_blocks_only_is_read_and_no_block_contradicts(blocks, old, suffix, tmp_path):
    song = with_blocks(tmp_path / f"x{suffix}", **blocks)
    content, sound = song.read_bytes(), samples_of(song)
    assert file_tags.read(song)["genre"] == (old,)
    write(tmp_path, song, fields={"genre": ("Trance-Polka", "rock")})
    assert file_tags.read(song)["genre"] == ("Trance-Polka", "rock")
    if "v1" in blocks:
        assert song.read_bytes()[-128:] == id3v1(17, b"cool")
    if "ape" in blocks:
        tags = apev2.APEv2(song)
        assert (list(tags["Genre"]), str(tags["Artist"])) == (["Trance-Polka", "rock"], "an artist")
    assert (samples_of(song) == sound).all()
    assert undo(tmp_path) == {song.name: ""}
    assert song.read_bytes() == content


def test_genre_that_id3v1_lacks_is_unset_there(tmp_path):
    song = with_blocks(tmp_path / "x.mp3", v1=13)
    file_tags.write(song, {"genre": ("Trance-Polka",), "comment": ("a" * 40,)})
    assert song.read_bytes()[-128:] == id3v1(255, b"a" * 28)
    unset = with_blocks(tmp_path / "unset.mp3", v1=255)
    file_tags.write(unset, {"genre": ("Rock",)})
    assert unset.read_bytes()[-128:] == id3v1(255, b"cool")  # a field is not added


def test_own_apev2_tag_keeps_the_id3v1_tag_after_it(tmp_path):
    for ape in ("", "Folk"):
        song = with_blocks(tmp_path / f"x{ape}.wv", v1=13, ape=ape)
        assert file_tags.read(song)["genre"] == (ape or "Pop",)
        file_tags.write(song, {"genre": ("Rock",)})
        assert song.read_bytes()[-128:] == id3v1(17, b"cool")
        assert apev2.APEv2(song)["Genre"] == "Rock"


def test_id3v2_before_a_flac_follows_the_genre(tmp_path):
    song, tag = write_tone(tmp_path / "x.flac", seconds=0.5), tmp_path / "tag"
    tags = ID3()
    tags.add(id3.TCON(encoding=3, text=["Folk"]))
    tags.add(id3.TIT2(encoding=3, text=["a title"]))
    tags.save(tag)
    song.write_bytes(tag.read_bytes() + song.read_bytes())
    content = song.read_bytes()
    assert file_tags.read(song)["genre"] == ("Folk",)
    write(tmp_path, song, fields={"genre": ("Rock", "Pop")})
    assert ID3(song)["TCON"].text == FLAC(song)["genre"] == ["Rock", "Pop"]
    assert ID3(song)["TIT2"].text == ["a title"]
    assert undo(tmp_path) == {"x.flac": ""}
    assert song.read_bytes() == content


@pytest.mark.parametrize("new", ["Rap", "a much longer genre", "Rock"])
@pytest.mark.parametrize("at_end", [True, False])
def test_list_info_of_a_wav_follows_the_genre(at_end, new, tmp_path):
    song = write_tone(tmp_path / "x.wav", seconds=0.5)
    content = song.read_bytes()
    chunks = b"INAM" + struct.pack("<I", 3) + b"ab\0\0" + b"IGNR" + struct.pack("<I", 4) + b"Folk"
    info = b"LIST" + struct.pack("<I", 4 + len(chunks)) + b"INFO" + chunks
    body = content[12:] + info if at_end else info + content[12:]
    content = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
    song.write_bytes(content)
    sound = samples_of(song)
    assert file_tags.read(song)["genre"] == ("Folk",)
    write(tmp_path, song, fields={"genre": (new,)})
    block = tag_blocks.find_info(song)
    assert block is not None
    assert block.read("genre") == (new,)
    assert block.others({"genre": ()}) == ["INFO b'INAM'=b'ab\\x00'"]
    written_content = song.read_bytes()
    assert struct.unpack_from("<I", written_content, 4)[0] == len(written_content) - 8
    assert (samples_of(song) == sound).all()
    assert undo(tmp_path) == {"x.wav": ""}
    assert song.read_bytes() == content


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_give_one_line(suffix, tmp_path):
    """300 files a format with random bytes in their tags: read, or refused as users' errors."""
    song = write_tone(tmp_path / f"x{suffix}", seconds=0.2)
    add_user_tags(song)
    if suffix in (".mp3", ".flac", ".tta"):
        with_ape = apev2.APEv2()
        with_ape["Genre"] = "Folk"
        with_ape.save(song)
    content, rng = song.read_bytes(), random.Random(suffix)
    damaged = tmp_path / f"damaged{suffix}"
    num_refused = 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            position = rng.choice(
                [rng.randrange(min(400, len(changed))), -rng.randint(1, min(300, len(changed)))]
            )
            changed[position] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
        if rng.random() < 0.3:
            del changed[rng.randrange(len(changed)) :]
        damaged.write_bytes(changed)
        try:
            file_tags.write(damaged, {"genre": ("Rock",), "comment": ("c",)})
        except UserError as error:
            num_refused += 1
            assert str(damaged) in str(error)
            assert "\n" not in str(error)
    assert num_refused > 0


@pytest.mark.parametrize(
    "raised", [IndexError, MemoryError, struct.error, AttributeError, ValueError, KeyError, OSError]
)
def test_whatever_mutagen_raises_names_the_file(raised, tmp_path, monkeypatch):
    in_process.call_here(monkeypatch)
    song = write_tone(tmp_path / "x.flac", seconds=0.2)

    def fail(*arguments: Any, **options: Any) -> None:
        raise raised

    monkeypatch.setattr(file_tags.mutagen, "File", fail)
    with pytest.raises(UserError, match=r"x\.flac: "):
        write(tmp_path, song)


def test_a_failing_write_names_the_song_rather_than_its_copy(tmp_path, monkeypatch):
    in_process.call_here(monkeypatch)
    song = write_tone(tmp_path / "x.flac", seconds=0.2)

    def fail(path: Path, song: Any) -> None:
        raise ValueError(f"{path}")

    monkeypatch.setattr(file_tags, "_save", fail)
    with pytest.raises(UserError) as raised:
        write(tmp_path, song)
    assert str(raised.value) == f"{song}: its tags cannot be read or written ({song})"

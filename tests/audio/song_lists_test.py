"""Lists of songs as players write them, and bytes that are no list."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepgenre.audio import song_lists
from deepgenre.audio.song_lists import Entry
from deepgenre.errors import UserError


def written(folder: Path, name: str, content: bytes) -> list[Entry]:
    (folder / name).write_bytes(content)
    return song_lists.read(folder / name)


def located(folder: Path, entry: Entry) -> Path:
    return song_lists.locate(entry, [folder])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a b.wav", "a b.wav"),
        ("  a b.wav ", "a b.wav"),
        (" lead.wav", " lead.wav"),
        ("a%20b.wav", "a b.wav"),
        ("100%25.wav", "100%.wav"),
        ("100%.wav", "100%.wav"),
        ("rock\\live\\a.wav", "rock/live/a.wav"),
        (".\\a.wav", "a.wav"),
        ("..\\music\\a.wav", "../music/a.wav"),
        ("rock\\a%20b.wav", "rock/a b.wav"),
        ("caf%C3%A9.wav", "café.wav"),
        ("caf%E9.wav", "café.wav"),  # percent-encoded Latin-1
        ("caf%E9.wav", os.fsdecode(b"caf\xe9.wav")),
        (os.fsdecode(b"caf\xe9.wav"), "café.wav"),
        (os.fsdecode(b"caf\xe9.wav"), os.fsdecode(b"caf\xe9.wav")),
        (os.fsdecode(b"rock\\caf\xe9 \x80.wav"), "rock/café €.wav"),  # Windows-1252
        ("cafe\u0301.wav", "café.wav"),
        ("café.wav", "cafe\u0301.wav"),
    ],
)
def test_an_entry_is_found_however_it_is_written(tmp_path, text, name):
    music = tmp_path / "music"
    path = music / name
    for folder in (music, path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert located(music, Entry(text, 1)).samefile(path)


@pytest.mark.parametrize(
    "name", ["a b.wav", "#1 50%.wav", "новый?.wav", os.fsdecode(b"caf\xe9.wav")]
)
@pytest.mark.parametrize("prefix", ["file://", "file:", "file://localhost", "FILE://"])
def test_urls_of_files_are_paths(tmp_path, name, prefix):
    (tmp_path / name).touch()
    url = prefix + (tmp_path / name).as_uri().removeprefix("file://")
    assert located(Path("elsewhere"), Entry(url, 1)) == tmp_path / name


def test_a_literal_name_is_preferred_except_in_a_uri(tmp_path):
    for name in ("a%20b.wav", "a b.wav", "x\\y.wav", "x/y.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert located(tmp_path, Entry("a%20b.wav", 1)).name == "a%20b.wav"
    assert located(tmp_path, Entry("x\\y.wav", 1)).name == "x\\y.wav"
    assert located(tmp_path, Entry("a%20b.wav", 1, is_uri=True)).name == "a b.wav"


def test_the_home_folder_is_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.wav").touch()
    assert located(Path("elsewhere"), Entry("~/a.wav", 1)) == tmp_path / "a.wav"


@pytest.mark.parametrize("suffix", [".m3u", ".m3u8", ".txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_in_any_encoding_with_any_line_ends(tmp_path, suffix, encoding, newline):
    (tmp_path / "été.wav").touch()
    (tmp_path / "b.wav").touch()
    lines = ["#EXTM3U", "#EXTINF:2,Été", "été.wav", "", "b.wav", ""]
    content = newline.join(lines).encode(encoding)
    entries = written(tmp_path, f"list{suffix}", content)
    assert [entry.line for entry in entries] == [3, 5]
    assert [located(tmp_path, entry).name for entry in entries] == ["été.wav", "b.wav"]


def test_a_name_that_begins_with_a_number_sign_is_no_comment(tmp_path):
    (tmp_path / "#1 Hit.wav").touch()
    entries = written(tmp_path, "list.m3u", b"#EXTM3U\n#1 Hit.wav\n#2 Hit.wav\n")
    assert entries == [Entry("#1 Hit.wav", 2)]


def test_pls_entries_are_in_the_order_of_their_numbers(tmp_path):
    content = (
        b"[playlist]\r\nNumberOfEntries=3\r\nFile10=c.mp3\r\nTitle10=File1=no\r\nLength10=-1\r\n"
        b"file2 = b=2.mp3\r\nFile1=\\Music\\a.mp3\r\nFile3=\r\nVersion=2\r\n"
    )
    entries = written(tmp_path, "list.pls", content)
    assert [(entry.text.strip(), entry.line) for entry in entries] == [
        ("\\Music\\a.mp3", 7), ("b=2.mp3", 6), ("c.mp3", 3)
    ]  # fmt: skip


XSPF = """<?xml version="1.0" encoding="{encoding}"?>
<playlist version="1" xmlns="http://xspf.org/ns/0/">
  <title>été</title><location>list.xspf</location>
  <trackList>
    <track><location>file://{folder}/a%20b.wav</location><title>x</title></track>
    <track><title>y</title><location>
      rock/caf%C3%A9 &amp; été.wav
    </location></track>
    <track><title>no location</title></track>
  </trackList>
</playlist>
"""


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252"])
def test_xspf_locations_of_tracks(tmp_path, encoding):
    (tmp_path / "rock").mkdir()
    expected = [tmp_path / "a b.wav", tmp_path / "rock/café & été.wav"]
    for path in expected:
        path.touch()
    content = XSPF.format(encoding=encoding, folder=tmp_path).encode(encoding)
    entries = written(tmp_path, "list.xspf", content)
    assert [entry.line for entry in entries] == [5, 8]
    assert [located(tmp_path, entry) for entry in entries] == expected


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY x SYSTEM "secret.txt">',
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY x "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY % remote SYSTEM "http://localhost/x.dtd"> %remote;',
    ],
)
def test_xspf_entities_are_refused(tmp_path, declaration):
    (tmp_path / "secret.txt").write_text("secret.wav")
    content = f"""<!DOCTYPE playlist [{declaration}]>
    <playlist><trackList><track><location>&x;</location></track></trackList></playlist>"""
    with pytest.raises(UserError, match="declares a document type"):
        written(tmp_path, "list.xspf", content.encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"<playlist>", b"a.wav\n", b"<?xml version='1.0' encoding='nonsense'?><a/>",
     b"<?xml version='1.0' encoding='shift_jis'?><a/>", b"<a>\xe9</a>"],
)  # fmt: skip
def test_xspf_that_is_not_xml_is_an_error_of_one_line(tmp_path, content):
    with pytest.raises(UserError) as caught:
        written(tmp_path, "list.xspf", content)
    assert "list.xspf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"gone\.m3u.*No such file"):
        song_lists.read(tmp_path / "gone.m3u")


LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"file:///%00", b"~%00/x", b"~nobody\\x", b"%", b"%zz", b"file:/", b"\xff\xfe", b" "]
        ),
        st.sampled_from([b"File1=", b"File99999999999999999999=x", b"<track>", b"#\xe9", b"\\"]),
    )
)  # fmt: skip


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES, suffix=st.sampled_from([".m3u", ".m3u8", ".pls", ".txt", ".xspf"]))
def test_any_bytes_give_entries_or_an_error_of_one_line(tmp_path, lines, suffix):
    path = tmp_path / f"list{suffix}"
    path.write_bytes(b"\n".join(lines))
    try:
        entries = song_lists.read(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    for entry in entries:
        assert "\0" not in str(located(tmp_path, entry))

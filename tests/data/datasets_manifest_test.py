import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.data.clip import Clip
from deepgenre.data.datasets.manifest import SUFFIXES, read_manifest, write_manifest
from deepgenre.errors import UserError


def write(folder: Path, text: str, name: str = "m.csv") -> Path:
    (folder / "a.wav").touch()
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, *, multi_label: bool = True) -> list[Clip]:
    return list(read_manifest(path, multi_label=multi_label).clips)


def failure(path: Path, *, multi_label: bool = True) -> str:
    with pytest.raises(UserError) as caught:
        read_manifest(path, multi_label=multi_label)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_reads_every_column_in_any_order_and_sorts_by_key(tmp_path):
    path = write(
        tmp_path,
        "Split,mood, Labels ,PATH,group\n"
        "test,sad,rock | indie||rock,b/x.wav,Queen\n"
        "\n"
        ",happy,,a.wav,\n",
    )
    dataset = read_manifest(path, multi_label=True)
    assert dataset.clips == (
        Clip("a.wav", tmp_path / "a.wav", (), "a.wav"),
        Clip("b/x.wav", tmp_path / "b/x.wav", ("rock", "indie"), "Queen", "test"),
    )
    assert dataset.multi_label
    assert not read_manifest(
        write(tmp_path, "path,labels\na.wav,rock\n"), multi_label=False
    ).multi_label


def test_paths_are_relative_to_the_manifest_or_absolute(tmp_path):
    absolute = (tmp_path / "a.wav").as_posix()
    path = write(tmp_path, f"path,labels\n./b//c.wav,x\n{absolute},x\n../d.wav,x\n")
    assert [(clip.key, clip.path) for clip in read(path)] == [
        ("../d.wav", tmp_path / "../d.wav"),
        (absolute, tmp_path / "a.wav"),
        ("b/c.wav", tmp_path / "b/c.wav"),
    ]


@pytest.mark.parametrize("path_name", ["path", "file", "filename"])
@pytest.mark.parametrize("labels_name", ["labels", "label", "genre", "tags"])
@pytest.mark.parametrize("group_name", ["group", "artist"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_accepts_the_documented_synonyms(tmp_path, path_name, labels_name, group_name, suffix):
    header, cells = [path_name, labels_name, group_name], ["a.wav", "rock", "Queen"]
    separator = "\t" if suffix == ".tsv" else ","
    text = f"{separator.join(header)}\n{separator.join(cells)}\n"
    if suffix == ".jsonl":
        text = json.dumps(dict(zip(header, cells, strict=True)))
    path = write(tmp_path, text, f"m{suffix}")
    assert read(path) == [Clip("a.wav", tmp_path / "a.wav", ("rock",), "Queen")]


def test_field_name_takes_precedence_over_a_synonym(tmp_path):
    path = write(tmp_path, "artist,path,genre,group,labels\nQueen,a.wav,pop,G1,rock\n")
    assert read(path) == [Clip("a.wav", tmp_path / "a.wav", ("rock",), "G1")]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["rock", " in|die ", "rock", ""], ("rock", "in|die")),
        ("rock|indie", ("rock", "indie")),
        ([], ()),
        (None, ()),
        ("", ()),
    ],
)
def test_json_labels_are_a_list_or_a_string(tmp_path, value, labels):
    line = json.dumps({"path": "a.wav", "labels": value, "group": 7, "split": None})
    path = write(tmp_path, f"\n{line}\n", "m.jsonl")
    assert read(path) == [Clip("a.wav", tmp_path / "a.wav", labels, "7")]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_reads_utf8_with_and_without_byte_order_mark(tmp_path, suffix, encoding):
    (tmp_path / "été.wav").touch()
    path = tmp_path / f"m{suffix}"
    write_manifest(path, [Clip("été.wav", tmp_path / "été.wav", ("рок",), "坂本龍一")])
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert read(path) == [Clip("été.wav", tmp_path / "été.wav", ("рок",), "坂本龍一")]


def test_missing_files_are_kept_unless_all_are_missing(tmp_path):
    path = write(tmp_path, "path,labels\na.wav,x\ngone.wav,x\n")
    assert [clip.key for clip in read(path)] == ["a.wav", "gone.wav"]
    (tmp_path / "a.wav").unlink()
    assert "'" + str(tmp_path / "a.wav") + "'" in failure(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no clip"]),
        ("path,labels\n", ["no clip"]),
        ("a.wav,rock\n", ["line 1", "'path'", "'a.wav'"]),
        ("path,mood\na.wav,sad\n", ["line 1", "'labels'", "'genre'", "'mood'"]),
        ("path;labels\na.wav;x\n", ["line 1", "'path'", "'path;labels'"]),
        ("path,genre,tags\na.wav,x,y\n", ["line 1", "'genre', 'tags'"]),
        ("path,path,tags\na.wav,b.wav,y\n", ["line 1", "'path', 'path'"]),
        ("path,labels\na.wav,x\n\n,x\n", ["line 4", "path"]),
        ("path,labels\na.wav,x\na, b.wav,x\n", ["line 3", "3 cells", "quotes"]),
        ("path,labels,group\na.wav,x\n", ["line 2", "2 cells"]),
        ('path,labels\na.wav,x\n"b,x\nc,x\n', ["line 3", "quotes"]),
        ('path,labels\na.wav,x\n"Heroes" live.wav,x\n', ["line 3", "quotes"]),
        ("path,labels\na.wav,x\nb.wav,x\n./a.wav,y\n", ["lines 2 and 4", "'a.wav'"]),
        ('path,labels\n"a\nb.wav",x\na.wav,x\na.wav,y\n', ["lines 4 and 5", "'a.wav'"]),
    ],
)
def test_malformed_table_message_gives_the_line(tmp_path, text, words):
    message = failure(write(tmp_path, text))
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n", ["no clip"]),
        ('{"path": "a.wav", "labels": []}\n{', ["line 2", "JSON"]),
        ('["a.wav", "rock"]\n', ["line 1", "object"]),
        ('{"path": "a.wav"}\n', ["line 1", "'labels'"]),
        ('{"path": ["a.wav"], "labels": []}\n', ["line 1", "path"]),
        ('{"path": "a\\u0000.wav", "labels": []}\n', ["line 1", "path"]),
        ('{"path": "a.wav", "labels": [["x"]]}\n', ["line 1", "labels"]),
        ('{"path": "a.wav", "labels": {"x": 1}}\n', ["line 1", "labels"]),
        ('{"path": "a.wav", "labels": "x", "group": []}\n', ["line 1", "group"]),
    ],
)
def test_malformed_json_message_gives_the_line(tmp_path, text, words):
    message = failure(write(tmp_path, text, "m.jsonl"))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("labels", ["", " | ", "rock|pop"])
def test_single_label_requires_exactly_one_label(tmp_path, labels):
    path = write(tmp_path, f"path,labels\nb.wav,x\na.wav,{labels}\n")
    assert "line 3" in failure(path, multi_label=False)
    assert len(read(path)) == 2


def test_different_spellings_of_a_path_are_duplicates(tmp_path):
    absolute = (tmp_path / "a.wav").as_posix()
    path = write(tmp_path, f"path,labels\na.wav,x\nb/../{absolute[1:]},x\n{absolute},x\n")
    assert "lines 2 and 4" in failure(path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_encodings_are_rejected(tmp_path, encoding, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_text('path,labels\n"é"', encoding=encoding)
    assert "UTF-8" in failure(path)


def test_unreadable_manifest_is_reported(tmp_path):
    assert "No such file" in failure(tmp_path / "gone.csv")
    assert ".jsonl" in failure(write(tmp_path, "path,labels\na.wav,x\n", "m.xls"))
    (tmp_path / "folder.csv").mkdir()
    assert "directory" in failure(tmp_path / "folder.csv")


def special_text(**excluded) -> st.SearchStrategy[str]:
    special = st.sampled_from([",", '"', "\n", "\r", "\t", "=", "'", " ", "|", ";", "\u2028", "é"])
    return st.lists(special | st.characters(**excluded), min_size=1, max_size=12).map("".join)


FILES = special_text(exclude_characters="\0/", exclude_categories=["Cs"]).map("{}.wav".format)
BYTE_FILES = st.binary(min_size=1, max_size=12).map(
    lambda name: os.fsdecode(name.translate(None, b"\0/")) + ".wav"
)
TEXTS = special_text(exclude_categories=["Cs"]).map(str.strip).filter(bool)


def clips_of(draw, root: Path, suffix: str) -> list[Clip]:
    labels = TEXTS if suffix == ".jsonl" else TEXTS.filter(lambda text: "|" not in text)
    names = st.builds(
        Path,
        st.sampled_from([root, root / "music", root / "= x", root.parent / "other"]),
        FILES | BYTE_FILES if suffix == ".jsonl" else FILES,
    )
    return [
        Clip(
            key=path.as_posix(),
            path=path,
            labels=tuple(draw(st.lists(labels, max_size=3, unique=True))),
            group=draw(TEXTS),
            split=draw(st.sampled_from(["", "train", "test"])),
        )
        for path in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES))
def test_write_and_read_restore_the_clips_for_any_names(data, suffix):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "here"
        clips = clips_of(data.draw, root, suffix)
        manifest = root / f"m{suffix}"
        write_manifest(manifest, clips)
        clips[0].path.parent.mkdir(exist_ok=True)
        clips[0].path.touch()
        dataset = read_manifest(manifest, multi_label=True, label_separator="|")
        restored = {clip.path: clip for clip in dataset.clips}
        assert restored.keys() == {clip.path for clip in clips}
        for clip in clips:
            read_clip = restored[clip.path]
            assert (read_clip.labels, read_clip.group) == (clip.labels, clip.group)
            assert read_clip.split == clip.split
            inside = clip.path.is_relative_to(root)
            key = (clip.path.relative_to(root) if inside else clip.path).as_posix()
            assert read_clip.key == key
        # Writing the restored clips gives the same bytes.
        write_manifest(root / f"again{suffix}", [restored[clip.path] for clip in clips])
        assert (root / f"again{suffix}").read_bytes() == manifest.read_bytes()


def test_writing_creates_the_folder_and_leaves_no_temporary_file(tmp_path):
    write_manifest(tmp_path / "new/m.csv", [Clip("a", tmp_path / "new/a.wav", ("x",), "a")])
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new/m.csv"]
    assert (tmp_path / "new/m.csv").read_text() == "path,labels,group,split\na.wav,x,a,\n"


BAD_NAME = os.fsdecode(b"caf\xe9.wav")


@pytest.mark.parametrize(
    ("clip", "word"),
    [
        (Clip("a", Path("a.wav"), ("x|y",), "a"), "'x|y'"),
        (Clip("a", Path("a.wav"), (" x",), "a"), "' x'"),
        (Clip("a", Path("a.wav"), ("x", "x"), "a"), "'x', 'x'"),
        (Clip("a", Path("a.wav"), ("",), "a"), "''"),
        (Clip("a", Path("rows.npz"), ("x",), "a", row=0), "rows.npz"),
        (Clip("a", Path(BAD_NAME), ("x",), "a"), "caf"),
    ],
)
def test_rejected_clips_leave_the_old_file_unchanged(tmp_path, clip, word):
    path = write(tmp_path, "the old one")
    with pytest.raises(UserError) as caught:
        write_manifest(path, [Clip("b", Path("b.wav"), ("x",), "b"), clip])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "the old one"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.wav", path]


def test_unwritable_path_is_reported(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/m.csv", tmp_path / "m.xls"):
        with pytest.raises(UserError) as caught:
            write_manifest(path, [])
        assert path.name in str(caught.value)


def write_csv(folder: Path, *cells: str, header: str = "path,labels") -> Path:
    path = folder / "m.csv"
    path.write_text("\n".join([header, *(f'{i}.wav,"{cell}"' for i, cell in enumerate(cells))]))
    (folder / "0.wav").touch()
    return path


@pytest.mark.parametrize(
    ("cells", "joined", "piece"),
    [
        (["blues,music", "rock,music"], "rock,music", "music"),
        (["blues; music", "music"], "blues; music", "music"),
        (["a", "b,c", "b"], "b,c", "b"),
    ],
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_joined_labels_are_asked_about(cells, joined, piece, multi_label, tmp_path):
    path = write_csv(tmp_path, *cells)
    separator = ";" if ";" in joined else ","
    with pytest.raises(UserError) as info:
        read_manifest(path, multi_label=multi_label)
    message = str(info.value)
    assert f"the label {joined!r} seems to be several, joined by {separator!r}" in message
    assert f"{piece!r} is also in" in message
    assert f"--config.label_separator='{separator}'" in message
    as_names = read_manifest(path, multi_label=multi_label, label_separator="|")
    assert [clip.labels for clip in as_names.clips] == [(cell,) for cell in cells]
    split = read_manifest(path, multi_label=True, label_separator=separator)
    assert split.clips[cells.index(joined)].labels == tuple(
        part.strip() for part in joined.split(separator)
    )


@pytest.mark.parametrize("cells", [["Rock, Pop", "Jazz"], ["R&B", "Drum ; Bass"], ["a,", "b"]])
def test_names_with_a_comma_are_no_joined_labels(cells, tmp_path):
    clips = read_manifest(write_csv(tmp_path, *cells), multi_label=False).clips
    assert [clip.labels for clip in clips] == [(cell,) for cell in cells]


@pytest.mark.parametrize("cell", ["['blues']", "['blues', 'rock']", "[21, 58]", "[]"])
def test_lists_written_as_text_are_refused(cell, tmp_path):
    path = write_csv(tmp_path, "[unknown]", cell)
    with pytest.raises(UserError, match=r"line 3: the labels are .* a list that was written as"):
        read_manifest(path, multi_label=True)
    clips = read_manifest(write_csv(tmp_path, "[unknown]", "rock"), multi_label=False).clips
    assert clips[0].labels == ("[unknown]",)


def test_lists_of_json_are_not_asked_about(tmp_path):
    lines = ['{"path": "0.wav", "tags": ["a,b", "a"]}', '{"path": "1.wav", "tags": ["b"]}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    (tmp_path / "0.wav").touch()
    first, _ = read_manifest(tmp_path / "m.jsonl", multi_label=True).clips
    assert first.labels == ("a,b", "a")


def test_synonyms_of_parts(tmp_path):
    names = ["training", "Train", "validation", "val", "dev", "testing", "TEST ", "fold3", ""]
    path = tmp_path / "m.csv"
    path.write_text("path,genre,split\n" + "".join(f"{i}.wav,a,{n}\n" for i, n in enumerate(names)))
    (tmp_path / "0.wav").touch()
    parts = [clip.split for clip in read_manifest(path, multi_label=False).clips]
    assert parts == ["train", "train", *["valid"] * 3, "test", "test", "fold3", ""]

from pathlib import Path

import pytest

from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import folder
from deepgenre.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def failure(data_dir: Path, *, multi_label: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        folder.read(data_dir, multi_label=multi_label)
    message = str(caught.value)
    assert "\n" not in message
    assert str(data_dir) in message
    return message


@pytest.mark.parametrize("multi_label", [False, True])
def test_label_is_the_first_folder_and_group_the_last_folder(tmp_path, multi_label):
    touch(
        tmp_path,
        "rock/Queen/Jazz/1.MP3", "rock/Queen/2.wav", "rock/3.flac", "рок и/ДДТ/4.npy",
        "rock/Queen/cover.jpg", ".cache/x/5.wav", "README.txt",
    )  # fmt: skip
    expected = [
        Clip("rock/3.flac", tmp_path / "rock/3.flac", ("rock",), "rock/3.flac"),
        Clip("rock/Queen/2.wav", tmp_path / "rock/Queen/2.wav", ("rock",), "rock/Queen"),
        Clip(
            "rock/Queen/Jazz/1.MP3",
            tmp_path / "rock/Queen/Jazz/1.MP3",
            ("rock",),
            "rock/Queen/Jazz",
        ),
        Clip("рок и/ДДТ/4.npy", tmp_path / "рок и/ДДТ/4.npy", ("рок и",), "рок и/ДДТ"),
    ]
    dataset = folder.read(tmp_path, multi_label=multi_label)
    assert (dataset.clips, dataset.multi_label) == (tuple(expected), multi_label)


def test_clips_are_sorted_by_key_not_by_path(tmp_path):
    # As paths, 'a/...' sorts before 'a b/...'; as strings, after.
    touch(tmp_path, "a b/1.wav", "a/1.wav", "a-b/1.wav")
    keys = [clip.key for clip in folder.read(tmp_path, multi_label=False).clips]
    assert keys == sorted(keys)


def test_linked_genre_is_read_and_link_to_parent_is_ignored(tmp_path):
    touch(tmp_path, "music/rock/1.wav", "elsewhere/2.wav")
    (tmp_path / "music/jazz").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "music/all").symlink_to(tmp_path / "music", target_is_directory=True)
    dataset = folder.read(tmp_path / "music", multi_label=False)
    assert [clip.key for clip in dataset.clips] == ["jazz/2.wav", "rock/1.wav"]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.tsv", "manifest.jsonl", "my.csv"])
def test_manifest_takes_precedence_over_folders(tmp_path, name):
    touch(tmp_path, "x/1.wav", "x/2.wav")
    text = {
        "csv": "path,labels\nx/1.wav,rock\nx/2.wav,jazz\n",
        "tsv": "path\tlabels\nx/1.wav\trock\nx/2.wav\tjazz\n",
        "jsonl": '{"path": "x/1.wav", "labels": "rock"}\n{"path": "x/2.wav", "labels": "jazz"}\n',
    }[name.split(".")[1]]
    (tmp_path / name).write_text(text)
    data_dir = tmp_path if name.startswith("manifest") else tmp_path / name
    dataset = folder.read(data_dir, multi_label=False)
    assert dataset == Dataset(
        "folder",
        (
            Clip("x/1.wav", tmp_path / "x/1.wav", ("rock",), "x/1.wav"),
            Clip("x/2.wav", tmp_path / "x/2.wav", ("jazz",), "x/2.wav"),
        ),
        multi_label=False,
    )


def test_two_manifests_are_rejected(tmp_path):
    touch(tmp_path, "manifest.csv", "manifest.jsonl")
    assert "manifest.csv and manifest.jsonl" in failure(tmp_path)


def test_missing_music_message_gives_the_layout(tmp_path):
    assert "<genre>/<file>" in failure(tmp_path / "missing")
    touch(tmp_path, "rock/notes.txt")
    assert "<genre>/<file>" in failure(tmp_path)


def test_files_outside_genre_folders_are_reported(tmp_path):
    touch(tmp_path, "rock/1.wav", "jazz/2.wav", "a.wav")
    assert "1 file(s)" in failure(tmp_path)
    assert "('a.wav')" in failure(tmp_path)
    touch(tmp_path, "b.wav", "c.wav", "d.wav")
    assert "('a.wav', 'b.wav', 'c.wav', ...)" in failure(tmp_path)


@pytest.mark.parametrize("multi_label", [False, True])
def test_single_label_is_rejected(tmp_path, multi_label):
    touch(tmp_path, "rock/1.wav", "rock/2.wav")
    assert "'rock'" in failure(tmp_path, multi_label=multi_label)
    (tmp_path / "m.csv").write_text("path,labels\nrock/1.wav,\nrock/2.wav,\n")
    assert "(none)" in failure(tmp_path / "m.csv", multi_label=True)
    (tmp_path / "m.csv").write_text("path,labels\nrock/1.wav,b|a\nrock/2.wav,a|b\n")
    assert "'b', 'a'" in failure(tmp_path / "m.csv", multi_label=True)


def test_one_tag_on_some_clips_is_accepted(tmp_path):
    touch(tmp_path, "1.wav", "2.wav")
    (tmp_path / "manifest.csv").write_text("path,tags\n1.wav,live\n2.wav,\n")
    dataset = folder.read(tmp_path, multi_label=True)
    assert [clip.labels for clip in dataset.clips] == [("live",), ()]


def test_one_label_on_every_clip_with_a_config_for_tags_is_stated(tmp_path):
    touch(tmp_path, "rock/1.wav", "jazz/2.wav")
    (note,) = folder.read(tmp_path, multi_label=True).notes
    assert "each clip has one label, and this config is for any number of tags" in note
    assert folder.read(tmp_path, multi_label=False).notes == ()
    (tmp_path / "m.csv").write_text("path,labels\nrock/1.wav,b|a\njazz/2.wav,a\n")
    assert folder.read(tmp_path / "m.csv", multi_label=True).notes == ()

"""Ballroom, Homburg, ISMIR04, Emotify and mirdata, in files of their layouts."""

import csv
import importlib.util
import json
import types
from collections import Counter
from pathlib import Path

import pytest

from deepgenre import config as defaults
from deepgenre.data import prepare
from deepgenre.data.datasets import (
    DATASETS,
    ballroom,
    emotify,
    homburg,
    ismir04,
    mirdata_reader,
    source,
)
from deepgenre.data.splits import group_random
from deepgenre.errors import UserError

PUBLISHED = {"ballroom": 698, "homburg": 1886, "ismir04": 729}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_counts_of_classes_add_up_to_those_of_the_clips():
    counts = {"ballroom": ballroom.COUNTS, "homburg": homburg.COUNTS, "ismir04": ismir04.COUNTS}
    assert {name: sum(of_class.values()) for name, of_class in counts.items()} == PUBLISHED
    assert {*ballroom.CLASSES.values()} == {*ballroom.COUNTS}
    assert {*ismir04.ALIASES.values()} == {*ismir04.COUNTS}


def test_ballroom_joins_rumbas_and_groups_albums(tmp_path):
    root = tmp_path / "BallroomData"
    for folder, label in ballroom.CLASSES.items():
        share = 3 if label == "rumba" else 1
        count = ballroom.COUNTS[label] // share + (folder == "Rumba-Misc") * 2
        touch(*(root / folder / f"Media-{folder[-3:]}{number:05d}.wav" for number in range(count)))
    dataset = ballroom.read(tmp_path)
    assert Counter(clip.labels[0] for clip in dataset.clips) == ballroom.COUNTS
    assert not dataset.notes
    (root / "Rumba-Misc").rename(root / "rumba misc")
    touch(root / "rumba misc/Albums-Cafe_Paradiso-05.wav", root / "Salsa/x.wav")
    clips = ballroom.read(tmp_path)
    assert Counter(clip.labels[0] for clip in clips.clips)["rumba"] == 99
    assert "Albums-Cafe_Paradiso" in {clip.group for clip in clips.clips}
    (note,) = clips.notes
    assert note.endswith("1 audio files are left out, e.g. x.wav; this is no class of the dataset")
    with pytest.raises(UserError, match=r"none of the folders ChaChaCha.*deepgenre download ball"):
        ballroom.read(tmp_path / "elsewhere")


def test_homburg_groups_artists_and_names_missing_classes(tmp_path):
    for genre, count in homburg.COUNTS.items():
        if genre != "jazz":
            names = (f"Artist_{number // 2}-Song_-_{number}.mp3" for number in range(count))
            touch(*(tmp_path / genre / name for name in names))
    dataset = homburg.read(tmp_path)
    counts = {**homburg.COUNTS}
    del counts["jazz"]
    assert Counter(clip.labels[0] for clip in dataset.clips) == counts
    assert dataset.notes == (f"{tmp_path}: has no clip of jazz",)
    assert dataset.clips[0].group == "Artist_0"
    part_of = {key: part for part, keys in group_random(dataset.clips, 0).items() for key in keys}
    parts_of = Counter((clip.group, part_of[clip.key]) for clip in dataset.clips)
    assert len(parts_of) == len({clip.group for clip in dataset.clips})


def tracklist(folder: Path, name: str, rows: list[list[str]]) -> Path:
    path = folder / "metadata" / name / "tracklist.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    return path


def test_ismir04_sets_splits_and_spellings_of_classes(tmp_path):
    row = ["classical", "bach, j. s.", "suites", "air", "1", "./classical/bach/air.mp3"]
    tracklist(tmp_path, "training", [row, ["rock_pop", "b", "c", "d", "2", "./rock_pop/d.mp3"]])
    tracklist(tmp_path, "development", [["metal", "", "", "", "", "./track1.mp3"]])
    touch(
        tmp_path / "audio/training/classical/bach/air.mp3",
        tmp_path / "audio/development/track1.mp3",
    )
    dataset = ismir04.read(tmp_path)
    assert [(clip.key, clip.labels, clip.group, clip.path.is_file()) for clip in dataset.clips] == [
        ("development/track1.mp3", ("metal_punk",), "development/track1.mp3", True),
        ("training/classical/bach/air.mp3", ("classical",), "bach, j. s.", True),
        ("training/rock_pop/d.mp3", ("rock_pop",), "b", False),
    ]
    assert dataset.notes == (f"{tmp_path}: has no metadata/evaluation/tracklist.csv",)
    training = ["training/classical/bach/air.mp3", "training/rock_pop/d.mp3"]
    assert ismir04.SPLITS["training_development"](dataset.clips, 0) == {
        "train": training, "test": ["development/track1.mp3"],
    }  # fmt: skip
    assert ismir04.SPLITS["contest"](dataset.clips, 0) == {
        "train": training, "valid": ["development/track1.mp3"],
    }  # fmt: skip
    for bad, message in (
        ([row, ["jaz", *row[1:]]], "line 2: class: 'jaz' is unknown; did you mean 'jazz'"),
        ([row, row], "line 2: path './classical/bach/air.mp3' is listed twice"),
        ([row, row[:3]], "line 2 has 3 cells"),
    ):
        path = tracklist(tmp_path, "training", bad)
        with pytest.raises(UserError, match=message) as info:
            ismir04.read(tmp_path)
        assert str(path) in str(info.value)


EMOTIFY_HEADER = (
    "track id, genre, amazement, solemnity, tenderness, nostalgia, calmness, power, "
    "joyful_activation, tension, sadness, mood, liked, disliked, age, gender, mother tongue\n"
)


def test_emotify_labels_are_what_a_third_of_the_listeners_felt(tmp_path):
    table = tmp_path / "data.csv"
    votes = ["100000001", "100000000", "000000010"]  # of three listeners
    rows = [f"1,classical,{','.join(vote)},3,1,0,21,1,English\n" for vote in votes]
    rows += [f"400,pop,{','.join(vote)},3,1,0,21,1,Dutch\n" for vote in [*votes, votes[0]]]
    table.write_text(EMOTIFY_HEADER + "".join(rows))
    touch(tmp_path / "emotifymusic/classical/1.mp3")
    first, last = emotify.read(tmp_path).clips
    assert (first.key, first.labels) == ("classical/1", ("amazement", "tension", "sadness"))
    assert (last.key, last.labels) == ("pop/100", ("amazement", "sadness"))  # tension: a quarter
    assert (first.path.is_file(), last.path.is_file()) == (True, False)
    for row, message in (
        ("1,jazz," + "0," * 9 + "3,1,0,21,1,English", "line 9: track id 1 of genre 'jazz'"),
        ("1,pop," + "0," * 8 + "2,3,1,0,21,1,English", "line 9: sadness is '2', not 0 or 1"),
        ("x,pop," + "0," * 9 + "3,1,0,21,1,English", "line 9: track id is 'x'"),
    ):
        table.write_text(EMOTIFY_HEADER + "".join(rows) + row + "\n")
        with pytest.raises(UserError, match=message):
            emotify.read(tmp_path)


# mirdata


def test_mirdata_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(mirdata_reader.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"run 'pip install deepgenre\[mirdata\]'"):
        mirdata_reader.read(tmp_path, multi_label=False, subset="irmas")


@pytest.mark.skipif(not importlib.util.find_spec("mirdata"), reason="mirdata is not installed")
def test_mirdata_itself(tmp_path, monkeypatch):
    import mirdata.core  # type: ignore[import-not-found]

    names = ("blues.00000", "blues.00001", "hiphop.00002")
    paths = {name: f"genres/{name.partition('.')[0]}/{name}.wav" for name in names}
    empty = [None, None]
    tracks = {
        name: {"audio": [path, ""], "beats": empty, "tempo": empty} for name, path in paths.items()
    }
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"version": "1.0", "tracks": tracks}))
    monkeypatch.setattr(mirdata.core.Index, "get_path", lambda self: str(index))
    touch(*(tmp_path / path for path in paths.values()))
    dataset = mirdata_reader.read(tmp_path, multi_label=False, subset="gtzan_genre")
    assert [(clip.key, clip.labels, clip.path) for clip in dataset.clips] == [
        ("blues.00000", ("blues",), tmp_path / paths["blues.00000"]),
        ("blues.00001", ("blues",), tmp_path / paths["blues.00001"]),
        ("hiphop.00002", ("hip-hop",), tmp_path / paths["hiphop.00002"]),
    ]
    with pytest.raises(UserError, match=r"tracks have no attribute mood; name the one .* genre"):
        mirdata_reader.read(tmp_path, multi_label=False, subset="gtzan_genre:mood")
    index.unlink()
    with pytest.raises(UserError, match=r"mirdata cannot read gtzan_genre .*\.download\(\)"):
        mirdata_reader.read(tmp_path, multi_label=False, subset="gtzan_genre")


class Library:
    """A stand-in with the interface of mirdata 1.0 that the reader uses: odd labels, a split."""

    labels = ({"genres": ["House"], "sub_genres": ["Deep House"]}, ["techno", " techno "], None, "")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list_datasets(self) -> list[str]:
        return ["beatport_key", "irmas"]

    def initialize(self, name: str, data_home: str) -> "Library":
        return self

    def load_tracks(self) -> dict[str, types.SimpleNamespace]:
        return {
            str(number): types.SimpleNamespace(
                genres=label, artists=["A", "B"], audio_path=str(self.folder / f"{number}.wav")
            )
            for number, label in enumerate(self.labels)
        }

    def get_track_splits(self) -> dict[str, list[str]]:
        return {"training": ["0", "1"], "validation": ["2"], "test": ["3"]}


def test_mirdata_labels_groups_and_split(tmp_path, monkeypatch):
    monkeypatch.setattr(mirdata_reader, "_library", lambda: Library(tmp_path))
    touch(tmp_path / "0.wav")
    dataset = mirdata_reader.read(tmp_path, multi_label=True, subset="beatport_key")
    assert [(clip.labels, clip.group, clip.split) for clip in dataset.clips] == [
        (("House", "Deep House"), "A; B", "train"),
        (("techno",), "A; B", "train"),
        ((), "A; B", "valid"),
        ((), "A; B", "test"),
    ]
    with pytest.raises(UserError, match=r"track '0' has 2 labels, .* set --config.multi_label"):
        mirdata_reader.read(tmp_path, multi_label=False, subset="beatport_key")
    with pytest.raises(UserError, match="'beatport' is unknown; did you mean 'beatport_key'"):
        mirdata_reader.read(tmp_path, multi_label=False, subset="beatport")


# The table, and what prepare says


def test_every_published_dataset_states_its_source():
    without = {name for name, kind in DATASETS.items() if kind.source is None}
    assert without == {"folder", "synthetic"}


@pytest.mark.parametrize(
    ("dataset", "subset", "message"),
    [
        ("fma", "smal", "config.subset: 'smal' is unknown; did you mean 'small'"),
        ("mtg_jamendo", "mood", "config.subset: 'mood' is unknown; did you mean 'moodtheme'"),
        ("gtzan", "small", "dataset 'gtzan' has no subsets"),
    ],
)
def test_subset_is_checked_with_the_config(dataset, subset, message):
    config = defaults.get_config()
    config.dataset, config.subset, config.split = dataset, subset, "as_given"
    with pytest.raises(UserError, match=message):
        defaults.check(config)


def test_many_missing_files_are_one_line(tmp_path, capsys, tones):
    music = tmp_path / "music"
    (music / "low").mkdir(parents=True)
    for path in [*sorted((tones / "low").iterdir())[:2], *sorted((tones / "mid").iterdir())[:2]]:
        touch(music / path.parent.name / path.name)
        (music / path.parent.name / path.name).write_bytes(path.read_bytes())
    listed = [path.relative_to(music).as_posix() for path in sorted(music.rglob("*.wav"))]
    absent = [f"{folder}/{n}.wav" for folder in ("00", "01") for n in range(15)]
    rows = [f"{path},{'ab'[n % 2]}" for n, path in enumerate([*listed, *absent])]
    (music / "manifest.csv").write_text("\n".join(["path,label", *rows]))
    config = defaults.get_config()
    config.dataset, config.split = "folder", "group_random"
    config.store_dir, config.prepare_workers = str(tmp_path / "store"), 1
    assert prepare.run(config, music) == 1
    told = capsys.readouterr().err
    assert "skipped: 30 files do not exist: 00/0.wav, 00/1.wav" in told
    assert "and 25 more; by folder: 00 (15), 01 (15)" in told
    assert "prepared: 4 of 34 clips" in told
    assert "30 failed" in told or "30 failures" in told


def test_missing_line_of_few_files_is_short():
    paths = [Path("/d/x/1.wav"), Path("/elsewhere/2.wav")]
    assert source.missing_line(paths, Path("/d")) == (
        "2 files do not exist: x/1.wav, /elsewhere/2.wav"
    )

"""MagnaTagATune's files and splits; at full size on the real annotations where available."""

import csv
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from deepgenre.data.classes import most_frequent
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import mtat
from deepgenre.errors import UserError

SHARED = Path(
    os.environ.get("DEEPGENRE_SHARED", Path(__file__).resolve().parents[3] / "shared"), "data"
)
ROWS = [
    ["clip_id", "slow", "guitar", "no voice", "mp3_path"],
    ["2", "1", "1", "0", "f/bach-cantatas-01-aria-30-59.mp3"],
    ["6", "0", "0", "0", "0/bach-cantatas-01-aria-146-175.mp3"],
    ["7", "0", "1", "1", "c/layne-villages-01-reason-0-29.mp3"],
]
INFO = [
    ["clip_id", "artist", "mp3_path"],
    ["2", "J. S. Bach", "f/bach-cantatas-01-aria-30-59.mp3"],
    ["6", "J. S. Bach", "0/bach-cantatas-01-aria-146-175.mp3"],
    ["7", "C. Layne", "c/layne-villages-01-reason-0-29.mp3"],
    ["8", "Nobody", ""],
]


# Published number of clips per tag; ties are sorted by name.
TOP_50 = [
    (tag.strip(), int(count))
    for tag, count in (
        line.rsplit(" ", 1)
        for line in """
guitar 4851, classical 4270, slow 3547, techno 2954, strings 2727, drums 2598, electronic 2519,
rock 2371, fast 2305, piano 2056, ambient 1956, beat 1906, violin 1826, vocal 1729, synth 1717,
female 1474, indian 1395, opera 1296, male 1279, singing 1211, vocals 1184, no vocals 1158,
harpsichord 1092, loud 1086, quiet 1055, flute 1024, woman 1016, male vocal 1002, no vocal 995,
pop 995, soft 985, sitar 926, solo 826, man 741, classic 690, choir 688, voice 665, new age 650,
dance 649, female vocal 644, male voice 644, beats 634, harp 622, cello 575, no voice 573,
weird 557, country 541, female voice 505, metal 505, choral 490
""".split(",")  # noqa: SIM905
    )
]


def write_table(path: Path, rows: list[list[str]]) -> None:
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)


def collection(folder: Path, layout: str = "mp3", suffix: str = "") -> Path:
    """Writes a synthetic collection with two of its three mp3s."""
    write_table(folder / f"annotations_final.csv{suffix}", ROWS)
    write_table(folder / f"clip_info_final.csv{suffix}", INFO)
    for row in ROWS[1:3]:
        mp3 = folder / layout / row[-1]
        mp3.parent.mkdir(parents=True)
        mp3.touch()
    return folder


@pytest.mark.parametrize("layout", ["mp3", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_tags_by_name_artists_and_both_layouts(tmp_path, layout, suffix):
    dataset = mtat.read(collection(tmp_path, layout, suffix))
    assert (dataset.name, dataset.multi_label) == ("mtat", True)
    assert [clip.key for clip in dataset.clips] == sorted(row[-1] for row in ROWS[1:])
    last = dataset.clips[-1]
    assert last.labels == ("guitar", "slow")
    assert last.group == "J. S. Bach"
    assert last.path == tmp_path / layout / last.key
    assert last.path.is_file()
    assert dataset.clips[0].labels == ()
    assert not dataset.clips[1].path.exists()  # but listed


def test_artists_are_read_from_file_names_without_clip_information(tmp_path):
    collection(tmp_path)
    (tmp_path / "clip_info_final.csv").unlink()
    assert [clip.group for clip in mtat.read(tmp_path).clips] == ["bach", "layne", "bach"]


def test_clip_annotated_twice_has_the_tags_of_both_rows(tmp_path):
    collection(tmp_path)
    write_table(tmp_path / "annotations_final.csv", [*ROWS, ["9", "0", "0", "1", ROWS[1][-1]]])
    clips = mtat.read(tmp_path).clips
    assert len(clips) == 3
    assert clips[-1].labels == ("guitar", "no voice", "slow")


def test_tags_are_sorted_by_name_not_by_column(tmp_path):
    key = ROWS[1][-1]
    rows = [["mp3_path", *"hgcdefba", "clip_id"], [key, *"11101111", "2"]]
    write_table(collection(tmp_path) / "annotations_final.csv", rows)
    assert mtat.read(tmp_path).clips[0].labels == tuple("abcefgh")


def test_tables_resaved_by_an_editor_are_read(tmp_path):
    path = collection(tmp_path) / "annotations_final.csv"
    expected = mtat.read(tmp_path)
    path.write_text("\r\n".join("\t".join(row) for row in ROWS) + "\r\n\r\n", "utf-8-sig")
    assert mtat.read(tmp_path) == expected
    # The byte order mark must not become part of a column's name either.
    mp3_path_first = [[row[-1], *row[1:-1]] for row in ROWS]
    path.write_text("\n".join("\t".join(row) for row in mp3_path_first), "utf-8-sig")
    assert mtat.read(tmp_path) == expected


def test_missing_file_messages_give_the_source(tmp_path):
    with pytest.raises(
        UserError, match=r"contains no annotations_final.csv.*cat mp3.zip.\* > mp3.zip"
    ):
        mtat.read(tmp_path)
    write_table(tmp_path / "annotations_final.csv", ROWS)
    with pytest.raises(UserError, match=r"none of the listed mp3s.*mp3.zip.001 to .003") as info:
        mtat.read(tmp_path)
    assert "\n" not in str(info.value)
    write_table(tmp_path / "annotations_final.csv", ROWS[:1])
    with pytest.raises(UserError, match="lists no clip"):
        mtat.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("annotations_final.csv", [], "no column 'mp3_path'"),
        ("annotations_final.csv", [row[:-1] for row in ROWS], "no column 'mp3_path'"),
        ("annotations_final.csv", [*ROWS, ["9", "1"]], "line 5 has 2 columns, the first line 5"),
        ("annotations_final.csv", [*ROWS, ["9", "", "1", "0", "a/a.mp3"]], "tag of 'a/a.mp3'"),
        ("clip_info_final.csv", INFO[:3], "no artist for 'c/layne-villages-01-reason-0-29.mp3'"),
        ("clip_info_final.csv", [row[2:] for row in INFO], "no column 'artist'"),
    ],
)
def test_malformed_tables_are_reported(tmp_path, name, rows, message):
    write_table(collection(tmp_path) / name, rows)
    with pytest.raises(UserError, match=message) as info:
        mtat.read(tmp_path)
    assert name in str(info.value)


def test_damaged_files_are_reported(tmp_path):
    annotations = collection(tmp_path, suffix=".gz") / "annotations_final.csv.gz"
    whole = annotations.read_bytes()
    for damaged in (whole[:40], b"no gzip", whole[:30] + b"\xff" * 9 + whole[39:]):
        annotations.write_bytes(damaged)
        with pytest.raises(UserError, match=r"annotations_final.csv.gz: cannot be read"):
            mtat.read(tmp_path)
    annotations.unlink()
    (tmp_path / "annotations_final.csv").write_bytes('"clip_id"\t"naïve"'.encode("latin-1"))
    with pytest.raises(UserError, match=r"annotations_final.csv: cannot be read"):
        mtat.read(tmp_path)


def test_folder_split_uses_the_first_folder():
    clips = [Clip(f"{name}/x.mp3", Path("x"), (), name) for name in "0123456789abcdef"]
    parts = mtat.folders(clips, 0)
    assert {name: "".join(key[0] for key in keys) for name, keys in parts.items()} == {
        "train": "0123456789ab",
        "valid": "c",
        "test": "def",
    }
    for key in ("x.mp3", "g/x.mp3", "ab/x.mp3", "/x.mp3"):
        with pytest.raises(UserError, match="folders 0 to f"):
            mtat.folders([Clip(key, Path("x"), (), "")], 0)


def test_artist_disjoint_omits_test_clips_of_train_artists():
    keys = {"0/p.mp3": "P", "c/q.mp3": "Q", "d/p.mp3": "P", "e/q.mp3": "Q", "f/r.mp3": "R"}
    clips = [Clip(key, Path("x"), (), artist) for key, artist in keys.items()]
    assert mtat.artist_disjoint(clips, 0) == {
        "train": ["0/p.mp3"],
        "valid": ["c/q.mp3"],
        "test": ["e/q.mp3", "f/r.mp3"],
    }


def tagged(clips: tuple[Clip, ...]) -> list[Clip]:
    """Returns the clips with at least one of the 50 most frequent tags."""
    top = set(most_frequent(clips, 50))
    return [clip for clip in clips if top.intersection(clip.labels)]


def sizes(parts: dict[str, list[str]]) -> dict[str, int]:
    return {name: len(keys) for name, keys in parts.items()}


def test_real_tags_equal_the_published_ones(real_mtat):
    assert len(real_mtat.clips) == 25_860
    assert len({name for clip in real_mtat.clips for name in clip.labels}) == 188
    assert len({clip.group for clip in real_mtat.clips}) == 230
    counts = Counter(name for clip in real_mtat.clips for name in clip.labels)
    top = most_frequent(real_mtat.clips, 50)
    assert [(name, counts[name]) for name in top] == TOP_50


def test_real_folder_split_has_the_published_counts(real_mtat):
    parts = mtat.folders(real_mtat.clips, 0)
    assert sizes(parts) == {"train": 18_706, "valid": 1_825, "test": 5_329}
    clean = tagged(real_mtat.clips)
    assert sizes(mtat.folders(clean, 0)) == {"train": 15_247, "valid": 1_529, "test": 4_332}
    labels = {clip.key: clip.labels for clip in clean}
    cello = [
        sum("cello" in labels[key] for key in keys) for keys in mtat.folders(clean, 0).values()
    ]
    assert sorted(cello) == [20, 64, 491]


def test_real_artist_disjoint_test_is_1652_clips_of_30_artists(real_mtat):
    parts = mtat.artist_disjoint(tagged(real_mtat.clips), 0)
    assert sizes(parts) == {"train": 15_247, "valid": 1_529, "test": 1_652}
    artist = {clip.key: clip.group for clip in real_mtat.clips}
    held_out = {artist[key] for key in parts["test"]}
    assert len(held_out) == 30
    assert not held_out & {artist[key] for key in parts["train"]}


def test_real_artists_of_file_names_match_the_clip_information(real_mtat):
    pairs = {(clip.group, clip.key.partition("/")[2].partition("-")[0]) for clip in real_mtat.clips}
    assert len(pairs) == 230


def test_real_random_split_is_64_16_20(real_mtat):
    assert sizes(mtat.SPLITS["paper_random"](tagged(real_mtat.clips), 0)) == {
        "train": 13_508,
        "valid": 3_378,
        "test": 4_222,
    }


def test_reads_the_real_sample():
    folder = SHARED / "mtat_sample"
    if not folder.exists():
        pytest.skip(f"the real MagnaTagATune sample is not at {folder}")
    clips = mtat.read(folder).clips
    assert len(clips) == 338  # of 344 rows: six mp3s are listed twice
    assert all(clip.path.is_file() for clip in clips)

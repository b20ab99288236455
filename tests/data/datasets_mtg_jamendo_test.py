"""MTG-Jamendo's tables, splits, subsets and spectrograms, in small files of its format."""

from pathlib import Path

import numpy as np
import pytest

from deepgenre import config as defaults
from deepgenre.data import parts, prepare
from deepgenre.data.datasets import mtg_jamendo
from deepgenre.data.datasets.spectrograms import SIDECAR
from deepgenre.errors import UserError

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
# Song, artist, tags of the collection. Of split 0: two songs train, one validation, one test.
SONGS = [
    ("48/948", 14, ("genre---rock", "instrument---piano", "mood/theme---deep")),
    ("14/1000214", 14, ("genre---rock",)),
    ("49/949", 15, ("genre---pop", "mood/theme---deep", "mood/theme---fun")),
    ("50/950", 16, ("genre---rock", "genre---pop", "mood/theme---fun")),
]
PARTS = ("train", "train", "validation", "test")


def line(number: int, tags: tuple[str, ...]) -> str:
    song, artist, _ = SONGS[number]
    track = int(song.rpartition("/")[2])
    fields = (f"track_{track:07d}", f"artist_{artist:06d}", "album_000149", f"{song}.mp3", "212.7")
    return "\t".join((*fields, *tags)) + "\n"


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write(path: Path, numbers: list[int], category: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ((n, tuple(t for t in SONGS[n][2] if t.startswith(category))) for n in numbers)
    path.write_text(HEADER + "".join(line(number, tags) for number, tags in rows if tags))


@pytest.fixture
def collection(tmp_path) -> Path:
    data = tmp_path / "data"
    for name, category in (("autotagging", ""), ("autotagging_moodtheme", "mood/theme")):
        write(data / f"{name}.tsv", [0, 1, 2, 3], category)
        for split in range(5):  # in split n, the songs are rotated by n
            for part in ("train", "validation", "test"):
                numbers = [n for n in range(4) if PARTS[(n + split) % 4] == part]
                write(data / f"splits/split-{split}/{name}-{part}.tsv", numbers, category)
    for song, _, _ in SONGS[:3]:
        touch(tmp_path / "audio" / f"{song}.mp3")
    return tmp_path


def test_tags_of_any_number_artists_and_missing_songs(collection):
    dataset = mtg_jamendo.read(collection)
    clips = {clip.key: clip for clip in dataset.clips}
    assert [*clips] == ["14/1000214", "48/948", "49/949", "50/950"]
    assert clips["48/948"].labels == ("deep", "piano", "rock")
    assert clips["48/948"].group == clips["14/1000214"].group == "artist_000014"
    assert clips["48/948"].path == collection / "audio/48/948.mp3"
    assert not clips["50/950"].path.exists()  # but listed
    assert dataset.multi_label
    assert not dataset.frontend


def test_five_splits_and_subsets(collection):
    for number in range(5):
        clips = mtg_jamendo.read(collection, split=f"split_{number}").clips
        split = mtg_jamendo.SPLITS[f"split_{number}"](clips, 0)
        assert {part: len(keys) for part, keys in split.items()} == {
            "train": 2, "valid": 1, "test": 1,
        }  # fmt: skip
        tested = SONGS[(3 - number) % 4][0]
        assert split["test"] == [tested]
    moods = mtg_jamendo.read(collection, subset="moodtheme").clips
    assert {clip.key: clip.labels for clip in moods} == {
        "48/948": ("deep",), "49/949": ("deep", "fun"), "50/950": ("fun",),
    }  # fmt: skip
    assert not any(clip.split for clip in mtg_jamendo.read(collection, split="group_random").clips)
    with pytest.raises(
        UserError, match=r"config.subset: 'genres' is unknown; did you mean 'genre'"
    ):
        mtg_jamendo.read(collection, subset="genres")


def test_tag_of_two_categories_keeps_them(collection):
    path = collection / "data/autotagging.tsv"
    path.write_text(HEADER + line(0, ("genre---deep", "mood/theme---deep", "genre---rock")))
    (clip,) = mtg_jamendo.read(collection, split="as_given").clips
    assert clip.labels == ("genre---deep", "mood/theme---deep", "rock")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TRACK\n", "line 1 is 'TRACK', not 'TRACK_ID"),
        (HEADER + "track_1\tartist_1\n", r"line 2: has 2 cells"),
        (HEADER + line(0, ("a---b",)) * 2, "line 3: PATH '48/948.mp3' is listed twice"),
    ],
)
def test_bad_rows_are_named(collection, text, message):
    path = collection / "data/splits/split-0/autotagging-train.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as info:
        mtg_jamendo.read(collection)
    assert str(path) in str(info.value)


def test_missing_files_are_named_with_their_source(collection, tmp_path):
    (collection / "data/splits/split-3/autotagging-test.tsv").unlink()
    with pytest.raises(
        UserError, match=r"no splits/split-3/autotagging-test.tsv; .*github.com/MTG"
    ):
        mtg_jamendo.read(collection, split="split_3")
    with pytest.raises(UserError, match=r"no autotagging_genre.tsv .*licence: audio Creative"):
        mtg_jamendo.read(collection, subset="genre")


def test_published_spectrograms_are_half_of_what_they_state(collection, tmp_path):
    """20 log10 of power at 12 kHz: levels are those of 10 log10, and the hop is 256 samples."""
    (collection / "audio").rename(collection / "unused")
    rng = np.random.default_rng(0)
    decibels = {song: rng.uniform(-60, 0, (96, 40)).astype(np.float32) for song, _, _ in SONGS}
    for song, values in decibels.items():
        path = collection / "melspecs" / f"{song}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, 2 * (values - 7))
    config = defaults.get_config()
    config.dataset, config.split, config.top_tags = "mtg_jamendo", "split_0", 0
    config.frontend.n_mels = 96
    config.store_dir, config.prepare_workers = str(tmp_path / "store"), 1
    prepared = prepare.prepare(config, collection)
    assert (prepared.frontend.sample_rate_hz, prepared.frontend.hop_length) == (12_000, 256)
    assert prepared.folder.name.endswith("-double_db")
    clip = next(clip for clip in prepared.dataset.clips if clip.key == "48/948")
    levels = prepare.clip_levels(clip, prepared.frontend)
    expected = decibels["48/948"].T - decibels["48/948"].max()
    np.testing.assert_allclose(levels / 255 * 80 - 80, expected, atol=0.2)
    split = parts.split_rows(config, prepared.rows, ("deep", "rock", "pop", "fun"), True)
    assert {part: len(rows) for part, rows in split.items()} == {"train": 2, "valid": 1, "test": 1}
    (collection / SIDECAR).write_text('{"hop_length": 512}')  # one's own spectrograms, in dB
    dataset = mtg_jamendo.read(collection)
    assert (dataset.frontend, dataset.clips[0].scale) == ({}, "")

"""What evaluated clips share with training clips, on real annotations and real spectrograms."""

from pathlib import Path

import numpy as np
import pytest

from deepgenre.data import shards
from deepgenre.data.classes import most_frequent
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import mtat
from deepgenre.data.store import Measured, Row
from deepgenre.evaluation import leakage, near_duplicates

# Clips of the same recording, after B. L. Sturm, "The GTZAN dataset" (2013). Those whose clips are
# at hand were confirmed by the correlation of their levels; disco 71 and 74 were not.
REPETITIONS = """
    disco 50 51, disco 50 70, disco 51 70, disco 55 60, disco 55 89, disco 60 89, disco 98 99,
    hiphop 39 45, hiphop 76 78, jazz 33 51, jazz 34 53, jazz 35 55, jazz 36 58, jazz 37 60,
    jazz 38 62, jazz 39 65, jazz 40 67, jazz 42 68, jazz 43 69, jazz 44 70, jazz 45 71, jazz 46 72,
    metal 4 13, metal 34 94, metal 40 61, metal 41 62, metal 42 63, metal 43 64, metal 44 65,
    metal 45 66, pop 15 22, pop 30 31, pop 45 46, pop 47 80, pop 52 57, pop 54 60, pop 56 59,
    pop 67 71, pop 87 90, pop 68 73, reggae 3 54, reggae 5 56, reggae 8 57, reggae 10 60,
    reggae 13 58, reggae 41 69, reggae 73 74, reggae 80 81, reggae 80 82, reggae 81 82,
    reggae 75 91, reggae 75 92, reggae 91 92
"""


def row(key: str, *, group: str = "", track: str = "") -> Row:
    return Row(key, ("a",), group or key, "", Measured(key, 1, 1, 0, 0, 0, 0), track)


def test_shares_by_hand():
    train = [row("1", group="X", track="s"), row("2", group="Y", track="t")]
    rows = [
        row("2", group="Y", track="t"),  # a training clip
        row("3", group="X", track="s"),  # of the same song
        row("4", group="X", track="u"),  # of the same artist
        row("5", group="Z", track="v"),
    ]
    assert leakage.leakage(rows, train) == {
        "train_clips": 2,
        "same_clip": {"clips": 1, "share": 0.25},
        "same_track": {"clips": 2, "share": 0.5},
        "same_group": {"clips": 3, "share": 0.75},
    }


def test_what_the_data_do_not_tell_is_unknown():
    assert leakage.leakage([row("1")], None)["same_clip"] is None
    found = leakage.leakage([row("1")], [row("2")])
    assert found["same_clip"] == {"clips": 0, "share": 0}
    assert found["same_track"] is found["same_group"] is None


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory) -> Dataset:
    """The whole of MagnaTagATune's annotations, with one empty mp3."""
    source = shared_data / "mtat_annotations"
    folder = tmp_path_factory.mktemp("mtat")
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    mp3 = folder / "mp3/f/american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria-30-59.mp3"
    mp3.parent.mkdir(parents=True)
    mp3.touch()
    return mtat.read(folder)


@pytest.mark.parametrize(
    ("split", "tracks", "artists"),
    [("paper_random", 0.903, 1.0), ("folders", 0.0, 0.619), ("artist_disjoint", 0.0, 0.0)],
)
def test_splits_of_magnatagatune_leak_as_published(real, split, tracks, artists):
    top = {*most_frequent(real.clips, 50)}
    clips = {clip.key: clip for clip in real.clips if top.intersection(clip.labels)}
    parts = mtat.SPLITS[split](list(clips.values()), 0)
    rows, train = ([as_row(clips[key]) for key in parts[part]] for part in ("test", "train"))
    found = leakage.leakage(rows, train)
    assert found["same_clip"]["clips"] == 0
    assert found["same_track"]["share"] == pytest.approx(tracks, abs=0.001)
    assert found["same_group"]["share"] == pytest.approx(artists, abs=0.001)


def as_row(clip: Clip) -> Row:
    measured = Measured(clip.key, 1, 1, 0, 0, 0, 0)
    return Row(clip.key, clip.labels, clip.group, clip.split, measured, clip.track)


def test_tracks_of_magnatagatune(real):
    tracks = {clip.track for clip in real.clips}
    assert len(tracks) == 5405
    assert "american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria" in tracks


@pytest.fixture(scope="module")
def gtzan(shared_data) -> dict[str, np.ndarray]:
    with np.load(shared_data / "gtzan_mel" / "gtzan_mel_dev.npz") as arrays:
        return dict(zip(arrays["name"].tolist(), arrays["mel"], strict=True))


def test_repetitions_of_gtzan_are_found_and_nothing_else(gtzan):
    listed = set()
    for entry in REPETITIONS.split(","):
        genre, *numbers = entry.split()
        pair = tuple(f"{genre}.{int(number):05d}" for number in numbers)
        listed |= {pair} if gtzan.keys() >= {*pair} else set()
    assert len(listed) == 45
    # Those listed, and every fourth other clip: a quarter of a minute for all.
    names = sorted({name for pair in listed for name in pair} | {*sorted(gtzan)[::4]})
    signs = [near_duplicates.signs(gtzan[name].T, 22_050 / 1710) for name in names]
    found = {(names[i], names[j]) for i, j in near_duplicates.matches(signs, signs) if i < j}
    assert found >= listed
    assert found - listed <= {("metal.00058", "rock.00016"), ("reggae.00033", "reggae.00044")}


def music(seed: int, frames: int = 1400, bands: int = 96) -> np.ndarray:
    """Returns levels, uint8, that change smoothly in time and between bands."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(frames // 7 + 2, bands // 3 + 2))
    fine = np.repeat(np.repeat(coarse, 7, axis=0), 3, axis=1)[:frames, :bands]
    return np.clip(128 + 30 * fine, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda levels, rng: levels,
        lambda levels, rng: levels // 2 + 60,  # compressed
        lambda levels, rng: np.maximum(levels, 20) - 20,  # quieter, the lowest clipped
        lambda levels, rng: levels[30:],  # begins later
        lambda levels, rng: levels[:-300],  # shorter
        lambda levels, rng: np.clip(levels + rng.normal(0, 15, levels.shape), 0, 255),
    ],
)
def test_planted_copies_match_and_other_clips_do_not(change):
    copy = change(music(3), np.random.default_rng(9)).astype(np.uint8)
    first = [near_duplicates.signs(music(seed), 46.9) for seed in range(8)]
    second = [near_duplicates.signs(levels, 46.9) for levels in (music(20), copy, music(21))]
    assert near_duplicates.matches(first, second) == [(3, 1)]


def test_short_and_silent_clips_match_nothing():
    short = [near_duplicates.signs(music(0)[:200], 46.9)] * 2
    silent = [near_duplicates.signs(np.zeros((1400, 96), np.uint8), 46.9)] * 2
    assert near_duplicates.matches(short, short) == []
    assert near_duplicates.matches(silent, silent) == []
    assert near_duplicates.matches(silent, []) == []


def test_copies_between_parts_of_a_store_are_reported(tmp_path: Path):
    from deepgenre.audio.frontend import FrontEnd

    frontend = FrontEnd(hop_length=470, n_mels=96)
    (tmp_path / "source").touch()
    clips = [
        (shards.measure(str(seed), music(seed), tmp_path / "source"), music(seed))
        for seed in range(5)
    ]
    clips.append((shards.measure("copy", music(2), tmp_path / "source"), music(2)))
    entries = shards.write(tmp_path, "s", clips)
    rows = [Row(entry.key, (), entry.key, "", entry) for entry in entries]
    found = leakage.compare_audio(tmp_path, rows[3:], rows[:3], frontend)
    assert found == {"clips": 1, "share": pytest.approx(1 / 3), "pairs": [["copy", "2"]]}
    waveform = FrontEnd(kind="waveform")
    assert leakage.compare_audio(tmp_path, rows[3:], rows[:3], waveform)["clips"] is None

"""What evaluated clips share with training clips, on real annotations and real spectrograms."""

from pathlib import Path

import numpy as np
import pytest

from deepgenre.audio.frontend import FrontEnd, levels
from deepgenre.data import shards
from deepgenre.data.classes import most_frequent
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import mtat
from deepgenre.data.store import Measured, Row
from deepgenre.evaluation import leakage


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


@pytest.mark.parametrize(
    ("split", "tracks", "artists"),
    [("paper_random", 0.903, 1.0), ("folders", 0.0, 0.619), ("artist_disjoint", 0.0, 0.0)],
)
def test_splits_of_magnatagatune_leak_as_published(real_mtat, split, tracks, artists):
    top = {*most_frequent(real_mtat.clips, 50)}
    clips = {clip.key: clip for clip in real_mtat.clips if top.intersection(clip.labels)}
    parts = mtat.SPLITS[split](list(clips.values()), 0)
    rows, train = ([as_row(clips[key]) for key in parts[part]] for part in ("test", "train"))
    found = leakage.leakage(rows, train)
    assert found["same_clip"]["clips"] == 0
    assert found["same_track"]["share"] == pytest.approx(tracks, abs=0.001)
    assert found["same_group"]["share"] == pytest.approx(artists, abs=0.001)


def as_row(clip: Clip) -> Row:
    measured = Measured(clip.key, 1, 1, 0, 0, 0, 0)
    return Row(clip.key, clip.labels, clip.group, clip.split, measured, clip.track)


def test_tracks_of_magnatagatune(real_mtat):
    tracks = {clip.track for clip in real_mtat.clips}
    assert len(tracks) == 5405
    assert "american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria" in tracks


def music(seed: int, frames: int = 1400, bands: int = 96) -> np.ndarray:
    """Returns levels, uint8, that change smoothly in time and between bands."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(frames // 7 + 2, bands // 3 + 2))
    fine = np.repeat(np.repeat(coarse, 7, axis=0), 3, axis=1)[:frames, :bands]
    return np.clip(128 + 30 * fine, 0, 255).astype(np.uint8)


def copies_in_store(
    folder: Path, rows: list[np.ndarray], train: list[np.ndarray], frontend: FrontEnd
) -> dict[str, object]:
    (folder / "source").touch()
    clips = [
        (shards.measure(str(number), levels, folder / "source"), levels)
        for number, levels in enumerate([*train, *rows])
    ]
    entries = shards.write(folder, "s", clips)
    stored = [Row(entry.key, (), entry.key, "", entry) for entry in entries]
    return leakage.compare_audio(folder, stored[len(train) :], stored[: len(train)], frontend)


FRONTEND = FrontEnd(hop_length=470, n_mels=96)


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
def test_planted_copies_match_and_other_clips_do_not(change, tmp_path):
    copy = change(music(3), np.random.default_rng(9)).astype(np.uint8)
    train = [music(seed) for seed in range(8)]
    found = copies_in_store(tmp_path, [music(20), copy, music(21)], train, FRONTEND)
    assert found == {"clips": 1, "share": pytest.approx(1 / 3), "pairs": [["9", "3"]]}


def test_copies_within_a_part_are_not_reported(tmp_path):
    rows, train = [music(0), music(0)], [music(1), music(1), music(2)]
    assert copies_in_store(tmp_path, rows, train, FRONTEND)["pairs"] == []


def test_short_and_silent_clips_match_nothing(tmp_path):
    short, silent = music(0)[:200], np.zeros((1400, 96), np.uint8)
    found = copies_in_store(tmp_path, [short, silent], [short, silent], FRONTEND)
    assert found == {"clips": 0, "share": 0, "pairs": []}


def test_without_other_training_clips_nothing_is_compared(tmp_path):
    assert copies_in_store(tmp_path, [music(0)], [], FRONTEND)["clips"] == 0


def test_copies_of_stored_waveforms_are_reported(tmp_path):
    rng = np.random.default_rng(0)
    frontend = FrontEnd(kind="waveform")

    def waveform() -> np.ndarray:
        loudness = np.repeat(rng.uniform(0, 1, 40), frontend.sample_rate_hz // 4)
        return (loudness * rng.normal(0, 0.2, loudness.size)).astype(np.float32)

    first, second = waveform(), waveform()
    copy, other, original = (levels(one, frontend) for one in (0.5 * first, second, first))
    found = copies_in_store(tmp_path, [copy], [other, original], frontend)
    assert found["pairs"] == [["2", "1"]]

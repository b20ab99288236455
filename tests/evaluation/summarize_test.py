"""The summary of an evaluation: intervals, songs, classes."""

import numpy as np
import pytest

from deepgenre.data.store import Measured, Row
from deepgenre.errors import UserError
from deepgenre.evaluation import class_matching, evaluation_files
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.summarize import summarize
from deepgenre.evaluation.tracks import per_track
from deepgenre.files import strict_json


def scored(labels, scores, track, group=None) -> Scored:
    labels, scores = np.array(labels), np.array(scores, np.float32)
    kind = np.uint8 if labels.ndim == 2 else np.int32
    keys = np.array([f"clip{i}" for i in range(len(labels))])
    group = keys if group is None else np.array(group)
    classes = tuple("abcdefg"[: scores.shape[1]])
    return Scored(keys, classes, scores, labels.astype(kind), group, np.array(track))


def test_songs_have_the_mean_scores_of_their_clips():
    genres = scored(
        [0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4]],
        ["s", "s", "t", "u"], ["X", "X", "Y", "Y"],
    )  # fmt: skip
    songs = per_track(genres)
    assert songs is not None
    assert songs.key.tolist() == songs.track.tolist() == ["s", "t", "u"]
    np.testing.assert_allclose(songs.scores, [[0.55, 0.45], [0.4, 0.6], [0.6, 0.4]])
    assert songs.labels.tolist() == [0, 1, 1]
    assert songs.group.tolist() == ["X", "Y", "Y"]
    assert per_track(scored([0, 1], [[1, 0], [0, 1]], ["s", "t"])) is None


def test_songs_have_the_tags_of_half_of_their_clips():
    tags = scored([[1, 1], [0, 1], [0, 0], [1, 0]], np.full((4, 2), 0.5), ["s", "s", "s", "t"])
    songs = per_track(tags)
    assert songs is not None
    assert songs.labels.tolist() == [[0, 1], [1, 0]]
    assert songs.labels.dtype == np.uint8


def test_summary_of_songs_and_groups():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    scores = 0.5 * np.eye(3)[labels] + rng.random((60, 3))
    track = np.repeat(np.arange(30), 2).astype(str)
    group = np.repeat(np.arange(12), 5).astype(str)
    summary = summarize(scored(labels, scores, track, group), 0.5, num_draws=200)
    assert summary["num_tracks"] == 30
    assert summary["num_groups"] == 12
    names = ("metrics", "metrics_by_group_bootstrap", "tracks")
    clips, groups, tracks = (summary[name]["accuracy"] for name in names)
    assert clips["value"] == groups["value"]
    assert clips["low"] != groups["low"]
    assert tracks["value"] > clips["value"]  # the mean of two scores is better than each
    assert np.trace(summary["confusion"]) / 60 == clips["value"]


def test_summary_of_tags_without_positive_clips_is_strict_json():
    labels = np.zeros((6, 3), np.uint8)
    labels[:3, 0] = 1  # the second has no positive clip, the third none at all
    summary = summarize(
        scored(labels, np.random.default_rng(0).random((6, 3)), [*"abcdef"]), 0.5, num_draws=50
    )
    text = strict_json(summary)
    assert "NaN" not in text
    assert '"roc_auc": null' in text
    assert summary["confusion"] is None
    assert summary["per_class"][0]["support"] == 3
    assert np.isnan(summary["per_class"][1]["roc_auc"])
    undefined = summarize(scored(0 * labels, np.full((6, 3), 0.5), [*"abcdef"]), 0.5, num_draws=20)
    assert np.isnan(undefined["metrics"]["roc_auc"]["value"])
    assert '"value": null, "low": null, "high": null' in strict_json(undefined)


def rows(*labels: tuple[str, ...]) -> list[Row]:
    measured = Measured("", 1, 1, 0, 0, 0, 0)
    return [Row(str(i), names, str(i), "", measured) for i, names in enumerate(labels)]


def test_labels_match_by_name_then_letters_then_not():
    data = rows(("Hip-Hop",), ("rock",), ("rock",), ("ROCK",), ("R&B", "rock"), ("x-y",))
    matching = class_matching.match(data, ["hiphop", "rock", "r_b", "xy", "x y"])
    assert matching.class_of == {
        "rock": "rock", "Hip-Hop": "hiphop", "R&B": "r_b", "ROCK": "rock",
        "x-y": "",  # two classes have these letters
    }  # fmt: skip
    assert next(iter(matching.class_of)) == "rock"
    assert matching.clips["rock"] == 3
    assert matching.unmatched == ["x-y"]
    applied = class_matching.apply(data, matching)
    assert [row.labels for row in applied] == [
        ("hiphop",), ("rock",), ("rock",), ("rock",), ("r_b", "rock"), (),
    ]  # fmt: skip


def test_mapping_takes_precedence_and_may_drop_a_label():
    data = rows(("rock",), ("Rap",), ("pop",))
    matching = class_matching.match(data, ["rock", "hiphop", "pop"], {"rap": "hiphop", "pop": ""})
    assert matching.class_of == {"pop": "", "Rap": "hiphop", "rock": "rock"}
    with pytest.raises(UserError, match="'rapp' is no class of these weights; known: rock, hip"):
        class_matching.match(data, ["rock", "hiphop"], {"rap": "rapp"})


def test_damaged_files_of_an_evaluation_are_reported(tmp_path):
    details = tmp_path / "evaluation.json"
    assert evaluation_files.read_details(details) == {}  # an earlier version evaluated
    with pytest.raises(UserError, match=r"contains no scores\.npz; run deepgenre eval"):
        evaluation_files.read_scores(tmp_path)
    details.write_text('{"dataset": ')
    with pytest.raises(UserError, match="is damaged"):
        evaluation_files.read_details(details)
    (tmp_path / "scores.npz").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match="cannot be read"):
        evaluation_files.read_scores(tmp_path)
    np.savez(tmp_path / "scores.npz", key=np.array(["a"]))
    with pytest.raises(UserError, match="has no array 'classes'"):
        evaluation_files.read_scores(tmp_path)

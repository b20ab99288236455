"""Runs compared: the same clips in any order, differences, and runs that cannot be compared."""

import dataclasses
import json
import re
from pathlib import Path

import evaluated
import numpy as np
import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.evaluation import summarize
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.report import alignment, compare, evaluations

NAMES = ("a", "b")


def shuffled(one: Scored, seed: int = 1) -> Scored:
    """The same scores with clips and classes in another order."""
    rng = np.random.default_rng(seed)
    clips, classes = rng.permutation(len(one.key)), rng.permutation(len(one.classes))
    if one.multi_label:
        labels = one.labels[clips][:, classes]
    else:
        labels = np.argsort(classes)[one.labels[clips]].astype(np.int32)
    return Scored(
        one.key[clips],
        tuple(one.classes[i] for i in classes),
        one.scores[clips][:, classes],
        labels,
        one.group[clips],
        one.track[clips],
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_same_clips_in_another_order_are_aligned(multi_label):
    one = evaluated.scored(50, multi_label=multi_label)
    back = alignment.aligned(one, shuffled(one), NAMES)
    assert back.classes == one.classes
    for field in ("key", "scores", "labels", "group"):
        np.testing.assert_array_equal(getattr(back, field), getattr(one, field))


def test_songs_are_compared_where_clips_are_cut_from_them(tmp_path, capsys):
    """By their mean scores, as the scores of tracks in an evaluation are."""
    track = np.array([f"song {number // 2}" for number in range(40)])
    runs, scored = [], []
    for seed in (0, 1):
        one = dataclasses.replace(evaluated.scored(40, multi_label=True, seed=seed), track=track)
        scored.append(one)
        runs.append(evaluated.write_run(tmp_path / f"run{seed}", one))
    assert compare.run(runs, "", tmp_path / "compare.html") == 0
    result = json.loads(capsys.readouterr().out)["paired"]["run1"]
    assert (result["clips"], result["tracks"]["clips"]) == (40, 20)
    songs = [evaluations.read(run / "eval-test").details["tracks"] for run in runs]
    for metric, one in result["tracks"]["metrics"].items():
        values = [song[metric]["value"] for song in songs]
        assert [one["b"], one["a"]] == pytest.approx(values), metric
    page = (tmp_path / "compare.html").read_text()
    assert "Resamples of 20 tracks, each the mean of its clips" in page
    assert "McNemar test of the tracks" in page
    flat = [tmp_path / f"flat{seed}" for seed in (0, 1)]
    for seed, run in enumerate(flat):
        evaluated.write_run(run, evaluated.scored(9, seed=seed))
    assert compare.run(flat, "", None) == 0
    assert json.loads(capsys.readouterr().out)["paired"]["flat1"]["tracks"] == {}


def test_tags_are_compared_at_the_thresholds_that_they_were_evaluated_with(tmp_path, capsys):
    """Else the page states two different F1 of a run."""
    runs = []
    for seed in (0, 1):
        one = evaluated.scored(40, multi_label=True, seed=seed)
        run = evaluated.write_run(tmp_path / f"run{seed}", one)
        path = run / "eval-test" / "evaluation.json"
        thresholds = np.array([0.2, 0.4, 0.7]) + 0.1 * seed
        about = {
            **json.loads(path.read_text()),
            **summarize.summarize(one, thresholds, num_draws=9),
        }
        path.write_text(json.dumps(about))
        runs.append(run)
    other = evaluations.read(runs[1] / "eval-test")
    np.testing.assert_allclose(other.thresholds(other.scored.classes[::-1]), [0.8, 0.5, 0.3])
    assert compare.run(runs, "", tmp_path / "compare.html") == 0
    printed = json.loads(capsys.readouterr().out)
    for name in ("macro_f1", "micro_f1", "roc_auc"):
        values = [printed["runs"][run][name]["value"] for run in ("run1", "run0")]
        paired = printed["paired"]["run1"]["metrics"][name]
        assert [paired["a"], paired["b"]] == pytest.approx(values, abs=1e-12), name


def test_one_is_singular(tmp_path, capsys):
    runs = []
    for seed in (0, 1):
        one = evaluated.scored(2, seed=seed)
        two = dataclasses.replace(one, group=one.key, track=np.array(["song", "song"]))
        runs.append(evaluated.write_run(tmp_path / f"run{seed}", two))
    compare.run(runs, "", tmp_path / "compare.html")
    page = (tmp_path / "compare.html").read_text()
    assert "Resamples of 1 track, each" in page
    assert not re.search(r"\b1 (tracks|groups|clips)\b", page)


def test_runs_that_differ_are_refused():
    one = evaluated.scored(30)
    renamed = dataclasses.replace(one, classes=("blues", "jazz", "pop"))
    fields = ("key", "scores", "labels", "group", "track")
    fewer = dataclasses.replace(one, **{name: getattr(one, name)[3:] for name in fields})
    relabelled = dataclasses.replace(one, labels=(one.labels + 1) % 3)
    for other, reason in (
        (renamed, "its classes are not those of a (1 only in a, e.g. 'rock'; 1 only in b"),
        (fewer, "its clips are not those of a (3 only in a, e.g. 'clip.00000', 'clip.00001'"),
        (relabelled, "30 clips have other labels than in a, first 'clip.00000'"),
        (evaluated.scored(30, multi_label=True), "b: has tags, a has one label per clip"),
    ):
        with pytest.raises(UserError, match=re.escape(reason)) as error:
            alignment.aligned(one, other, NAMES)
        assert "\n" not in str(error.value)


def test_chosen_evaluations(tmp_path):
    for run, parts in {"a": ("valid", "test"), "b": ("valid", "test"), "c": ("valid",)}.items():
        for part in parts:
            evaluated.write(tmp_path / run / f"eval-{part}", evaluated.scored())
    a, b, c = (tmp_path / run for run in "abc")
    assert alignment.choose([a, b], "") == [a / "eval-test", b / "eval-test"]
    assert alignment.choose([a, b], "valid") == [a / "eval-valid", b / "eval-valid"]
    assert alignment.choose([a, c], "") == [a / "eval-valid", c / "eval-valid"]
    assert alignment.choose([a / "eval-test", c], "") == [a / "eval-test", c / "eval-valid"]
    with pytest.raises(UserError, match=r"no evaluation 'test' in common .*c: valid"):
        alignment.choose([a, c], "test")
    with pytest.raises(UserError, match="no such workdir"):
        alignment.choose([a, tmp_path / "none"], "")


@pytest.mark.parametrize("multi_label", [False, True])
def test_page_and_numbers(tmp_path, monkeypatch, capfd, multi_label):
    weak, strong = (
        evaluated.scored(120, multi_label=multi_label, seed=seed, skill=skill)
        for seed, skill in ((1, 0.3), (2, 4.0))
    )
    runs = [
        evaluated.write_run(tmp_path / "weak <b>", weak),
        evaluated.write_run(tmp_path / "strong", shuffled(strong)),
    ]
    assert tiny.call(monkeypatch, "compare", *runs) == 0
    captured = capfd.readouterr()
    (paired,) = json.loads(captured.out)["paired"].values()
    name = "roc_auc" if multi_label else "accuracy"
    assert paired["metrics"][name]["difference"] > 0.1
    assert paired["metrics"][name]["low"] > 0
    assert "strong minus weak <b>, on 120 clips" in captured.err
    page = (runs[0] / "compare.html").read_text()
    assert "weak &lt;b&gt;" in page
    assert "weak <b>" not in page
    assert f"{paired['metrics'][name]['difference']:+.3f}" in page
    assert "40 groups" in page
    assert "McNemar" in page
    assert "The same settings" in page


def test_page_of_three_evaluations_of_earlier_versions(tmp_path, monkeypatch):
    runs = [
        evaluated.write_old(tmp_path / run / "eval-test", evaluated.scored(40, seed=seed)).parent
        for seed, run in enumerate("abc")
    ]
    assert compare.run(runs, "", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    assert "3 runs compared" in page
    assert "a run has no config.json" in page


def test_mistakes_are_one_line(tmp_path, monkeypatch, capfd):
    a, b = (evaluated.write(tmp_path / run / "eval-test", evaluated.scored()).parent
            for run in "ab")  # fmt: skip
    other = evaluated.write(tmp_path / "c/eval-test", evaluated.scored(31)).parent

    def message(*arguments: str | Path) -> str:
        assert tiny.call(monkeypatch, "compare", *arguments) == 1
        captured = capfd.readouterr()
        (line,) = [s for s in captured.err.splitlines() if s.startswith("deepgenre: ")]
        assert not captured.out
        return line

    assert "give two runs or more" in message(a)
    assert "is given twice" in message(a, b, a)
    assert "its clips are not those of" in message(a, other)
    (tmp_path / "file").write_text("")
    assert "give another one" in message(a, b, f"--output={tmp_path}/file/x.html")

"""Cross-validation: parts of each fold, results of a small run, resumption."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict
from sklearn.metrics import accuracy_score

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config
from deepgenre.data.parts import parts_for_evaluation, split_rows
from deepgenre.data.store import Measured, Row
from deepgenre.errors import UserError
from deepgenre.evaluation.clips import of_parts
from deepgenre.evaluation.ledger import consultations
from deepgenre.evaluation.report import alignment, evaluations
from deepgenre.training import cross_validation, train
from deepgenre.weights import loading
from deepgenre.weights.spec import Spec

LABELS = ("high", "low", "mid")


def rows(num_groups: int, clips_per_group: int = 3) -> list[Row]:
    """Returns clips of groups of one label each; every sixth group is in the author's test part."""
    return [
        Row(
            key=f"{group:02d}/{clip}",
            labels=(LABELS[group % 3],),
            group=str(group),
            split="test" if group % 6 == 5 else "train",
            measured=Measured(f"{group:02d}/{clip}", 10, 4, 1.0, 1.0, 1, 1),
        )
        for group in range(num_groups)
        for clip in range(clips_per_group)
    ]


def settings(**changes: object) -> Config:
    return ConfigDict(
        {**defaults.get_config().to_dict(), "dataset": "folder", "split": "as_given", **changes}
    )


def spec_of(config: Config) -> Spec:
    return Spec(
        model="short_cnn",
        network={},
        classes=LABELS,
        multi_label=False,
        frontend=FrontEnd(),
        mean=0.0,
        deviation=1.0,
        window_frames=10,
        hop_frames=10,
        clip_seconds=1.0,
        config=config.to_dict(),
    )


def groups_of(part: Sequence[Row]) -> set[str]:
    return {row.group for row in part}


def test_every_clip_outside_the_test_part_is_held_out_once():
    clips = rows(72)
    held_out: list[str] = []
    for fold in range(5):
        parts = split_rows(settings(folds=5, fold=fold), clips, LABELS, multi_label=False)
        assert set(parts) == {"train", "valid", "held_out"}
        for first, second in (("train", "valid"), ("train", "held_out"), ("valid", "held_out")):
            assert not groups_of(parts[first]) & groups_of(parts[second])
        assert all({row.labels[0] for row in part} == {*LABELS} for part in parts.values())
        held_out += [row.key for row in parts["held_out"]]
    assert sorted(held_out) == [row.key for row in clips if row.split != "test"]


def test_the_default_part_of_a_fold_is_the_held_out_one():
    config = settings(folds=3, fold=1)
    expected = split_rows(config, rows(36), LABELS, multi_label=False)["held_out"]
    parts = parts_for_evaluation(config, rows(36), LABELS, multi_label=False)
    chosen = of_parts(spec_of(config), Path(), parts, "")
    assert (chosen.part, chosen.rows, chosen.test_of) == ("held_out", expected, "")


@pytest.mark.parametrize("split", ["as_given", "group_random"])
def test_weights_of_a_fold_can_be_evaluated_on_the_test_part(split):
    config, clips = settings(split=split, folds=3, fold=1), rows(36)
    test = split_rows(settings(split=split), clips, LABELS, multi_label=False)["test"]
    parts = parts_for_evaluation(config, clips, LABELS, multi_label=False)
    assert of_parts(spec_of(config), Path(), parts, "test").rows == test
    for part in ("test", "all"):
        chosen = of_parts(spec_of(config), Path(), parts, part, rows=clips)
        assert chosen.test_of == f"folder {split} 0"


def test_too_few_groups_and_wrong_numbers_are_errors():
    with pytest.raises(UserError, match="fewer folds"):
        split_rows(settings(folds=5, fold=0), rows(4), LABELS, multi_label=False)
    for folds, fold in ((1, -1), (5, 5), (0, 0), (-1, -1)):
        with pytest.raises(UserError, match=r"config\.fold"):
            defaults.check(settings(folds=folds, fold=fold))
    defaults.check(settings(folds=5, fold=4))


@pytest.fixture(scope="module")
def validated(tones, tmp_path_factory):
    """Returns the workdir of a cross-validation in two folds, its flags and its printed report."""
    workdir = tmp_path_factory.mktemp("folds") / "run"
    flags = [*tiny.settings(tones, "--config.folds=2"), f"--workdir={workdir}"]
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *values, **_: printed.append(str(values[0])))
        assert tiny.call(patch, *flags) == 0
    return workdir, flags, json.loads(printed[-1])


def test_each_clip_has_the_scores_of_the_network_that_did_not_train_on_it(validated, tones):
    workdir, _, report = validated
    with np.load(workdir / "scores.npz") as merged:
        keys, folds, scores = merged["key"], merged["fold"], merged["scores"]
        accuracy = accuracy_score(merged["labels"], scores.argmax(axis=1))
    assert len(keys) == len({*keys}) == 24 - _num_test(tones)
    assert report["pooled"]["accuracy"] == pytest.approx(accuracy)
    for fold in (0, 1):
        spec = loading.load(str(cross_validation.fold_folder(workdir, fold))).spec
        assert (spec.config["folds"], spec.config["fold"]) == (2, fold)
        with np.load(workdir / f"fold-{fold}" / "eval-held_out" / "scores.npz") as own:
            np.testing.assert_array_equal(own["key"], keys[folds == fold])
            np.testing.assert_array_equal(own["scores"], scores[folds == fold])


def _num_test(tones) -> int:
    from deepgenre.data.datasets import read_dataset

    config = settings(split="group_random")
    clips = read_dataset(config, tones).clips
    measured = [
        Row(clip.key, clip.labels, clip.group, "", Measured(clip.key, 1, 1, 0, 0, 0, 0))
        for clip in clips
    ]
    return len(split_rows(config, measured, LABELS, multi_label=False)["test"])


def test_mean_and_spread_are_over_folds(validated):
    _, _, report = validated
    accuracies = [fold["accuracy"] for fold in report["folds"]]
    summary = report["spread"]["accuracy"]
    assert summary["n"] == 2
    assert summary["mean"] == pytest.approx(np.mean(accuracies))
    assert summary["spread"] == pytest.approx(np.std(accuracies, ddof=1))
    lines = cross_validation.table(report["folds"])
    assert len(lines) == 4
    assert f"{np.mean(accuracies):.4f} +- {np.std(accuracies, ddof=1):.4f}" in lines[-1]


def test_scores_out_of_fold_are_compared_and_folds_are_reported(validated):
    workdir, _, report = validated
    assert alignment.choose([workdir], "") == [workdir]
    one = evaluations.read(workdir)
    accuracy = one.values["accuracy"]
    assert accuracy["value"] == pytest.approx(report["pooled"]["accuracy"])
    low, value, high = (accuracy[name] for name in ("low", "value", "high"))
    assert low is not None
    assert value is not None
    assert high is not None
    assert low <= value <= high
    assert sum(row["support"] for row in one.per_class) == report["pooled"]["clips"]
    with pytest.raises(
        UserError, match=r"cross-validation; give a fold, e\.g\. --workdir=.*fold-0"
    ):
        evaluations.folders(workdir)


def test_a_finished_fold_is_not_trained_again(validated, monkeypatch, capsys):
    _, flags, report = validated
    trained = []
    monkeypatch.setattr(
        "deepgenre.training.loop.compile_train_step", lambda *args, **kwargs: trained.append(args)
    )
    assert tiny.call(monkeypatch, *flags) == 0
    assert not trained
    assert json.loads(capsys.readouterr().out) == report


def test_cross_validation_consults_no_test_part(validated):
    workdir, _, _ = validated
    assert not list(workdir.rglob("eval-test"))
    assert not any(consultations(folder) for folder in (workdir, *workdir.glob("fold-*")))


def test_all_folds_at_once_are_refused_where_one_network_is_trained(tones, tmp_path):
    with pytest.raises(UserError, match=r"config\.fold=0"):
        train.train(settings(folds=2), tones, tmp_path)

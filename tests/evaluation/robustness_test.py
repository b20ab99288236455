"""Mode robustness: on a trained network and its audio, and the comparison by hand."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import tiny

from deepgenre.audio.perturbations import PERTURBATIONS
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation import ledger, robustness
from deepgenre.weights import loading


def test_changes_and_agreement_by_hand():
    clean = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
    noisy = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], np.float32)
    labels = np.array([0, 0, 1, 1], np.int32)
    groups = np.array(["a", "b", "c", "d"])
    results = robustness.compare({"unchanged": clean, "noise 0.4": noisy}, labels, groups, False)
    assert results["unchanged"]["change"] == 0
    assert results["unchanged"]["same_top"] == 1
    noise = results["noise 0.4"]
    assert (noise["family"], noise["metric"], noise["same_top"]) == ("noise", "accuracy", 0.5)
    assert noise["metrics"]["accuracy"] == 0.75
    assert noise["change"] == 0
    lines = robustness.table(results)
    interval = [f"{noise['low']:+.3f}", "to", f"{noise['high']:+.3f}"]
    expected = ["noise", "0.4", "0.750", "+0.000", *interval, f"{_loss(noise):.3f}", "0.50"]
    assert lines[2].split() == expected
    assert len({len(line) for line in lines}) == 1  # columns are aligned


def test_intervals_of_changes_are_paired_and_resample_artists():
    """One clip of four is lost, of which an artist has two: an interval by hand."""
    clean = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]], np.float32)
    worse = clean.copy()
    worse[0] = [0.4, 0.6]
    labels, own = np.array([0, 0, 1, 1], np.int32), np.array(["a", "b", "c", "d"])
    scores = {"unchanged": clean, "noise 0.4": worse}
    changed = robustness.compare(scores, labels, own, False)
    noise, unchanged = changed["noise 0.4"], changed["unchanged"]
    assert (unchanged["low"], unchanged["high"]) == (0, 0)
    assert (noise["change"], noise["low"], noise["high"]) == (-0.25, -0.75, 0)  # Bin(4, 1/4) / 4
    artists = np.array(["a", "a", "b", "b"])
    of_artists = robustness.compare(scores, labels, artists, False)["noise 0.4"]
    assert (of_artists["low"], of_artists["high"]) == (-0.5, 0)  # Bin(2, 1/2) / 4


def _loss(result: dict) -> float:
    return result["metrics"]["loss"]


def test_tags_are_compared_by_area_under_the_roc_curve():
    clean = np.array([[0.9, 0.1], [0.2, 0.7]], np.float32)
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    results = robustness.compare(
        {"unchanged": clean, "gain -20 dB": clean[::-1]}, labels, np.array(["a", "b"]), True
    )
    assert results["gain -20 dB"]["metric"] == "roc_auc"
    assert results["gain -20 dB"]["change"] == -1
    assert "average_precision" in robustness.table(results)[0]


@pytest.fixture(scope="module")
def measured(trained, tones, tmp_path_factory):
    """Returns the workdir and exit code of the mode on the validation part of `trained`."""
    workdir = tmp_path_factory.mktemp("robustness")
    with pytest.MonkeyPatch.context() as patch:
        flags = [f"--weights={trained}", f"--data_dir={tones}", f"--workdir={workdir}"]
        code = tiny.call(patch, "robustness", *flags, "--eval_split=valid")
    return workdir / "robustness-valid", code


def test_unchanged_clips_have_the_scores_of_the_stored_clips(measured, trained):
    folder, code = measured
    assert code == 0
    with (
        np.load(folder / "scores.npz") as found,
        np.load(trained / "eval-valid" / "scores.npz") as stored,
    ):
        order = np.argsort(stored["key"])
        assert found["key"].tolist() == stored["key"][order].tolist()
        np.testing.assert_array_equal(found["labels"], stored["labels"][order])
        assert found["perturbation"][0] == "unchanged"
        np.testing.assert_allclose(found["scores"][0], stored["scores"][order], atol=1e-3)
        low_pass = [*found["perturbation"]].index("low-pass 2 kHz")
        assert np.abs(found["scores"][low_pass] - found["scores"][0]).max() > 0.01


def test_the_files_of_a_finished_run(measured):
    folder, _ = measured
    results = json.loads((folder / "robustness.json").read_text())
    missing = not shutil.which("ffmpeg")
    expected = [name for name, row in PERTURBATIONS.items() if not (missing and row.needs_ffmpeg)]
    assert [*results] == expected
    assert (folder / "robustness.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / robustness.PARTIAL).exists()
    assert not ledger.consultations(folder.parent)  # valid is not test


@pytest.fixture
def few(monkeypatch) -> None:
    """Only two quick perturbations."""
    rows = {name: PERTURBATIONS[name] for name in ("unchanged", "gain -20 dB")}
    monkeypatch.setattr(robustness, "PERTURBATIONS", rows)


def test_the_test_part_is_recorded_in_the_ledger(few, trained, tones, tmp_path):
    assert robustness.run(loading.load(str(trained)), "trained", tones, "", tmp_path) == 0
    assert (tmp_path / "robustness-test" / "robustness.json").exists()
    (entry,) = ledger.consultations(tmp_path)
    assert (entry.part, entry.data) == ("test", "folder group_random 0")


def test_trained_clips_are_named_and_other_weights_keep_their_results(
    few, trained, tones, tmp_path, capsys
):
    weights = loading.load(str(trained))
    assert robustness.run(weights, "one", tones, "all", tmp_path) == 0
    evaluation = json.loads((tmp_path / "robustness-all" / "evaluation.json").read_text())
    clips, shared = evaluation["clips"], evaluation["leakage"]["same_clip"]["clips"]
    assert (evaluation["part"], evaluation["weights"]["source"]) == ("all", "one")
    assert 0 < shared < clips
    warning = f"the weights were trained on {shared} of these {clips} clips"
    assert warning in capsys.readouterr().err
    first = (tmp_path / "robustness-all" / "robustness.json").read_bytes()
    halved = {
        **weights.variables,
        "params": jax.tree.map(lambda x: x / 2, weights.variables["params"]),
    }
    other = dataclasses.replace(weights, variables=halved)
    assert robustness.run(other, "two", tones, "all", tmp_path) == 0
    assert (tmp_path / "robustness-all" / "robustness.json").read_bytes() == first
    assert (tmp_path / "robustness-all-2" / "robustness.json").read_bytes() != first
    assert robustness.run(weights, "one", tones, "all", tmp_path) == 0  # the same again: replaced
    assert (tmp_path / "robustness-all" / "robustness.json").read_bytes() == first
    assert not (tmp_path / "robustness-all-3").exists()


def test_a_stopped_run_resumes_with_the_same_result(few, trained, tones, tmp_path, monkeypatch):
    weights = loading.load(str(trained))
    robustness.run(weights, "trained", tones, "valid", tmp_path / "whole")
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(robustness, "stop_requests", _StopAtOnce)
        with pytest.raises(InterruptedRunError, match=r"stopped after 1 of \d+ clips"):
            robustness.run(weights, "trained", tones, "valid", tmp_path / "stopped")
    means = robustness._means
    monkeypatch.setattr(robustness, "_means", lambda *own: calls.append(1) or means(*own))
    with (tmp_path / "stopped/robustness-valid" / robustness.PARTIAL).open("a") as stream:
        stream.write('{"key": ')  # half-written
    assert robustness.run(weights, "trained", tones, "valid", tmp_path / "stopped") == 0
    read = [
        np.load(tmp_path / name / "robustness-valid" / "scores.npz")["scores"]
        for name in ("whole", "stopped")
    ]
    np.testing.assert_allclose(read[0], read[1], atol=1e-6)
    assert len(calls) == read[0].shape[1] - 1


class _StopAtOnce:
    """As `interrupt.stop_requests` after a first interrupt."""

    def __enter__(self):
        return lambda: True

    def __exit__(self, *_):
        return None


def test_an_unreadable_clip_is_named_and_the_others_are_measured(
    few, trained, tones, tmp_path, capsys
):
    music = tmp_path / "music"
    shutil.copytree(tones, music)
    weights = loading.load(str(trained))
    broken = sorted(music.glob("low/*.wav"))[0]
    broken.write_bytes(b"RIFF no audio")
    assert robustness.run(weights, "trained", music, "all", tmp_path) == 1
    assert f"skipped: {broken}" in capsys.readouterr().err
    with np.load(tmp_path / "robustness-all" / "scores.npz") as found:
        assert len(found["key"]) == len([*music.glob("*/*.wav")]) - 1


def test_spectrograms_are_refused(trained, tmp_path):
    path = tmp_path / "clips.npz"
    np.savez(
        path,
        mel=np.zeros((4, 16, 400), np.uint8),
        name=[*"abcd"],
        label=["low", "low", "mid", "mid"],
    )
    with pytest.raises(UserError, match="requires audio files"):
        robustness.run(loading.load(str(trained)), "trained", path, "all", tmp_path)

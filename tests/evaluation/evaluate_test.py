"""Mode `eval`: what it evaluates, where it writes, other datasets and several weights."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre.evaluation import evaluate, evaluation_files
from deepgenre.weights import loading, weight_file


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Returns the function that runs `eval` in a folder of its own: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = tiny.call(monkeypatch, "--mode=eval", *arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def own_run(trained, tmp_path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def weights_of(trained):
    """Returns the function that writes weights of the run, slightly changed, as a file."""

    def write(path: Path, scale: float = 1.0) -> Path:
        weights = loading.load(str(trained))
        last = list(weights.variables["params"].values())[-1]
        last["kernel"] = last["kernel"] * scale
        weight_file.write(path, weights, dtype="float32")
        return path

    return write


def strict(path: Path):
    """Returns the content of a JSON file without NaN or infinity."""

    def refuse(name: str):
        raise AssertionError(f"{name} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_files_of_an_evaluation(command, own_run, tones):
    code, output, _ = command(f"--weights={own_run}", f"--data_dir={tones}", "--eval_split=all")
    assert code == 0
    folder = own_run / "eval-all"
    assert strict(folder / "metrics.json") == json.loads(output)
    evaluation = strict(folder / "evaluation.json")
    assert evaluation["dataset"] == "folder"
    assert evaluation["split"] == "group_random"
    assert evaluation["part"] == "all"
    assert evaluation["multi_label"] is False
    assert evaluation["clips"] == 24
    assert evaluation["excluded_clips"] == {}
    assert set(evaluation["weights"]) == {"source", "fingerprint", "step"}
    accuracy = evaluation["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] == json.loads(output)["accuracy"]
    assert accuracy["chance"] == pytest.approx(1 / 3)
    assert evaluation["metrics_by_group_bootstrap"] == {}  # each clip is a group of its own
    assert evaluation["tracks"] == {}
    assert [row["class"] for row in evaluation["per_class"]] == ["high", "low", "mid"]
    assert [row["support"] for row in evaluation["per_class"]] == [8, 8, 8]
    assert np.sum(evaluation["confusion"]) == 24
    assert evaluation["leakage"]["same_clip"]["clips"] == evaluation["leakage"]["train_clips"] > 0
    with np.load(folder / "scores.npz") as arrays:
        assert arrays["key"].shape == arrays["group"].shape == arrays["track"].shape == (24,)
        assert arrays["scores"].dtype == np.float32
        assert arrays["scores"].shape == (24, 3)
        assert arrays["labels"].dtype == np.int32
        assert arrays["classes"].tolist() == ["high", "low", "mid"]
    scored = evaluation_files.read_scores(folder)
    assert scored.classes == ("high", "low", "mid")
    assert not scored.multi_label


def test_output_goes_to_the_run_and_replaces_no_other_evaluation(
    command, own_run, tones, weights_of, tmp_path
):
    arguments = [f"--data_dir={tones}", "--eval_split=valid"]
    before = (own_run / "eval-valid" / "evaluation.json").read_text()
    assert command(f"--weights={own_run}", *arguments)[0] == 0  # the same evaluation as by train
    assert not (own_run / "eval-valid-2").exists()
    other = weights_of(tmp_path / "other.safetensors", scale=1.1)
    _, _, errors = command(f"--weights={other}", f"--workdir={own_run}", *arguments)
    assert f"{own_run}/eval-valid holds another evaluation: writing to" in errors
    assert (own_run / "eval-valid-2" / "scores.npz").exists()
    old = json.loads(before)
    new = strict(own_run / "eval-valid" / "evaluation.json")
    assert new["weights"]["fingerprint"] == old["weights"]["fingerprint"]
    assert new["metrics"] == old["metrics"]
    assert not (tmp_path / "runs").exists()


def test_weights_of_a_file_have_a_place_of_their_own(command, tones, weights_of, tmp_path):
    file = weights_of(tmp_path / "mine.safetensors")
    assert command(f"--weights={file}", f"--data_dir={tones}")[0] == 0
    assert (tmp_path / "evaluations" / "mine" / "eval-test" / "metrics.json").exists()


def test_output_that_holds_another_evaluation_is_kept(command, trained, tones, tmp_path):
    arguments = [f"--weights={trained}", f"--data_dir={tones}", f"--output={tmp_path / 'out'}"]
    assert command(*arguments, "--eval_split=valid")[0] == 0
    before = (tmp_path / "out" / "evaluation.json").read_bytes()
    code, _, errors = command(*arguments, "--eval_split=test")
    assert code == 1
    assert "out holds another evaluation (valid of folder" in errors.splitlines()[-1]
    assert (tmp_path / "out" / "evaluation.json").read_bytes() == before
    assert command(*arguments, "--eval_split=valid")[0] == 0
    (tmp_path / "file").touch()
    code, _, errors = command(*arguments[:2], f"--output={tmp_path / 'file'}")
    assert code == 1
    assert "file is a file; give a folder" in errors.splitlines()[-1]


@pytest.fixture
def other_music(tmp_path) -> Path:
    """A folder with two of the weights' classes under other names, and one that they lack."""
    music = tiny.compose(tmp_path / "elsewhere" / "music", clips_per_genre=3, seconds=2.0)
    (music / "low").rename(music / "L-o w")
    (music / "mid").rename(music / "centre")
    shutil.copytree(music / "high", music / "strange")
    return music


def other_data(music: Path) -> list[str]:
    return [tiny.SETTINGS[0], f"--data_dir={music}", "--eval_split=all"]


def test_other_data_are_matched_by_name_and_mapping(command, own_run, other_music, tmp_path):
    mapping = tmp_path / "names.txt"
    mapping.write_text("# theirs = ours\nCentre = mid\n")
    code, _, errors = command(
        f"--weights={own_run}", *other_data(other_music), f"--mapping={mapping}"
    )
    assert code == 0
    assert "classes: 3 of 4 labels of the data matched" in errors
    assert "  L-o w    = low  (3 clips)" in errors
    assert "  centre   = mid  (3 clips)" in errors
    assert "  strange  -  (3 clips)" in errors
    evaluation = strict(own_run / "eval-folder-all" / "evaluation.json")
    assert evaluation["clips"] == 9
    assert evaluation["excluded_clips"] == {"no_class": 3}
    assert evaluation["matching"] == {
        "L-o w": "low",
        "centre": "mid",
        "high": "high",
        "strange": "",
    }
    assert evaluation["leakage"]["train_clips"] is None
    assert list((tmp_path / "data" / "store").iterdir())  # the default place


def test_other_data_with_unmatched_labels_can_be_refused(command, trained, other_music):
    arguments = [f"--weights={trained}", *other_data(other_music)]
    code, _, errors = command(*arguments, "--noexclude_unknown")
    assert code == 1
    assert "no class of these weights matches centre, strange" in errors.splitlines()[-1]


def test_mapping_to_an_unknown_class(command, trained, other_music, tmp_path):
    (tmp_path / "names.txt").write_text("centre = middle\n")
    code, _, errors = command(
        f"--weights={trained}", *other_data(other_music), f"--mapping={tmp_path / 'names.txt'}"
    )
    assert code == 1
    assert "--mapping: 'middle' is no class of these weights; known: high" in errors
    code, _, errors = command(f"--weights={trained}", f"--mapping={tmp_path / 'names.txt'}",
                              f"--data_dir={other_music}", "--exclude_unknown")  # fmt: skip
    assert code == 1
    assert "give their config with --config" in errors


def test_data_without_any_known_class(command, trained, other_music):
    for name in ("high", "L-o w"):
        shutil.rmtree(other_music / name)
    code, _, errors = command(f"--weights={trained}", *other_data(other_music))
    assert code == 1
    assert "none of the labels (centre, strange) is a class of these weights" in errors


def test_unknown_classes_are_left_out_and_counted(command, trained, other_music, tmp_path):
    for name in ("L-o w", "centre"):
        shutil.rmtree(other_music / name)
    arguments = [f"--weights={trained}", f"--data_dir={other_music}", "--eval_split=all"]
    code, _, errors = command(*arguments)
    assert code == 1
    assert "'strange' is not among the classes of these weights: high, low, mid" in errors
    assert "--exclude_unknown leaves out such clips (3 of 6)" in errors
    output = f"--output={tmp_path / 'out'}"
    code, printed, errors = command(*arguments, "--exclude_unknown", output)
    assert code == 0
    assert "left out: 3 clips of 'strange'" in errors
    assert "all clips are of one class" in errors
    assert json.loads(printed)["clips"] == 3
    assert strict(tmp_path / "out" / "evaluation.json")["excluded_clips"] == {"unknown_class": 3}


def test_other_clips_are_not_prepared_in_the_store_of_the_run(command, trained, tones, tmp_path):
    music = tiny.compose(tmp_path / "new" / "music", clips_per_genre=3, seconds=1.9)
    store = tones.parent / "store"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    code, _, errors = command(f"--weights={trained}", f"--data_dir={music}", "--eval_split=all",
                              f"--output={tmp_path / 'out'}")  # fmt: skip
    assert code == 0
    assert f"{store} holds other clips; preparing these in data/store/folder-" in errors
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_several_weights_give_mean_and_spread(command, tones, weights_of, tmp_path):
    files = [weights_of(tmp_path / f"{name}.safetensors", scale)
             for name, scale in (("a", 1.0), ("b", -1.0), ("c", 1.0))]  # fmt: skip
    arguments = [f"--weights={','.join(map(str, files))}", f"--data_dir={tones}"]
    code, output, errors = command(*arguments, "--eval_split=all")
    assert code == 0
    summary = json.loads(output)
    accuracies = [summary["weights"][name]["accuracy"] for name in "abc"]
    assert accuracies[0] == accuracies[2] != accuracies[1]
    assert summary["spread"]["accuracy"] == {
        "mean": pytest.approx(np.mean(accuracies)),
        "spread": pytest.approx(np.std(accuracies, ddof=1)),
        "n": 3,
    }
    assert "clips" not in summary["spread"]
    assert summary["same_clips"]
    assert "(n = 3)" in errors
    assert "different clips" not in errors
    path = tmp_path / "evaluations" / "a,b,c" / "eval-all" / "spread.json"
    assert strict(path) == summary
    for name in "abc":
        assert (tmp_path / "evaluations" / name / "eval-all" / "scores.npz").exists()


def test_several_weights_on_clips_of_their_own_are_not_taken_for_the_same(
    command, trained, tones, tmp_path
):
    for seed in (0, 1):
        weights = loading.load(str(trained))
        spec = dataclasses.replace(weights.spec, config={**weights.spec.config, "seed": seed})
        own = dataclasses.replace(weights, spec=spec)
        weight_file.write(tmp_path / f"{seed}.safetensors", own, dtype="float32")
    both = f"--weights={tmp_path / '0.safetensors'},{tmp_path / '1.safetensors'}"
    code, output, errors = command(both, f"--data_dir={tones}", "--eval_split=test")
    assert (code, json.loads(output)["same_clips"]) == (0, False)
    assert "evaluated on different clips" in errors


def test_checkpoints_of_a_run_are_evaluated_beside_it(command, own_run, tones):
    steps = sorted(path for path in (own_run / "checkpoints").iterdir() if path.name.isdigit())
    assert (
        command(f"--weights={steps[-1]}", f"--data_dir={tones}", "--eval_split=Validation")[0] == 0
    )
    assert list((own_run).glob("**/eval-valid/evaluation.json"))


def test_spread_leaves_out_what_is_undefined():
    results = [{"roc_auc": 0.5, "clips": 3}, {"roc_auc": float("nan"), "clips": 3}]
    assert evaluate.spread(results)["roc_auc"]["n"] == 1
    assert evaluate.spread(results)["roc_auc"]["mean"] == 0.5


def test_config_that_only_names_the_run_is_not_ignored_in_silence(
    command, own_run, tones, tmp_path
):
    (tmp_path / "runs").mkdir()
    own_run.rename(tmp_path / "runs" / "folder")
    arguments = [tiny.SETTINGS[0], f"--data_dir={tones}"]
    code, _, errors = command(*arguments, "--config.seed=3")
    assert code == 0
    assert "--config without --weights names the run" in errors
    assert "seed: 0, not 3" in errors
    assert "names the run" not in command(*arguments)[2]


def test_training_logs_accuracy_of_both_parts(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    for split in ("train", "valid"):
        logged = [line for line in lines if line["split"] == split]
        assert {line["epoch"] for line in logged} >= {1.0, 2.0}
        assert all(0 <= line["accuracy"] <= 1 for line in logged)

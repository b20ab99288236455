"""Mode `calibrate`: the temperature fitted on the validation part, and predictions with it."""

import json

import numpy as np
import pytest
import tiny
from safetensors import safe_open

from deepgenre.evaluation import calibrate, calibration
from deepgenre.weights import loading, weight_file


@pytest.fixture(scope="module")
def calibrated(trained, tones, tmp_path_factory):
    """Returns the path of weights with a temperature, and the printed report."""
    output = tmp_path_factory.mktemp("calibrated") / "mine.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *values, **_: printed.append(*values))
        arguments = [f"--weights={trained}", f"--data_dir={tones}", f"--output={output}"]
        assert tiny.call(patch, "--mode=calibrate", *arguments) == 0
    return output, json.loads(printed[-1])


def test_temperature_is_fitted_on_the_validation_part(
    calibrated, trained, tones, tmp_path, monkeypatch
):
    output, report = calibrated
    evaluate = ["--mode=eval", f"--weights={trained}", f"--data_dir={tones}"]
    assert tiny.call(monkeypatch, *evaluate, "--eval_split=valid", f"--workdir={tmp_path}") == 0
    with np.load(tmp_path / "eval-valid" / "scores.npz") as valid:
        scores, labels = valid["scores"], valid["labels"]
    expected = calibration.fit_temperature(scores, labels, multi_label=False)
    assert report["temperature"] == pytest.approx(expected, rel=1e-3)
    before = calibration.calibration_error(scores, labels, multi_label=False)
    assert report["calibration_error_before"] == pytest.approx(before, abs=1e-5)
    assert report["calibration_loss"] <= report["calibration_loss_before"]
    weights = loading.load(str(output))
    assert weights.spec.temperature == report["temperature"] != 1
    assert weights.metrics["calibration_error"] == report["calibration_error"]


def test_predictions_are_calibrated(calibrated, trained, tones, tmp_path, monkeypatch):
    output, report = calibrated
    song, lines = tones / "mid" / "003.wav", []
    for source in (trained, output):
        predictions = tmp_path / "predictions.jsonl"
        predict = ["--mode=predict", f"--weights={source}", f"--output={predictions}", song]
        assert tiny.call(monkeypatch, *predict) == 0
        lines.append([*json.loads(predictions.read_text())["scores"].values()])
    before, after = np.array(lines)
    expected = calibration.calibrate(before, report["temperature"], multi_label=False)
    np.testing.assert_allclose(after, expected, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_weights_without_a_temperature_field_have_temperature_1(trained, tmp_path):
    path = tmp_path / "old.safetensors"
    weight_file.write(path, loading.load(str(trained)), dtype="float32")
    with safe_open(path, framework="numpy") as stream:
        about = json.loads(stream.metadata()["deepgenre"])
    assert about["spec"].pop("temperature") == 1
    from deepgenre.weights import spec

    assert spec.from_json(about["spec"]).temperature == 1


def test_clips_of_the_training_part_are_refused(trained, tones, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(calibrate, "PART", "train")
    output = tmp_path / "x.safetensors"
    arguments = [f"--weights={trained}", f"--data_dir={tones}", f"--output={output}"]
    assert tiny.call(monkeypatch, "--mode=calibrate", *arguments) == 1
    assert "were trained on clips of part 'train'" in capfd.readouterr().err
    assert not output.exists()

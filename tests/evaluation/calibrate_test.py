"""Mode `calibrate`: a temperature in the weights, fitted on the validation part; and its use."""

import json

import numpy as np
import pytest
import tiny
from safetensors import safe_open

from deepgenre.evaluation import calibration
from deepgenre.weights import loading, weight_file


@pytest.fixture(scope="module")
def calibrated(trained, tones, tmp_path_factory):
    """Returns weights with a temperature, and what calibrating printed."""
    output = tmp_path_factory.mktemp("calibrated") / "mine.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *values, **_: said.append(*values))
        arguments = [f"--weights={trained}", f"--data_dir={tones}", f"--output={output}"]
        assert tiny.call(patch, "--mode=calibrate", *arguments) == 0
    return output, json.loads(said[-1])


def test_the_temperature_is_that_of_the_validation_part(
    calibrated, trained, tones, tmp_path, monkeypatch
):
    output, found = calibrated
    evaluate = ["--mode=eval", f"--weights={trained}", f"--data_dir={tones}"]
    assert tiny.call(monkeypatch, *evaluate, "--eval_split=valid", f"--workdir={tmp_path}") == 0
    with np.load(tmp_path / "eval-valid" / "scores.npz") as valid:
        scores, labels = valid["scores"], valid["labels"]
    expected = calibration.fit_temperature(scores, labels, multi_label=False)
    assert found["temperature"] == pytest.approx(expected, rel=1e-3)
    before = calibration.calibration_error(scores, labels, multi_label=False)
    assert found["calibration_error_before"] == pytest.approx(before, abs=1e-5)
    assert found["calibration_loss"] <= found["calibration_loss_before"]
    weights = loading.load(str(output))
    assert weights.spec.temperature == found["temperature"] != 1
    assert weights.metrics["calibration_error"] == found["calibration_error"]


def test_predictions_are_calibrated(calibrated, trained, tones, tmp_path, monkeypatch):
    output, found = calibrated
    song, lines = tones / "mid" / "003.wav", []
    for source in (trained, output):
        heard = tmp_path / "heard.jsonl"
        predict = ["--mode=predict", f"--weights={source}", f"--output={heard}", song]
        assert tiny.call(monkeypatch, *predict) == 0
        lines.append([*json.loads(heard.read_text())["scores"].values()])
    plain, warm = np.array(lines)
    expected = calibration.calibrate(plain, found["temperature"], multi_label=False)
    np.testing.assert_allclose(warm, expected, atol=1e-5)
    assert np.abs(warm - plain).max() > 1e-3


def test_weights_written_before_there_were_temperatures_have_none(trained, tmp_path):
    path = tmp_path / "old.safetensors"
    weight_file.write(path, loading.load(str(trained)), dtype="float32")
    with safe_open(path, framework="numpy") as stream:
        about = json.loads(stream.metadata()["deepgenre"])
    assert about["spec"].pop("temperature") == 1
    from deepgenre.weights import spec

    assert spec.from_json(about["spec"]).temperature == 1

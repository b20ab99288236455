"""Mode `predict` on unusual input: long songs, silence, unusual names; and closed pipes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import tiny


def predictions_in(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_of_a_long_song_is_scored_except_silence(monkeypatch, trained, tmp_path):
    low, high = tiny.tone(110, 20.0, 1), tiny.tone(5000, 20.0, 2)
    songs = {
        "low.wav": low,
        "high.wav": high,
        "both.wav": np.concatenate([low, high]),
        "silent end.wav": np.concatenate([low, np.zeros(40 * tiny.RATE_HZ)]),
    }
    for name, samples in songs.items():
        soundfile.write(tmp_path / name, samples, tiny.RATE_HZ)
    output = tmp_path / "predictions.jsonl"
    predict = ["--mode=predict", f"--weights={trained}", f"--output={output}"]
    assert tiny.call(monkeypatch, *predict, *(tmp_path / name for name in songs)) == 0
    low, high, both, silent_end = (
        np.array([line["scores"][genre] for genre in tiny.PITCHES_HZ])
        for line in predictions_in(output)
    )
    assert np.abs(low - high).max() > 0.3
    np.testing.assert_allclose(both, (low + high) / 2, atol=0.02)
    np.testing.assert_allclose(silent_end, low, atol=0.02)


def test_names_of_any_encoding_in_training_and_prediction(monkeypatch, capfd, tones, tmp_path):
    music = tmp_path / "music"
    shutil.copytree(tones, music)
    (music / "low").rename(music / "$uicide$ 星 & \\frac{")  # must not be parsed as TeX in figures
    unusual = music / "mid" / os.fsdecode(b"\xff\xfe [live].wav")  # not UTF-8
    (music / "mid" / "000.wav").rename(unusual)
    run = tmp_path / "run"
    train = tiny.settings(music, "--config.num_epochs=1", f"--workdir={run}")
    assert tiny.call(monkeypatch, *train) == 0
    output = tmp_path / "predictions.jsonl"
    (tmp_path / "list.txt").write_bytes(os.fsencode(unusual))
    predict = ["--mode=predict", f"--weights={run}", f"--output={output}"]
    assert tiny.call(monkeypatch, *predict, tmp_path / "list.txt") == 0
    (line,) = predictions_in(output)
    assert line["path"] == str(unusual)
    assert "$uicide$ 星 & \\frac{" in line["scores"]
    table = tmp_path / "predictions.csv"
    assert tiny.call(monkeypatch, *predict, f"--output={table}", unusual) == 0
    assert "[live].wav" in table.read_text(encoding="utf-8")
    assert capfd.readouterr().out.count("[live].wav") == 2


def test_closed_pipe_is_not_an_error(trained, tones, tmp_path):
    predict = f"{sys.executable} -m deepgenre.main --mode=predict --weights={trained} {tones}"
    process = subprocess.run(
        ["bash", "-c", f"{predict} | head -1; exit ${{PIPESTATUS[0]}}"],
        check=False,
        cwd=tmp_path,
        env=tiny.environment(),
        text=True,
        capture_output=True,
    )
    assert process.stdout.count("\n") == 1
    assert process.returncode in (0, 141)  # 0 if all output fitted into the pipe
    assert "Traceback" not in process.stderr
    assert "Exception" not in process.stderr

"""What people keep in their music folders: odd names, long songs, silence; and closed pipes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import tiny


def heard_in(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_long_song_is_heard_to_its_end_and_silence_does_not_count(monkeypatch, trained, tmp_path):
    low, high = tiny.tone(110, 20.0, 1), tiny.tone(5000, 20.0, 2)
    songs = {
        "low.wav": low,
        "high.wav": high,
        "both.wav": np.concatenate([low, high]),
        "silent end.wav": np.concatenate([low, np.zeros(40 * tiny.RATE_HZ)]),
    }
    for name, samples in songs.items():
        soundfile.write(tmp_path / name, samples, tiny.RATE_HZ)
    output = tmp_path / "heard.jsonl"
    predict = ["--mode=predict", f"--weights={trained}", f"--output={output}"]
    assert tiny.call(monkeypatch, *predict, *(tmp_path / name for name in songs)) == 0
    low, high, both, silent_end = (
        np.array([line["scores"][genre] for genre in tiny.PITCHES_HZ]) for line in heard_in(output)
    )
    assert np.abs(low - high).max() > 0.3
    np.testing.assert_allclose(both, (low + high) / 2, atol=0.02)
    np.testing.assert_allclose(silent_end, low, atol=0.02)


def test_names_of_any_encoding_from_training_to_prediction(monkeypatch, capfd, tones, tmp_path):
    music = tmp_path / "music"
    shutil.copytree(tones, music)
    (music / "low").rename(music / "$uicide$ 星 & \\frac{")  # no formula, in figures either
    odd = music / "mid" / os.fsdecode(b"\xff\xfe [live].wav")  # no UTF-8
    (music / "mid" / "000.wav").rename(odd)
    run = tmp_path / "run"
    train = tiny.settings(music, "--config.num_epochs=1", f"--workdir={run}")
    assert tiny.call(monkeypatch, *train) == 0
    output = tmp_path / "heard.jsonl"
    (tmp_path / "list.txt").write_bytes(os.fsencode(odd))
    predict = ["--mode=predict", f"--weights={run}", f"--output={output}"]
    assert tiny.call(monkeypatch, *predict, tmp_path / "list.txt") == 0
    (line,) = heard_in(output)
    assert line["path"] == str(odd)
    assert "$uicide$ 星 & \\frac{" in line["scores"]
    assert tiny.call(monkeypatch, *predict, f"--output={tmp_path / 'heard.csv'}", odd) == 0
    assert "[live].wav" in (tmp_path / "heard.csv").read_text(encoding="utf-8")
    assert capfd.readouterr().out.count("[live].wav") == 2


def test_a_reader_that_leaves_early_is_no_error(trained, tones, tmp_path):
    hear = f"{sys.executable} -m deepgenre.main --mode=predict --weights={trained} {tones}"
    ended = subprocess.run(
        ["bash", "-c", f"{hear} | head -1; exit ${{PIPESTATUS[0]}}"],
        check=False,
        cwd=tmp_path,
        env=tiny.environment(),
        text=True,
        capture_output=True,
    )
    assert ended.stdout.count("\n") == 1
    assert ended.returncode in (0, 141)  # 0 where all fitted into the pipe before it was closed
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr

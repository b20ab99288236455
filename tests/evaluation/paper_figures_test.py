"""Mode `figures`: what is drawn from a dataset, songs and a run."""

import gzip
from pathlib import Path

import pytest
import tiny
from figures_test import texts

from deepgenre.config import get_config
from deepgenre.data.datasets import read_labels
from deepgenre.evaluation.figures import tags


def stems(folder: Path) -> set[str]:
    found = {path.stem for path in folder.glob("*.png")}
    assert found == {path.stem for path in folder.glob("*.svg")}
    return found


def test_of_a_run(trained, tones, tmp_path, monkeypatch, capfd):
    arguments = ("figures", f"--workdir={trained}", f"--data_dir={tones}", f"--output={tmp_path}")
    assert tiny.call(monkeypatch, *arguments) == 0
    kinds = ("confusion", "calibration")
    of_parts = {f"{kind}-{part}" for kind in kinds for part in ("valid", "test")}
    assert stems(tmp_path) == {"classes", "spectrogram", "network", "training"} | of_parts
    assert f"wrote 8 figures, as .png and .svg, to {tmp_path}" in capfd.readouterr().err


def test_of_a_run_that_is_not_yet_evaluated(trained, tones, tmp_path, monkeypatch, capfd):
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    out = tmp_path / "out"
    arguments = ("figures", f"--workdir={tmp_path}", f"--data_dir={tones}", f"--output={out}")
    assert tiny.call(monkeypatch, *arguments) == 0
    assert stems(out) == {"classes", "spectrogram", "network", "training"}
    errors = capfd.readouterr().err
    assert f"not drawn: confusion, tags, calibration: {tmp_path}: contains no evaluation" in errors
    assert "wrote 4 figures" in errors


def test_of_annotations_without_audio(tmp_path, monkeypatch, capfd):
    rows = ["clip_id\tguitar\tslow\tloud\tmp3_path", "1\t1\t0\t0\t0/a.mp3", "2\t1\t1\t0\t1/b.mp3"]
    with gzip.open(tmp_path / "annotations_final.csv.gz", "wt") as stream:
        stream.write("\n".join(rows) + "\n")
    mtat = ("figures", "--config=mtat", f"--data_dir={tmp_path}", f"--output={tmp_path / 'out'}")
    assert tiny.call(monkeypatch, *mtat, "--config.top_tags=1") == 0
    assert stems(tmp_path / "out") == {"classes", "classes-top1", "network"}
    assert "not drawn: spectrogram" in capfd.readouterr().err


def test_of_songs(tones, tmp_path, monkeypatch, capfd):
    songs = [tones / "low/000.wav", tones / "mid/000.wav"]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    out = tmp_path / "out"
    arguments = ("figures", "--config=gtzan", f"--data_dir={tmp_path}", f"--output={out}")
    assert tiny.call(monkeypatch, *arguments, *songs, bad) == 1
    assert stems(out) == {"spectrogram-000", "spectrogram-000-2"}
    errors = capfd.readouterr().err
    assert f"skipped: {bad}" in errors
    assert "not drawn: classes" in errors
    assert "not drawn: network" in errors


def test_mistakes_are_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for arguments, reason in (
        (["figures"], "give --config, or --workdir of a run"),
        (["figures", "--config=gtzan"], "nothing could be drawn"),
        (["figures", "--workdir=none"], "give --config, or --workdir of a run"),
    ):
        assert tiny.call(monkeypatch, *arguments) == 1
        (line,) = [s for s in capfd.readouterr().err.splitlines() if s.startswith("deepgenre: ")]
        assert reason in line


def test_real_annotations(shared_data):
    config = get_config()
    config.dataset = "mtat"
    labels = read_labels(config, shared_data / "mtat_annotations")
    counts: dict[str, int] = {}
    for names in labels.values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    shown = texts(tags.distribution(counts, len(labels), top=50))
    assert "188 classes of 25,860 clips, the 50 most frequent in blue" in shown
    assert " 4,851" in shown  # guitar


@pytest.mark.parametrize("name", ["paper_1d", "musicnn"])
def test_networks_of_configs(tmp_path, monkeypatch, tones, name):
    arguments = [one for one in tiny.settings(tones) if "prepare" not in one]
    out = tmp_path / "out"
    assert (
        tiny.call(monkeypatch, "figures", *arguments, f"--config.model={name}", f"--output={out}")
        == 0
    )
    assert stems(out) == {"classes", "spectrogram", "network"}

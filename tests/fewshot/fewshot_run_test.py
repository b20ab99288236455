"""Mode `fewshot` from examples to predictions."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.weights import export, loading


class Terminal(io.StringIO):
    """Standard input of a terminal in which this text is typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def body(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of imported weights with those of the run on tones, named `tiny`."""
    folder = tmp_path_factory.mktemp("imported")
    export.run(loading.load(str(trained)), folder / "tiny.safetensors", "float32")
    return folder


@pytest.fixture
def call(body: Path, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(body))
    monkeypatch.chdir(tmp_path)

    def run_mode(*arguments: str | Path) -> int:
        return tiny.call(monkeypatch, *arguments)

    return run_mode


def fewshot(examples: Path, *others: str) -> list[str]:
    output = "--output=mine.safetensors"
    return ["--mode=fewshot", f"--examples={examples}", "--weights=tiny", output, *others]


def manifest(path: Path, music: Path, labels: dict[str, str]) -> Path:
    """Writes a manifest of four songs a folder, each with its own artist."""
    rows = [
        [music / folder / f"{number:03d}.wav", label, f"{folder} {number}"]
        for folder, label in labels.items()
        for number in range(4)
    ]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "labels", "artist"], *rows])
    return path


def test_songs_of_other_artists_get_their_class(call, tones: Path, tmp_path: Path, capfd):
    given = manifest(tmp_path / "given.csv", tones, {"low": "deep", "high": "bright"})
    assert call(*fewshot(given)) == 0
    out, err = capfd.readouterr()
    assert "leave-one-artist-out (8 groups), 8 of 8 songs tested" in out
    # Wilson's interval of 8 of 8: 8 / (8 + 1.96 ** 2).
    assert "accuracy 1.000 (95 % interval 0.676 to 1.000, chance 0.500)" in out
    assert "macro_f1 1.000 (no interval: the same in all resamples" in out
    assert "2 classes from 8 songs, on tiny" in err
    assert (tmp_path / "mine.safetensors").stat().st_size < 120_000  # the body: 6.4 MB
    songs = [tones / "low" / "006.wav", tones / "high" / "006.wav"]
    predict = ["--mode=predict", "--weights=mine.safetensors", "--unfamiliar_below=0"]
    assert call(*predict, "--output=p.jsonl", *songs) == 0
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["tags"][0] for line in lines] == ["deep", "bright"]
    evaluate = ["--mode=eval", "--weights=mine.safetensors", "--config=folder"]
    flags = ["--eval_split=all", f"--config.store_dir={tmp_path / 'store'}"]
    assert call(*evaluate, f"--data_dir={given}", *flags) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["accuracy"] == 1


def test_noise_is_unknown(call, tones: Path, tmp_path: Path):
    given = manifest(tmp_path / "given.csv", tones, {"low": "deep", "high": "bright"})
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, np.random.default_rng(0).uniform(-0.5, 0.5, 44_100), 22_050)
    assert call(*fewshot(given)) == 0
    for limit, expected in (([], True), (["--unfamiliar_below=0"], False)):
        output = tmp_path / f"{len(limit)}.jsonl"
        flags = ["--weights=mine.safetensors", f"--output={output}", *limit]
        assert call("--mode=predict", *flags, noise) == 0
        assert (json.loads(output.read_text())["tags"] == ["unknown"]) == expected
    assert call("--mode=organize", "--weights=mine.safetensors", "--output=sorted", noise) == 0
    assert not list((tmp_path / "sorted").glob("*.m3u8"))


def test_tags_have_a_head_each(call, tones: Path, tmp_path: Path, capfd):
    labels = {"low": "deep|calm", "mid": "calm", "high": ""}
    assert call(*fewshot(manifest(tmp_path / "given.csv", tones, labels))) == 0
    assert "roc_auc" in capfd.readouterr().out
    spec = loading.load("mine.safetensors").spec
    assert spec.multi_label and spec.classes == ("calm", "deep")


def test_library_songs_are_listed_without_a_terminal(call, tones: Path, tmp_path: Path, capfd):
    given = manifest(tmp_path / "given.csv", tones, {"low": "deep", "high": "bright"})
    library = [f"--library={tones}", "--ask=3", "--index=index.npz"]
    assert call(*fewshot(given, *library)) == 0
    listed = [line for line in capfd.readouterr().out.splitlines() if line.startswith(str(tones))]
    assert len(listed) == 3
    examples = {f"{tones}/{folder}/{n:03d}.wav" for folder in ("low", "high") for n in range(4)}
    assert not examples & {line.split("  (")[0] for line in listed}


def test_answers_change_the_head_and_are_kept(call, tones: Path, tmp_path: Path, monkeypatch):
    given = manifest(tmp_path / "given.csv", tones, {"low": "deep", "high": "bright"})
    library = [f"--library={tones}", "--ask=3", "--index=index.npz"]
    monkeypatch.setattr(sys, "stdin", Terminal("nonsense\nbr\ns\nq\n"))
    assert call(*fewshot(given, *library)) == 0
    lines = (tmp_path / "mine.answers.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["labels"] for line in lines) == [[], ["bright"]]
    assert loading.load("mine.safetensors").spec.network["num_songs"] == 9
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert call(*fewshot(given, *library)) == 0  # neither is asked again, the answer counts
    assert loading.load("mine.safetensors").spec.network["num_songs"] == 9
    assert (tmp_path / "mine.answers.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--examples=nowhere"], "'nowhere'"),
        (["--examples=one.m3u8", "--examples=song.mp3"], "'song.mp3' is no folder, playlist"),
        (["--examples=one.m3u8"], "have one class, 'one'"),
        ([], "--examples: give a folder per class"),
        (["--examples=one.m3u8", "--ask=5"], "--ask: give --library and --ask=10"),
    ],
)
def test_mistakes_are_one_line(call, tones: Path, tmp_path: Path, capfd, flags, reason):
    (tmp_path / "one.m3u8").write_text(f"{tones}/low/000.wav\n")
    output = "--output=mine.safetensors"
    assert call("--mode=fewshot", "--weights=tiny", output, *flags) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("deepgenre: ") and reason in error


def test_a_run_or_a_head_cannot_be_the_body(call, trained: Path, tones: Path, tmp_path, capfd):
    given = manifest(tmp_path / "given.csv", tones, {"low": "deep", "high": "bright"})
    examples = ["--mode=fewshot", f"--examples={given}", "--output=other.safetensors"]
    assert call(*examples, f"--weights={trained}") == 1
    assert f"export --weights={trained}" in capfd.readouterr().err
    assert call(*fewshot(given)) == 0
    assert call(*examples, "--weights=mine.safetensors") == 1
    assert "is itself a head" in capfd.readouterr().err

"""The command line: messages, output files and exit codes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

GTZAN = f"--config={tiny.ROOT / 'configs/gtzan.py'}"


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A folder with three songs, one of them long, a file that is not audio, and a list."""
    folder = tmp_path / "songs"
    (folder / "more").mkdir(parents=True)
    for name, pitch, seconds in (("b long.wav", 110, 11.0), ("a.flac", 880, 2.0)):
        soundfile.write(folder / name, tiny.tone(pitch, seconds, 9), tiny.RATE_HZ)
    soundfile.write(folder / "more" / "ç.ogg", tiny.tone(5000, 1.0, 9), tiny.RATE_HZ)
    (folder / "c.mp3").write_text("not music at all")
    (folder / "list.txt").write_text("# songs\nmore/ç.ogg\n\nb long.wav\nmissing.wav\n")
    return folder


def run_cli(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """Returns exit code, standard output and standard error of the command."""
    capsys.readouterr()
    code = tiny.call(monkeypatch, *arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=train"], "--config: give a config"),
        ([GTZAN, "--config.batch_sice=8"], "batch_size"),
        ([GTZAN, "--config.batch_size=eight"], "batch_size"),
        ([GTZAN, "--config.num_epochs=1.5"], "num_epochs"),
        (["--config=nowhere.py"], "nowhere.py"),
        ([GTZAN, "--config.split=fault_filterd", "--data_dir={tones}"], "did you mean"),
        ([GTZAN, "--data_dir={tmp}/nowhere"], "get a copy from"),
        (["--mode=predict", "--weights={tmp}/nowhere.safetensors", "x.wav"], "no such weights"),
        (["--mode=predict", "--weights={run}"], "--files: give"),
        (["--mode=predict", "--weights={run}", "--files=nowhere.wav"], "does not exist"),
        (["--mode=predict", "--weights={run}", "--files={tones}", "--output=x.xml"], "'.xml'"),
        (["--mode=eval", "--weights={run}", "--data_dir={tones}", "--eval_split=tset"], "'test'"),
        (["--mode=export", "--weights={run}", "--output=x.pt"], "ending in .safetensors"),
    ],
)
def test_mistakes_give_one_line_without_a_traceback(
    arguments, message, trained, tones, tmp_path, monkeypatch, capsys
):
    paths = {"tones": tones, "run": trained, "tmp": tmp_path}
    filled = [argument.format(**paths) for argument in arguments]
    store = [f"--config.store_dir={tmp_path / 'store'}"] if GTZAN in filled else []
    code, _, errors = run_cli(monkeypatch, capsys, *filled, *store)
    assert code == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("deepgenre: ")
    assert message in last


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("split=group_randm", "did you mean 'group_random'"),
        ("model=paper_1", "did you mean 'paper_1d'"),
        ("dataset=foldr", "did you mean 'folder'"),
        ("schedule=cosin", "did you mean 'cosine'"),
        ("network.depth=4", ""),
        ("batch_size=7", "multiple of"),
    ],
)
def test_unknown_names_suggest_the_closest(field, message, tones, tmp_path, monkeypatch, capsys):
    run = tiny.settings(tones, f"--config.{field}")
    if not message:  # an option of the network: the control of this test
        code, _, _ = run_cli(monkeypatch, capsys, *run, "--mode=prepare")
        assert code == 0
        return
    code, _, errors = run_cli(monkeypatch, capsys, *run, f"--workdir={tmp_path / 'run'}")
    assert code == 1
    assert message in errors.strip().splitlines()[-1]


def test_eval_prints_one_json_object_last(trained, tones, tmp_path, monkeypatch, capsys):
    arguments = ["--mode=eval", f"--weights={trained}", f"--data_dir={tones}"]
    arguments += [f"--workdir={tmp_path}", "--eval_split=all"]
    code, output, _ = run_cli(monkeypatch, capsys, *arguments)
    assert code == 0
    metrics = json.loads(output.strip().splitlines()[-1])
    assert metrics["clips"] == 24
    assert 0 <= metrics["accuracy"] <= 1
    assert json.loads((tmp_path / "eval-all" / "metrics.json").read_text()) == metrics
    scores = np.load(tmp_path / "eval-all" / "scores.npz")
    np.testing.assert_allclose(scores["scores"].sum(axis=1), 1, rtol=1e-5)
    assert (scores["scores"].argmax(axis=1) == scores["labels"]).mean() == metrics["accuracy"]
    assert (tmp_path / "eval-all" / "confusion.png").stat().st_size > 1000


def test_train_writes_documented_files(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"checkpoints", "config.json", "metrics.jsonl", "training.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"train", "valid"} == {line["split"] for line in lines}


def test_predict_continues_after_unreadable_files_and_keeps_the_order(
    trained, songs, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "out.jsonl"
    code, table, errors = run_cli(
        monkeypatch, capsys, "--mode=predict", f"--weights={trained}", f"--files={songs}",
        f"--files={songs}/list.txt", f"--output={output}",
    )  # fmt: skip
    assert code == 1
    assert "2 of 5 files failed" in errors
    assert "c.mp3: is not audio" in errors
    assert "missing.wav" in errors
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    names = ["a.flac", "b long.wav", "c.mp3", "ç.ogg", "missing.wav"]
    assert [Path(line["path"]).name for line in lines] == names
    for line in lines:
        assert ("error" in line) == (Path(line["path"]).name in ("c.mp3", "missing.wav"))
        if "scores" in line:
            assert sum(line["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert len(table.strip().splitlines()) == 3


def test_predict_writes_the_same_scores_as_csv_and_jsonl(
    trained, songs, tmp_path, monkeypatch, capsys
):
    files = [f"--files={songs}/*.flac", f"--files={songs}/b long.wav"]
    for name in ("out.jsonl", "out.csv"):
        arguments = ["--mode=predict", f"--weights={trained}", *files]
        assert run_cli(monkeypatch, capsys, *arguments, f"--output={tmp_path / name}")[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(lines) == 2
    for row, line in zip(rows, lines, strict=True):
        assert row["path"] == line["path"]
        assert {name: float(row[name]) for name in line["scores"]} == line["scores"]


def test_scores_of_a_song_do_not_depend_on_other_songs(
    trained, songs, tmp_path, monkeypatch, capsys
):
    scores = []
    for number, files in enumerate(
        ([songs / "b long.wav"], [songs / "a.flac", songs / "b long.wav"])
    ):
        output = tmp_path / f"{number}.jsonl"
        arguments = ["--mode=predict", f"--weights={trained}", f"--output={output}", *files]
        assert run_cli(monkeypatch, capsys, *arguments)[0] == 0
        scores.append(json.loads(output.read_text().splitlines()[-1])["scores"])
    assert scores[0] == pytest.approx(scores[1], abs=2e-6)


def test_exported_weights_predict_the_same(trained, songs, tmp_path, monkeypatch, capsys):
    file = tmp_path / "tones.safetensors"
    export = ["--mode=export", f"--weights={trained}", f"--output={file}"]
    assert run_cli(monkeypatch, capsys, *export)[0] == 0
    tables = [
        run_cli(monkeypatch, capsys, "--mode=predict", f"--weights={weights}", songs / "a.flac")[1]
        for weights in (trained, file)
    ]
    assert tables[0] == tables[1]
    assert tables[0].strip()


def test_message_names_output_that_cannot_be_written(trained, songs, monkeypatch, capsys):
    output = songs / "a.flac" / "out.csv"
    code, _, errors = run_cli(
        monkeypatch, capsys, "--mode=predict", f"--weights={trained}", f"--output={output}",
        songs / "a.flac",
    )  # fmt: skip
    assert code == 1
    assert "a.flac" in errors.strip().splitlines()[-1]

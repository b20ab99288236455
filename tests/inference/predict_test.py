"""Mode `predict`: its options, as a user calls it, and runs that are killed and resumed."""

import csv
import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio.frontend import FrontEnd
from deepgenre.log import escape_controls
from deepgenre.weights import checkpoint, weight_file


@pytest.fixture
def predict(trained, monkeypatch, capsys):
    """Returns a function that predicts; it returns exit code, standard output and error."""

    def run(*arguments: str | Path, weights: object = trained) -> tuple[int, str, str]:
        capsys.readouterr()
        own = any(str(argument).startswith("--weights") for argument in arguments)
        predict_flags = ["--mode=predict", *([] if own else [f"--weights={weights}"])]
        code = tiny.call(monkeypatch, *predict_flags, *arguments)
        return code, *capsys.readouterr()

    return run


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_options_choose_the_tags(predict, tones, tmp_path):
    output = tmp_path / "o.jsonl"
    song = tones / "low" / "000.wav"
    assert predict(song, f"--output={output}", "--top_k=5")[0] == 0
    (plain,) = lines(output)
    assert len(plain["tags"]) == 3
    scores = [plain["scores"][name] for name in plain["tags"]]
    assert scores == sorted(plain["scores"].values(), reverse=True)
    first, second, third = scores
    expected_counts = {
        "--top_k=1": 1,
        f"--threshold={(second + third) / 2}": 2,
        f"--unknown_below={second}": 3,
    }
    for flag, count in expected_counts.items():
        others = ["--top_k=5"] if "unknown" in flag else []
        code, table, _ = predict(song, f"--output={output}", flag, *others)
        assert code == 0
        (line,) = lines(output)
        assert line["tags"] == plain["tags"][:count]
        assert line["scores"] == plain["scores"]  # all of them, independent of the choice
        assert [name in table for name in plain["tags"]] == [n < count for n in range(3)]
    assert first < 1
    for flag in ("--threshold=1", "--unknown_below=1"):
        _, table, _ = predict(song, f"--output={output}", flag)
        assert lines(output)[0]["tags"] == ["unknown"]
        assert table.startswith("unknown  ")


def test_synonyms_are_merged_in_tags_but_not_in_scores(predict, trained, tones, tmp_path):
    weights = checkpoint.restore(trained)
    spec = dataclasses.replace(weights.spec, classes=("woman", "rock", "female voice"))
    network, output = tmp_path / "w.safetensors", tmp_path / "o.jsonl"
    weight_file.write(network, dataclasses.replace(weights, spec=spec), dtype="float32")
    song = tones / "low" / "000.wav"
    arguments = [song, f"--weights={network}", f"--output={output}", "--top_k=5"]
    _, table, _ = predict(*arguments, "--merge_synonyms")
    (line,) = lines(output)
    assert line["scores"].keys() == {"woman", "rock", "female voice"}
    assert {*line["tags"]} == {"female vocals", "rock"}
    best = max(line["scores"]["woman"], line["scores"]["female voice"])
    assert f"female vocals {best:.3f}" in table
    predict(*arguments)
    assert {*lines(output)[0]["tags"]} == {*spec.classes}


def test_genres_are_by_default_the_best_and_likely_runners_up(predict, tones, tmp_path):
    output = tmp_path / "o.jsonl"
    songs = sorted(tones.rglob("00[0-3].wav"))
    assert predict(*songs, f"--output={output}")[0] == 0
    for line in lines(output):
        ranked = sorted(line["scores"], key=lambda name: -line["scores"][name])
        others = [name for name in ranked[1:] if line["scores"][name] >= 0.1]
        assert line["tags"] == [ranked[0], *others]
        assert len(line["scores"]) == 3
    assert min(len(line["tags"]) for line in lines(output)) < 3


def test_resume_of_other_settings_is_refused(predict, tones, tmp_path):
    output = tmp_path / "o.csv"
    first, second = sorted((tones / "low").iterdir())[:2]
    assert predict(first, "--resume", f"--output={output}")[0] == 0
    before = output.read_bytes()
    for flag, name in {
        "--threshold=0.3": "threshold",
        "--top_k=1": "top_k",
        "--aggregate=max": "aggregate",
        "--hop_seconds=0.5": "hop_seconds",
        "--merge_synonyms": "merge_synonyms",
    }.items():
        code, _, errors = predict(first, second, "--resume", f"--output={output}", flag)
        assert code == 1
        assert "o.csv: cannot be resumed: it was made with other settings (" in errors
        assert f"{name}: " in errors
        assert output.read_bytes() == before
    assert predict(first, second, "--resume", f"--output={output}")[0] == 0
    assert len(output.read_text().splitlines()) == 3


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory):
    """A network of other classes, sample rate, windows and pieces than `trained`."""
    frontend = FrontEnd(n_mels=16, n_mfcc=8, sample_rate_hz=16_000, hop_length=128, n_fft=1024)
    spec = tiny.spec(frontend=frontend, classes=("x", "y"), multi_label=True, clip_seconds=3.0)
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    weight_file.write(path, tiny.untrained(spec), dtype="float32")
    return path


def test_weights_side_by_side_equal_those_alone(predict, trained, other_weights, tones, tmp_path):
    songs = [tones / "low" / "000.wav", tmp_path / "long.wav", tmp_path / "bad.wav"]
    soundfile.write(songs[1], tiny.tone(400, 21.0, 1), tiny.RATE_HZ)
    songs[2].write_text("text")
    both, alone, other = (tmp_path / f"{name}.jsonl" for name in ("both", "alone", "other"))
    assert predict(*songs, f"--output={alone}")[0] == 1
    assert predict(*songs, f"--output={other}", weights=other_weights)[0] == 1
    pair = f"{trained},{other_weights}"
    code, table, _ = predict(*songs, f"--output={both}", weights=pair)
    assert code == 1
    assert all("run:" in line and "other:" in line for line in table.splitlines())
    for line, first, second in zip(*map(lines, (both, alone, other)), strict=True):
        if "error" in first:
            assert line == first == second
            continue
        assert line["run:tags"] == first["tags"]
        assert line["run:scores"] == pytest.approx(first["scores"], abs=2e-6)
        assert line["other:tags"] == second["tags"]
        assert line["other:scores"] == pytest.approx(second["scores"], abs=2e-6)
        assert "tags" not in line


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (["gtzan,gtzan"], "names weights twice"),
        (["gtzan,"], "has an empty name"),
        (["gtzan,mtt_musicnn", "gtzan"], "either one list with commas"),
        (["gtzan,gtzm"], "'gtzm' is unknown; did you mean 'gtzan'"),
    ],
)
def test_invalid_lists_of_weights_are_errors(monkeypatch, capsys, tones, weights, reason):
    flags = [f"--weights={value}" for value in weights]
    assert tiny.call(monkeypatch, "predict", tones / "low" / "000.wav", *flags) == 1
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_other_modes_refuse_weights_side_by_side(monkeypatch, capsys, tones, tmp_path):
    flags = ["--weights=gtzan,other", f"--output={tmp_path / 'o.npz'}"]
    assert tiny.call(monkeypatch, "embed", tones, *flags) == 1
    assert "only predict and eval use several weights side by side" in capsys.readouterr().err


def test_summary_states_counts_and_kinds_of_failures(predict, tones, tmp_path):
    output, summary = tmp_path / "o.csv", tmp_path / "summary.json"
    songs = sorted((tones / "low").iterdir())[:3]
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("text")
    bad = [tmp_path / name for name in ("a.wav", "b.wav", "missing.wav")]
    flags = [f"--output={output}", f"--summary={summary}", "--resume"]
    assert predict(*songs[:1], *flags)[0] == 0
    code, _, errors = predict(*songs, *bad[:2], f"--files={listed(tmp_path, bad[2])}", *flags)
    assert code == 1
    fields = json.loads(summary.read_text())
    assert (fields["mode"], fields["complete"], fields["unit"]) == ("predict", True, "song")
    assert (fields["files"], fields["kept"], fields["processed"], fields["failed"]) == (6, 1, 5, 3)
    assert fields["audio_hours"] == pytest.approx(2 * 2.0 / 3600, abs=1e-4)
    assert fields["per_second"] == pytest.approx(5 / fields["seconds"], rel=0.01)
    first, second = fields["failures"]
    assert (first["count"], second["count"]) == (2, 1)
    assert "is not audio" in first["kind"]
    assert second["kind"] == "does not exist or cannot be accessed"
    assert [message.split(":")[0] for message in first["messages"]] == [*map(str, bad[:2])]
    assert fields["results"] == [str(output)]
    assert "predict: 6 songs, 1 done before, 5 processed, 3 failed; " in errors
    assert "3 of 6 files failed:" in errors
    assert f"2 x {first['kind']}:" in errors


def listed(folder: Path, path: Path) -> Path:
    (folder / "list.txt").write_text(f"{path}\n")
    return folder / "list.txt"


def test_descriptors_come_with_the_tags(predict, tones, tmp_path):
    output = tmp_path / "o.jsonl"
    song = tmp_path / "song.wav"
    samples, rate_hz = soundfile.read(tones / "mid" / "000.wav")
    soundfile.write(song, np.tile(samples, 10), rate_hz)
    (tmp_path / "empty.wav").write_bytes(b"")
    assert predict(song, f"--output={output}")[0] == 0
    (plain,) = lines(output)
    describe = "--describe=loudness,key,tempo"
    code, table, _ = predict(song, tmp_path / "empty.wav", f"--output={output}", describe)
    failed, described = sorted(lines(output), key=lambda line: line["path"])
    assert code == 1 and "error" in failed and "loudness_lufs" not in failed
    added = ["tempo_bpm", "key", "loudness_lufs", "true_peak_dbtp", "replaygain_db"]
    assert [*described] == [
        *["path", "bytes", "mtime_ns", "seconds"],
        *added,
        "tags",
        "scores",
        "crc32",
    ]
    assert described["scores"] == plain["scores"]
    # A sine of 0.3 at 880 Hz in one channel: -0.691 + 10 lg(0.3 ** 2 / 2), filters within 0.5 dB.
    assert described["loudness_lufs"] == pytest.approx(-14.16, abs=0.6)
    assert described["replaygain_db"] == pytest.approx(-18 - described["loudness_lufs"], abs=0.02)
    assert f"{described['loudness_lufs']:.1f} LUFS" in table
    code, _, errors = predict(song, f"--output={output}", "--resume")
    assert code == 1 and "made with other settings (describe: " in errors


def test_descriptors_side_by_side_are_those_of_the_file(predict, trained, other_weights, tmp_path):
    """Also of files that are streamed, and whose beginning is decoded twice."""
    songs = [tmp_path / "song.wav", tmp_path / "empty.wav"]
    soundfile.write(songs[0], np.tile(tiny.tone(440, 7.0, 1), 50), 22_050)
    songs[1].write_bytes(b"")
    alone, both = tmp_path / "alone.csv", tmp_path / "both.csv"
    flags = ["--describe=key,loudness,tempo,fingerprint", "--top_k=1"]
    pair = f"{trained},{other_weights}"
    assert predict(*songs, f"--output={alone}", *flags)[0] == 1
    code, table, _ = predict(*songs, f"--output={both}", *flags, weights=pair)
    assert code == 1
    assert len(table.splitlines()) == 1 and " LUFS  " in table
    with alone.open(newline="") as one, both.open(newline="") as two:
        for first, second in zip(csv.reader(one), csv.reader(two), strict=True):
            assert first[4:10] == second[4:10]
            assert len(first[8]) != 0 or second[3]  # a value, or an error


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--top_k=0"], "--top_k: must be 1 or more"),
        (["--threshold=2"], "--threshold: must be 0 to 1"),
        (["--hop_seconds=-1"], "--hop_seconds: must be 0 to"),
        (["--aggregate=attention"], "has no attention over windows, only attention has"),
        (["--aggregate=median"], "should be one of <mean|max|attention>"),
        (["--describe=tempo,mood"], "--describe: 'mood' is unknown"),
        (["--resume"], "--resume: needs the --output"),
        (["--resume", "--output=o.xml"], "--output suffix: '.xml' is unknown"),
        (["--mode=calibrate", "--output=x.jsonl"], "ending in .safetensors"),
    ],
)
def test_invalid_options_are_errors(predict, tones, flags, reason):
    files = [] if "--mode=calibrate" in flags else [tones / "low" / "000.wav"]
    code, _, errors = predict(*files, *flags)
    assert code == 1
    assert reason in errors.splitlines()[-1]


def test_aggregation_and_hop_change_the_scores(predict, tmp_path):
    song, output = tmp_path / "song.wav", tmp_path / "o.jsonl"
    both = np.concatenate([tiny.tone(110, 6.0, 1), tiny.tone(5000, 2.0, 2)])
    soundfile.write(song, both, tiny.RATE_HZ)
    lines_by_name = {}
    for name in ("mean", "max"):
        flags = [f"--output={output}", f"--aggregate={name}", "--hop_seconds=0.5"]
        assert predict(song, *flags)[0] == 0
        (lines_by_name[name],) = lines(output)
        assert sum(lines_by_name[name]["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert lines_by_name["max"]["scores"]["high"] > lines_by_name["mean"]["scores"]["high"]


def test_taggrams_contain_the_windows(predict, tones, tmp_path):
    folder = tmp_path / "over time"
    (tmp_path / "other").mkdir()
    twin = shutil.copy(tones / "low" / "000.wav", tmp_path / "other" / "000.WAV")
    song = tones / "low" / "000.wav"
    output = tmp_path / "o.jsonl"
    flags = [f"--taggram={folder}", "--hop_seconds=0.1", f"--output={output}"]
    assert predict(song, twin, *flags)[0] == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000-2.npz", "000-2.png", "000.npz", "000.png"]
    with np.load(folder / "000.npz") as arrays:
        assert list(arrays["classes"]) == ["high", "low", "mid"]
        assert arrays["times"].dtype == np.float64
        assert len(arrays["times"]) == len(arrays["scores"]) > 3
        assert arrays["times"][-1] + arrays["window_seconds"] == pytest.approx(2.0, abs=0.02)
        mean = dict(zip(arrays["classes"], arrays["scores"].mean(axis=0), strict=True))
    assert lines(output)[0]["scores"] == pytest.approx(mean, abs=1e-5)
    assert (folder / "000.png").read_bytes().startswith(b"\x89PNG")


def test_control_characters_in_names_are_escaped(predict, tones, tmp_path):
    song = tmp_path / "\x1b[2J=evil\n\rname.wav"
    shutil.copy(tones / "low" / "000.wav", song)
    (tmp_path / "\x1b[31mbad\n.mp3").write_text("text")
    code, table, errors = predict(tmp_path, f"--output={tmp_path / 'o.csv'}")
    assert code == 1
    assert len(table.splitlines()) == 1
    assert "\x1b" not in table
    assert r"\x1b[2J=evil\n\rname.wav" in table
    assert r"\x1b[31mbad\n.mp3: is not audio" in errors
    assert "\x1b[31mbad" not in errors


def test_escape_controls_keeps_letters_of_all_languages():
    assert escape_controls("Ænima жұлдыз 星 👩‍👩‍👧 \udcff") == "Ænima жұлдыз 星 👩‍👩‍👧 \udcff"
    assert escape_controls("a\x00\x7f\x9b\t") == r"a\x00\x7f\x9b\t"


def test_resume_processes_only_missing_and_failed_files(predict, tones, tmp_path):
    output = tmp_path / "o.csv"
    songs = sorted((tones / "low").iterdir())
    bad = tmp_path / "bad.wav"
    bad.write_text("text")
    assert predict(*songs[:3], bad, "--resume", f"--output={output}")[0] == 1
    code, table, errors = predict(*songs, bad, "--resume", f"--output={output}")
    assert code == 1
    assert len(table.splitlines()) == len(songs) - 3
    assert f"3 of {len(songs) + 1} files are already in the output" in errors
    shutil.copy(songs[0], bad)  # repaired
    code, table, _ = predict(*songs, bad, "--resume", f"--output={output}")
    assert code == 0
    assert len(table.splitlines()) == 1
    complete = tmp_path / "complete.csv"
    assert predict(*songs, bad, f"--output={complete}")[0] == 0
    assert sorted(complete.read_text().splitlines()) == sorted(output.read_text().splitlines())


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_killed_run_can_be_resumed(trained, tmp_path, predict, suffix):
    folder = tmp_path / "songs"
    folder.mkdir()
    for number in range(60):
        soundfile.write(folder / f"{number:02d}.wav", tiny.tone(200, 2.0, number), tiny.RATE_HZ)
    output = tmp_path / f"o{suffix}"
    flags = ["--mode=predict", f"--weights={trained}", "--resume", f"--output={output}", folder]
    sizes = []
    for rows in (1, 20):  # killed twice while it writes
        process = tiny.start(*flags, cwd=tmp_path)
        deadline = time.monotonic() + 200
        while not output.exists() or output.read_bytes().count(b"\n") <= rows:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
        sizes.append(output.stat().st_size)
    with output.open("ab") as stream:  # and an incomplete last line
        stream.write(b'{"path": "half' if suffix == ".jsonl" else b'"songs/\r\nhalf')
    assert sizes[0] < sizes[1]
    code, table, _ = predict("--resume", f"--output={output}", folder)
    assert code == 0
    assert 0 < len(table.splitlines()) < 60
    complete = tmp_path / f"complete{suffix}"
    assert predict(f"--output={complete}", folder)[0] == 0
    resumed, expected = ([*map(row_of, p.read_text().splitlines())] for p in (output, complete))
    assert sorted(path for path, _ in resumed) == sorted(path for path, _ in expected)
    by_path = dict(expected)
    for path, scores in resumed:
        np.testing.assert_allclose(scores, by_path[path], atol=2e-6)


def row_of(line: str) -> tuple[str, list[float]]:
    """Returns path and scores of a row; the header of a CSV file is a row without scores."""
    if line.startswith("{"):
        row = json.loads(line)
        return row["path"], [*row["scores"].values()]
    path, *_ = cells = line.split(",")
    return path, [] if path == "path" else [*map(float, cells[5:])]

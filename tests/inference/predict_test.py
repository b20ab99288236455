"""Mode `predict`: its options, as a user calls it, and runs that are killed and resumed."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.log import escape_controls


@pytest.fixture
def predict(trained, monkeypatch, capsys):
    """Returns a function that predicts; it returns exit code, standard output and error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        predict_flags = ["--mode=predict", f"--weights={trained}"]
        code = tiny.call(monkeypatch, *predict_flags, *arguments)
        return code, *capsys.readouterr()

    return run


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_options_choose_the_tags(predict, tones, tmp_path):
    output = tmp_path / "o.jsonl"
    song = tones / "low" / "000.wav"
    assert predict(song, f"--output={output}")[0] == 0
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
        code, table, _ = predict(song, f"--output={output}", flag)
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
    assert [*described] == [*list(plain)[:-1], *added, "scores"]
    assert described["scores"] == plain["scores"]
    # A sine of 0.3 at 880 Hz in one channel: -0.691 + 10 lg(0.3 ** 2 / 2), filters within 0.5 dB.
    assert described["loudness_lufs"] == pytest.approx(-14.16, abs=0.6)
    assert described["replaygain_db"] == pytest.approx(-18 - described["loudness_lufs"], abs=0.02)
    assert f"{described['loudness_lufs']:.1f} LUFS" in table
    code, _, errors = predict(song, f"--output={output}", "--resume")
    assert code == 1 and "was written with another --describe" in errors


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

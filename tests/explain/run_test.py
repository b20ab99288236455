"""Mode `explain`, from audio files to numbers, figure and sound."""

import json

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio.frontend import FrontEnd
from deepgenre.explain import run
from deepgenre.explain.explanation import default_method
from deepgenre.inference.infer import infer_files
from deepgenre.weights import weight_file

SPEC = tiny.spec(
    model="short_chunk",
    network={"width": 0.0625},
    classes=("blues", "jazz", "rock"),
    frontend=FrontEnd(n_mels=32),
    window_frames=64,  # 3 s
    hop_frames=64,
    clip_seconds=6.0,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    weight_file.write(path, tiny.untrained(SPEC), dtype="float32")
    return path


def song(path, seconds: float, hz: float = 440):
    soundfile.write(path, tiny.tone(hz, seconds, 0), tiny.RATE_HZ)
    return path


def explain(monkeypatch, weights, output, *others) -> int:
    flags = ("explain", f"--weights={weights}", f"--output={output}", "--method=gradient")
    return tiny.call(monkeypatch, *flags, *others)


def test_numbers_figure_and_sound_of_the_window_with_the_highest_score(
    weights, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "song.wav"
    parts = [tiny.tone(hz, 3.0, 0) for hz in (220, 3000, 880, 5000)]
    soundfile.write(path, np.concatenate(parts), tiny.RATE_HZ)
    assert explain(monkeypatch, weights, tmp_path / "out", path, "--target=jazz") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("jazz 0.") and printed.endswith(f"{path}\n")

    fields = json.loads((tmp_path / "out/song.json").read_text())
    (outputs,) = infer_files(weight_file.read(weights), [path])
    best = np.argmax(outputs.scores[:, 1])
    assert fields["target"] == "jazz" and fields["method"] == "gradient"
    assert fields["start_seconds"] == pytest.approx(outputs.start_seconds[best], abs=1e-3)
    assert fields["score"] == pytest.approx(outputs.scores[best, 1], abs=1e-3)
    assert fields["parts"][0]["start_seconds"] >= fields["start_seconds"]

    numbers = np.load(tmp_path / "out/song.npz")
    assert numbers["map"].shape == numbers["plane"].shape == (64, 32)
    assert numbers["seconds"][0] == pytest.approx(fields["start_seconds"], abs=1e-3)
    samples, rate_hz = soundfile.read(tmp_path / "out/song.flac")
    assert rate_hz == tiny.RATE_HZ
    assert 63 * SPEC.frontend.hop_length < samples.size <= 64 * SPEC.frontend.hop_length
    peak_db = 20 * np.log10(np.abs(samples).max())
    assert peak_db == pytest.approx(fields["sound"]["peak_dbfs"], abs=0.1)
    assert -60 < fields["sound"]["loudness_lufs"] < 0
    assert (tmp_path / "out/song.png").read_bytes().startswith(b"\x89PNG")


def test_a_time_chooses_the_nearest_window(weights, tmp_path, monkeypatch, capsys):
    path = song(tmp_path / "song.wav", 12.0)
    assert explain(monkeypatch, weights, tmp_path / "out", path, "--start_seconds=8.5") == 0
    fields = json.loads((tmp_path / "out/song.json").read_text())
    assert abs(fields["start_seconds"] - 8.5) < 1.6
    for wrong in ("12.5", "-1", "nan"):
        assert explain(monkeypatch, weights, tmp_path / "x", path, f"--start_seconds={wrong}") == 1
        assert "is not within its 12.0 s; give a time" in capsys.readouterr().err


def test_a_short_song_is_padded_and_said_to_be(weights, tmp_path, monkeypatch, capsys):
    path = song(tmp_path / "short.wav", 1.0)
    assert explain(monkeypatch, weights, tmp_path / "out", path) == 0
    assert "short.wav: is shorter than a window of 3.0 s; the rest is padded" in (
        capsys.readouterr().err
    )
    assert np.load(tmp_path / "out/short.npz")["map"].shape == (64, 32)


def test_a_batch_continues_after_files_that_fail(weights, tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    good = [song(tmp_path / name / "song.wav", 3.0) for name in ("a", "b")]
    bad = tmp_path / "nan.wav"
    samples = tiny.tone(440, 3.0, 0)
    samples[5000] = np.nan
    soundfile.write(bad, samples, tiny.RATE_HZ, subtype="FLOAT")
    summary = tmp_path / "summary.json"
    code = explain(
        monkeypatch, weights, tmp_path / "out", good[0], bad, good[1],
        f"--summary={summary}",
    )  # fmt: skip
    assert code == 1
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {
        "song.json", "song-2.json",
    }  # fmt: skip
    fields = json.loads(summary.read_text())
    assert (fields["files"], fields["processed"], fields["failed"]) == (3, 3, 1)
    assert "NaN" in capsys.readouterr().err


def test_a_class_that_is_not_found_is_warned_of(weights, tmp_path, monkeypatch, capsys):
    path = song(tmp_path / "song.wav", 3.0)
    (outputs,) = infer_files(weight_file.read(weights), [path])
    low, high = (SPEC.classes[int(i)] for i in np.argsort(outputs.scores[0])[[0, -1]])
    score = float(outputs.scores[0].min())
    for limit, is_warned in ((score + 0.01, True), (score - 0.01, False)):
        monkeypatch.setattr(run, "LOW_SCORE", limit)
        assert explain(monkeypatch, weights, tmp_path / "out", path, f"--target={low}") == 0
        warning = f"the score of {low} is {score:.3f} in this window, the best is {high} with "
        assert (warning in capsys.readouterr().err) == is_warned


def test_resume_keeps_what_the_same_command_explained(weights, tmp_path, monkeypatch, capsys):
    songs = [song(tmp_path / f"{name}.wav", 3.0) for name in "abc"]
    out, calls = tmp_path / "out", []
    assert explain(monkeypatch, weights, out, *songs[:2], "--target=jazz") == 0
    explain_song = run._explain_song

    def recording(weights, outputs, *others):
        calls.append(outputs.path.name)
        return explain_song(weights, outputs, *others)

    monkeypatch.setattr(run, "_explain_song", recording)

    def explained(*flags) -> list[str]:
        calls.clear()
        assert explain(monkeypatch, weights, out, *songs, "--target=jazz", "--resume", *flags) == 0
        return calls[:]

    assert explained() == ["c.wav"]
    assert "resumed: 2 of 3 songs are explained" in capsys.readouterr().err
    assert explained() == []
    song(songs[0], 3.0, hz=880)  # another file of this name
    (out / "b.json").write_text('{"file": ')  # half of one
    assert explained() == ["a.wav", "b.wav"]
    assert explained("--method=smoothgrad") == ["a.wav", "b.wav", "c.wav"]  # the last one counts


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--target=jaz",), "--target: 'jaz' is unknown; did you mean 'jazz'? known: blues"),
        (("--method=shapley",), "--method: 'shapley' is unknown; did you mean 'shap'?"),
        (("--output=",), "--output=: is empty; give a value"),
        (("--weights=gtzn",), "--weights: 'gtzn' is unknown; did you mean 'gtzan'?"),
    ],
)
def test_mistakes_are_one_line_before_any_file_is_read(
    weights, tmp_path, monkeypatch, capsys, flags, message
):
    path = song(tmp_path / "song.wav", 3.0)
    given = ("explain", f"--weights={weights}", f"--output={tmp_path / 'out'}", path)
    if flags[0].startswith("--weights"):
        given = (given[0], *given[2:])
    assert tiny.call(monkeypatch, *given, *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_default_method_depends_on_convolutions():
    frontend = FrontEnd(n_mels=64, n_mfcc=8)
    for model, expected in (("short_chunk", "integrated_gradients"), ("hamel", "occlusion")):
        spec = tiny.spec(model=model, network={}, window_frames=128, frontend=frontend)
        assert default_method(tiny.untrained(spec)) == expected

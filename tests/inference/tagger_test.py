"""The Python interface: the scores of the command line, from files and from arrays."""

import json
import re
import shutil
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny

import deepgenre
from deepgenre.errors import UserError
from deepgenre.inference import infer

README = tiny.ROOT / "README.md"
load_any: Any = deepgenre.load  # with arguments that type checkers refuse


@pytest.fixture(scope="module")
def tagger(trained):
    return deepgenre.load(str(trained))


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A song of two channels, at another sample rate than the network's, longer than a piece."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    channels = [tiny.tone(pitch, 9.0, 1)[: 9 * 22_050] for pitch in (110, 500)]
    soundfile.write(path, np.stack(channels, axis=1), 44_100)
    return path


def test_scores_equal_those_of_the_command_line(tagger, song, trained, tmp_path, monkeypatch):
    output = tmp_path / "o.jsonl"
    predict = ["--mode=predict", f"--weights={trained}", f"--output={output}", "--top_k=9", song]
    assert tiny.call(monkeypatch, *predict) == 0
    line = json.loads(output.read_text())
    for path in (song, str(song)):
        scores = tagger(path)
        assert scores == pytest.approx(line["scores"], abs=1e-6)
        assert list(scores) == line["tags"]
        assert all(type(score) is float for score in scores.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_of_an_array_equal_those_of_its_file(tagger, song, dtype):
    samples, rate_hz = soundfile.read(song, dtype=dtype)
    assert tagger(samples, sample_rate_hz=rate_hz) == pytest.approx(tagger(song), abs=1e-6)
    mono = samples.mean(axis=1)
    assert tagger(mono, sample_rate_hz=rate_hz) == pytest.approx(tagger(song), abs=1e-4)


def test_embedding_of_an_array_equals_that_of_its_file(tagger, song):
    embedding = tagger.embed(song)
    assert embedding.dtype == np.float32
    assert embedding.ndim == 1
    samples, rate_hz = soundfile.read(song, dtype="float32")
    np.testing.assert_allclose(
        tagger.embed(samples, sample_rate_hz=rate_hz), embedding, rtol=1e-4, atol=1e-4
    )
    assert not np.allclose(embedding, tagger.embed(samples[::-1], sample_rate_hz=rate_hz // 2))


@pytest.mark.parametrize(
    ("array", "rate_hz", "reason"),
    [
        (np.zeros(1000), 22_050, "silent"),
        (np.full(1000, np.nan), 22_050, "NaN"),
        (np.ones(1000, np.int16), 22_050, "holds int16; give floats"),
        (np.ones((2, 1000)), 22_050, r"has shape \(2, 1000\); give"),
        (np.ones(0), 22_050, "holds no audio samples"),
        (np.ones(1000), None, "sample_rate_hz: is missing"),
        (np.ones(1000), 1, "sample_rate_hz: must be"),
    ],
)
def test_invalid_arrays_are_errors(tagger, array, rate_hz, reason):
    with pytest.raises(UserError, match=reason):
        tagger(array, sample_rate_hz=rate_hz)


def test_invalid_files_and_weights_are_errors(tagger, song, tmp_path):
    with pytest.raises(UserError, match="No such file"):
        tagger(tmp_path / "missing.wav")
    with pytest.raises(UserError, match="sample_rate_hz: is for arrays"):
        tagger(song, sample_rate_hz=22_050)
    with pytest.raises(UserError, match="gtzn"):
        deepgenre.load("gtzn")


def test_many_songs_are_yielded_in_order_with_errors(tagger, song, tones, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(song, tmp_path / "home.wav")
    paths = [str(song), tmp_path / "missing.wav", "~/home.wav", *sorted(tones.rglob("*.wav")), song]
    results = list(tagger.predict_many(iter(paths)))
    assert [path for path, _ in results] == paths
    for path, scores in results:
        if "missing" in str(path):
            assert isinstance(scores, UserError)
            assert "missing.wav: cannot be read" in str(scores)
        else:
            source = tmp_path / "home.wav" if "~" in str(path) else path
            assert scores == pytest.approx(tagger(source), abs=1e-5)
            assert [*scores.values()] == sorted(scores.values(), reverse=True)


def test_many_songs_share_batches_and_compile_once(tagger, tones, monkeypatch):
    sizes, infer_batch = [], tagger._compiled
    monkeypatch.setattr(
        tagger, "_compiled_batch", lambda levels: sizes.append(len(levels)) or infer_batch(levels)
    )
    monkeypatch.setattr(infer, "compile_infer_batch", None)  # must not be called
    songs = sorted(tones.rglob("*.wav"))
    assert len(list(tagger.predict_many(songs))) == len(songs) > len(sizes)
    assert sizes[0] == infer.BATCH_WINDOWS


def test_many_songs_can_be_stopped(tagger, tones):
    results = tagger.predict_many(sorted(tones.rglob("*.wav")) * 20)
    next(results)
    results.close()
    assert not any(thread.name.startswith("ThreadPool") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda tagger: tagger(3), "song: give a path or a NumPy array of samples, not int"),
        (lambda tagger: tagger(["a.wav"]), "not list; for several songs use predict_many"),
        (lambda tagger: tagger(b"a.wav"), "not bytes"),
        (lambda tagger: tagger.embed(None), "not NoneType"),
        (lambda tagger: tagger.predict_many("a.wav"), "paths: give several paths.* not str"),
        (lambda tagger: tagger.predict_many(3), "paths: give several paths.* not int"),
        (lambda tagger: tagger.predict_many(["a.wav", 3]), "song: give a path.* not int"),
        (lambda tagger: tagger(np.ones(100), sample_rate_hz="1"), "sample_rate_hz: .* not str"),
        (lambda tagger: load_any(3), "weights: give a name, a path or a list.* not int"),
        (lambda tagger: load_any(None), "not NoneType"),
        (lambda tagger: deepgenre.load([]), "not an empty list"),
        (lambda tagger: load_any(["gtzan", 3]), "weights: contain int"),
    ],
)
def test_wrong_types_are_named_at_once(tagger, call, reason):
    with pytest.raises(UserError, match=reason) as caught:
        call(tagger)
    assert "\n" not in str(caught.value)


def test_several_weights_are_an_ensemble(tagger, trained, song, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(trained.parent))
    pair = deepgenre.load(["~/run", trained])
    assert pair.classes == tagger.classes
    assert pair(song) == pytest.approx(tagger(song), abs=1e-5)  # twice the same network
    with pytest.raises(UserError, match="differ in classes"):
        deepgenre.load(("gtzan", "~/run"))


def test_import_of_the_package_imports_no_libraries():
    code = "import sys, deepgenre; print([m for m in ('jax', 'numpy') if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert process.stdout.strip() == "[]"


def test_readme_example_runs(tmp_path, song, capsys, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 4
    shutil.copy(song, tmp_path / "song.mp3")  # named as in README; decoders ignore the suffix
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    output = capsys.readouterr().out
    assert any(genre in output for genre in deepgenre.load("gtzan").classes)

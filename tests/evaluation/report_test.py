"""The report of a run: contents, escaping, evaluations of earlier versions, mistakes."""

import base64
import html.parser
import io
import json
import os
import re
from pathlib import Path

import evaluated
import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.clip import Clip
from deepgenre.errors import UserError
from deepgenre.evaluation.report import evaluations, media, pages, report


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def page_of(workdir: Path, data_dir: Path | None = None) -> Page:
    assert report.run(workdir, data_dir, None) == 0
    return Page((workdir / "report.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("multi_label", [False, True])
def test_page_of_a_run(tmp_path, multi_label):
    one = evaluated.scored(60, multi_label=multi_label, skill=2)
    page = page_of(evaluated.write_run(tmp_path / "run", one), tmp_path)
    metric = "roc auc" if multi_label else "accuracy"
    for text in ("paper_1d on gtzan", metric, "jazz", "Most confident errors", "same track", "84"):
        assert text in page.text
    assert "num_epochs" in page.text  # the config
    value = evaluations.read(tmp_path / "run/eval-test").values[metric.replace(" ", "_")]["value"]
    assert f"{value:.3f}" in page.text
    assert page.tags.count("figure") == 4  # curves, two of the evaluation, the network
    assert page.tags.count("audio") == 0
    assert "Spectrograms and audio are left out" in page.text


def test_page_loads_nothing_and_its_script_is_the_one_that_its_policy_allows(tmp_path):
    page = page_of(evaluated.write_run(tmp_path / "run", evaluated.scored()))
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith(("#", "data:")), (name, value)
    policy = next(v for n, v in page.attributes if n == "content" and "default-src" in v)
    assert "default-src 'none'" in policy
    assert page.tags.count("script") == 1
    assert "http" not in policy


def test_names_are_escaped(tmp_path):
    one = evaluated.scored(60, evaluated.HOSTILE)
    keys = np.array([f"{evaluated.HOSTILE[n % 6]}{n}" for n in range(60)])
    one = evaluated.Scored(keys, one.classes, one.scores, one.labels, one.group, one.track)
    workdir = evaluated.write_run(tmp_path / "run", one)
    page = page_of(workdir)
    assert "img" not in page.tags
    assert page.tags.count("script") == 1
    assert not [n for n, _ in page.attributes if n.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in page.text  # as text
    assert "{{ 7*7 }}" in page.text  # not a template
    raw = (workdir / "report.html").read_text(encoding="utf-8")
    for forbidden in ("\u202e", "\x07", "\u2028"):
        assert forbidden not in raw
    assert "bell\\x07 \\u202eterces\\u202c" in page.text


def test_clips_have_spectrograms_and_audio_where_the_files_are_at_hand(trained, tones, tmp_path):
    page = page_of(_linked(trained, tmp_path), tones)
    assert page.tags.count("audio") > 3
    sources = [v for n, v in page.attributes if n == "src"]
    assert all(value.startswith("data:audio/mpeg;base64,") for value in sources)
    assert len({*sources}) == len(sources)  # each clip once
    assert "time (s)" in page.text
    assert "run.json" not in page.text  # recorded: no note that it is missing
    assert "deepgenre" in page.text
    # Without --data_dir, the folder that the run recorded.
    assert page_of(_linked(trained, tmp_path)).tags.count("audio") == page.tags.count("audio")


def _linked(trained: Path, tmp_path: Path) -> Path:
    """A workdir whose files are those of the shared, read-only one."""
    workdir = tmp_path / "linked"
    if not workdir.exists():
        workdir.mkdir()
        for path in trained.iterdir():
            (workdir / path.name).symlink_to(path)
    return workdir


def test_excerpt_is_the_middle_of_a_long_song_and_sounds(tmp_path):
    rate = 44_100
    quiet, loud = np.zeros(20 * rate), tiny.tone(440, 61.0 * 2, 0)[: 40 * rate]
    path = tmp_path / "song.wav"
    soundfile.write(path, np.concatenate([quiet, loud, quiet]), rate)
    excerpt = media.audio(Clip("song", path, ("a",), "song"))
    assert excerpt is not None
    assert (excerpt.start_seconds, excerpt.end_seconds) == (25.0, 55.0)
    assert excerpt.clip_seconds == pytest.approx(80.0)
    samples, hz = soundfile.read(io.BytesIO(base64.b64decode(excerpt.uri.partition(",")[2])))
    assert hz == media.AUDIO_HZ
    assert len(samples) / hz == pytest.approx(30.0, abs=0.1)
    assert 0.2 < np.abs(samples).max() < 0.45  # neither silent nor louder than the song
    assert media.audio(Clip("x", tmp_path / "x.npy", ("a",), "x")) is None


def test_spectrogram_of_a_long_clip_stays_small(tmp_path):
    path = tmp_path / "long.npy"
    np.save(path, np.zeros((16, 20_000), np.uint8))
    spec = tiny.spec(frontend=FrontEnd(n_mels=16, n_mfcc=8))
    drawn = media.spectrogram(Clip("long", path, ("a",), "long"), spec, "p")
    assert len(drawn) < 100_000
    assert "time (min:s)" in drawn


def test_unreadable_audio_is_a_note(trained, tones, tmp_path, caplog, capsys):
    workdir = _linked(trained, tmp_path)
    music = tmp_path / "music"
    for path in sorted(tones.rglob("*.wav")):
        copy = music / path.relative_to(tones)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"RIFF")
    page = page_of(workdir, music)
    assert "Without spectrogram or audio" in page.text
    assert page.tags.count("audio") == 0
    assert "without spectrogram or audio" in capsys.readouterr().err


def test_evaluations_of_earlier_versions(tmp_path):
    evaluated.write_old(tmp_path / "run/eval-valid", evaluated.scored())
    page = page_of(tmp_path / "run")
    assert "0.500" in page.text
    assert "0.400 to 0.600" in page.text
    assert "The run did not record its command" in page.text
    assert "f1" in page.text


def test_several_evaluations_test_first(tmp_path):
    for part in ("valid", "test", "mtat-all"):
        evaluated.write(tmp_path / f"run/eval-{part}", evaluated.scored())
    names = [path.name for path in evaluations.folders(tmp_path / "run")]
    assert names == ["eval-test", "eval-mtat-all", "eval-valid"]
    assert page_of(tmp_path / "run").text.count("Most confident errors") == 3


def _damage(folder: Path, **changes: np.ndarray) -> None:
    with np.load(folder / "scores.npz") as stored:
        arrays = {**stored, **changes}
    np.savez(folder / "scores.npz", **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": np.full((30, 3), np.nan, np.float32)}, "30 of 30 clips are not finite"),
        ({"scores": np.zeros((30, 2), np.float32)}, "do not match 30 clips and 3 classes"),
        ({"labels": np.full(30, 7)}, "a label is outside the 3 classes"),
        ({"labels": None}, "has no array 'labels'"),
        ({"key": np.zeros(0, "U1")}, "do not match 0 clips"),
    ],
)
def test_damaged_scores_are_one_line(tmp_path, changes, reason):
    folder = evaluated.write(tmp_path / "eval-test", evaluated.scored())
    _damage(folder, **changes)
    with pytest.raises(UserError, match=re.escape(reason)) as error:
        evaluations.read(folder)
    assert "\n" not in str(error.value)
    assert str(folder / "scores.npz") in str(error.value)


def test_mistakes_are_one_line(tmp_path, monkeypatch, capfd):
    workdir = evaluated.write_run(tmp_path / "run", evaluated.scored())

    def message(*arguments: str | Path) -> str:
        assert tiny.call(monkeypatch, *arguments) == 1
        (line,) = [s for s in capfd.readouterr().err.splitlines() if s.startswith("deepgenre: ")]
        return line

    assert "no such workdir" in message("report", f"--workdir={tmp_path / 'none'}")
    (tmp_path / "empty").mkdir()
    assert "contains no evaluation" in message("report", f"--workdir={tmp_path / 'empty'}")
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "report.html"
    line = message("report", f"--workdir={workdir}", f"--output={target}")
    assert str(target) in line
    assert "give another one" in line
    line = message("report", f"--workdir={workdir}", f"--output={tmp_path}")
    assert "cannot be written" in line
    (workdir / "eval-test/evaluation.json").write_text("{")
    assert "evaluation.json: is damaged" in message("report", f"--workdir={workdir}")
    (workdir / "eval-test/scores.npz").write_bytes(b"PK")
    assert "scores.npz: cannot be read" in message("report", f"--workdir={workdir}")
    (workdir / "eval-test/evaluation.json").unlink()
    assert "scores.npz: cannot be read" in message("report", f"--workdir={workdir}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path):
    workdir = evaluated.write_run(tmp_path / "run", evaluated.scored())
    workdir.chmod(0o500)
    with pytest.raises(UserError, match="choose another --output"):
        report.run(workdir, None, None)


def test_numbers():
    shown = [pages.number(one) for one in (0.5, 1.0, 2.0, 1234, None, float("nan"), "x", 0, 1e-9)]
    assert shown == ["0.500", "1.000", "2", "1,234", "–", "–", "x", "0", "0.000"]
    assert [pages.p_value(one) for one in (0.5, 0.012345, 1e-9, None)] == [
        "0.5",
        "0.012",
        "< 0.001",
        "–",
    ]


def test_training_records_its_command_and_environment(trained, tones):
    command, *_ = json.loads((trained / "run.json").read_text())["commands"]  # others resume it
    assert command["command"][0] == "deepgenre"
    assert f"--workdir={trained}" in command["command"]
    assert command["data_dir"] == str(tones)
    assert sum(command["clips"].values()) == 24
    assert command["packages"]["jax"]

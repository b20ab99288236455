"""Summaries of batches: kinds of failures, interrupted runs, and each mode that has one."""

import json
import shutil

import pytest
import tiny

from deepgenre import summary
from deepgenre.errors import InterruptedRunError, UserError


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("a/b.wav: is empty (0 bytes); copy it again", "is empty"),
        ("a/b.wav: cannot be read (No such file)", "cannot be read (No such file)"),
        ("a/b.wav: is cut short, its end is missing", "is cut short, its end is missing"),
        ("another message", "another message"),
        ("a/b.wav: a/b.wav: twice.", "a/b.wav: twice"),
        ("l.txt, line 12: 'b.wav' does not exist; remove the line", "does not exist"),
        ("'a; b.wav': its name is not UTF-8; rename it", "its name is not UTF-8"),
        (
            'Cannot read the folder "it\'s" (Denied): check',
            "Cannot read the folder (Denied): check",
        ),
        ("it's what it isn't", "it's what it isn't"),
    ],
)
def test_kind_is_what_messages_of_other_files_share(message, kind):
    assert summary.kind_of(message, "a/b.wav") == kind


def test_interrupted_batch_has_a_summary(tmp_path, capsys):
    path = tmp_path / "new" / "s.json"
    with pytest.raises(InterruptedRunError), summary.batch("embed", path) as counts:
        counts.files = 3
        counts.succeeded(7200.0)
        counts.failed("b: \x1bbad", "b")
        raise InterruptedRunError("stopped")
    fields = json.loads(path.read_text())
    assert (fields["complete"], fields["files"], fields["processed"]) == (False, 3, 2)
    assert fields["audio_hours"] == 2
    assert fields["failures"] == [{"kind": "\\x1bbad", "count": 1, "messages": ["b: \\x1bbad"]}]
    assert "1 of 3 files failed:\n1 x \\x1bbad:\n" in capsys.readouterr().err


def test_a_file_that_fails_twice_is_one_that_failed(capsys):
    with summary.batch("organize", None) as counts:
        counts.files = 2
        counts.failed("b: is damaged", "b")
        counts.add_failure("b: is read-only", "b")
    assert "1 of 2 files failed:\n1 x is damaged:\n" in capsys.readouterr().err


def test_summary_of_a_folder_or_a_failed_run_is_not_written(tmp_path):
    with pytest.raises(UserError, match=r"--summary: .* is a folder"), summary.batch("x", tmp_path):
        pass
    with pytest.raises(UserError, match="other"), summary.batch("x", tmp_path / "s.json"):
        raise UserError("other")
    assert not (tmp_path / "s.json").exists()


def test_every_batch_mode_writes_a_summary(trained, tones, tmp_path, monkeypatch):
    library = tmp_path / "library"
    shutil.copytree(tones / "low", library)
    (library / "bad.wav").write_text("text")
    (songs := sorted(library.glob("0*.wav"))).pop(0)
    path, weights = tmp_path / "s.json", f"--weights={trained}"
    index, folder = tmp_path / "i.npz", tmp_path / "organized"
    store = f"--config.store_dir={tmp_path / 'store'}"
    (tmp_path / "music").mkdir()
    shutil.copytree(library, tmp_path / "music" / "low")
    shutil.copytree(tones / "mid", tmp_path / "music" / "mid")
    num_clips = len(songs) + 1 + len(list((tones / "mid").iterdir()))
    cases = {
        "embed": (["embed", library, weights, f"--output={index}"], len(songs) + 1, index),
        "similar": (
            ["similar", songs[0], f"--library={library}", f"--index={tmp_path / 'j.npz'}", weights],
            len(songs) + 1, tmp_path / "j.npz",
        ),
        "organize": (
            ["organize", library, weights, f"--output={folder}"], len(songs) + 1, folder,
        ),
        "prepare": (
            ["prepare", *tiny.SETTINGS, f"--data_dir={tmp_path / 'music'}", store], num_clips, None,
        ),
    }  # fmt: skip
    for mode, (arguments, num_good, result) in cases.items():
        assert tiny.call(monkeypatch, *arguments, f"--summary={path}") == 1, mode
        fields = json.loads(path.read_text())
        assert (fields["mode"], fields["complete"], fields["failed"]) == (mode, True, 1)
        assert fields["files"] == fields["processed"] == num_good + 1
        assert fields["audio_hours"] == pytest.approx(2.0 * num_good / 3600, abs=2e-4)
        assert "bad.wav" in fields["failures"][0]["messages"][0]
        assert "bad.wav" not in fields["failures"][0]["kind"]
        assert result is None or fields["results"] == [str(result)]


def test_organize_continues_with_another_threshold(trained, tones, tmp_path, monkeypatch):
    arguments = ["organize", tones / "low", f"--weights={trained}", f"--output={tmp_path / 'o'}"]
    path = tmp_path / "s.json"
    assert tiny.call(monkeypatch, *arguments) == 0
    assert tiny.call(monkeypatch, *arguments, "--threshold=0.9", f"--summary={path}") == 0
    fields = json.loads(path.read_text())
    assert (fields["kept"], fields["processed"]) == (fields["files"], 0)

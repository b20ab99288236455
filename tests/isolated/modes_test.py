import json
import shutil

import pytest
import tiny
from calls_test import fake_ffmpeg

from deepgenre.isolated import calls
from deepgenre.library import tag_writer

CRASH = "kill -SEGV $PPID"  # as a native decoder in the worker that started it


@pytest.fixture
def music(tones, tmp_path, monkeypatch):
    """Two genres, with one file at which decoding crashes."""
    calls.end_idle()
    song = fake_ffmpeg(tmp_path, monkeypatch, CRASH)
    for genre in ("low", "mid"):
        shutil.copytree(tones / genre, tmp_path / "music" / genre)
    song.rename(tmp_path / "music" / "low" / "01b.m4a")
    yield tmp_path / "music"
    calls.end_idle()


def test_predict_and_prepare_continue_after_a_crash(trained, music, monkeypatch, tmp_path, capfd):
    output = tmp_path / "songs.jsonl"
    arguments = ["predict", music / "low", f"--weights={trained}", f"--output={output}"]
    assert tiny.call(monkeypatch, *arguments) == 1
    rows = {row["path"][-7:]: row for row in map(json.loads, output.read_text().splitlines())}
    failed = [name for name, row in rows.items() if row.get("error")]
    assert failed == ["01b.m4a"]
    assert len(rows) == 9
    assert "crashed (SIGSEGV)" in rows["01b.m4a"]["error"]
    for workers in (1, 2):
        store = f"--config.store_dir={tmp_path / f'store{workers}'}"
        settings = [*tiny.SETTINGS, f"--config.prepare_workers={workers}", f"--data_dir={music}"]
        assert tiny.call(monkeypatch, "prepare", *settings, store) == 1
        printed = capfd.readouterr().err
        assert "01b.m4a: the process that read it crashed (SIGSEGV)" in printed
        assert "prepared: 16 of 17 clips" in printed


def test_organize_leaves_a_song_at_which_the_tags_crash(music, monkeypatch, tmp_path):
    """Verifying a copy decodes it: the song stays, and no copy."""
    song = music / "low" / "01b.m4a"
    before, names = song.read_bytes(), sorted(music.rglob("*"))
    with pytest.raises(tag_writer.UserError, match=r"01b.m4a: "):
        tag_writer.rewrite(song, [], lambda line: None)
    assert song.read_bytes() == before
    assert sorted(music.rglob("*")) == names

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data import shards, store
from deepgenre.data.prepare import prepare
from deepgenre.data.store import Records
from deepgenre.errors import UserError


def config_of(folder: Path, **changes):
    config = defaults.get_config()
    config.dataset = "folder"
    config.store_dir = str(folder / "store")
    config.prepare_workers = 1
    config.update(changes)
    return config


@pytest.fixture
def music(tmp_path: Path) -> Path:
    return tiny.compose(tmp_path / "music", clips_per_genre=3, seconds=0.5)


def levels_of(prepared) -> list[np.ndarray]:
    records = Records(prepared.folder, prepared.rows, np.uint8)
    return [records[index] for index in range(len(records))]


def test_rows_describe_the_records(music: Path):
    prepared = prepare(config_of(music.parent), music)
    assert [row.key for row in prepared.rows] == sorted(
        f"{genre}/{number:03d}.wav" for genre in tiny.PITCHES_HZ for number in range(3)
    )
    levels = levels_of(prepared)
    for row, clip in zip(prepared.rows, levels, strict=True):
        assert row.labels == (row.key.split("/")[0],)
        assert clip.shape == (row.measured.frames, row.measured.bands) == (11, 128)
    every = np.concatenate(levels).astype(np.float64)
    mean, deviation = store.mean_and_deviation(prepared.rows)
    assert mean == pytest.approx(every.mean(), rel=1e-12)
    assert deviation == pytest.approx(every.std(), rel=1e-12)
    assert store.read_index(prepared.folder) == prepared.rows


def test_rerun_prepares_only_new_or_changed_clips(music: Path, decoded: list[str]):
    config = config_of(music.parent)
    prepare(config, music)
    assert len(decoded) == 9
    decoded.clear()
    prepare(config, music)
    assert decoded == []
    tiny.compose(music, clips_per_genre=4, seconds=0.5)  # rewrites three, adds a fourth
    before = {
        row.key: row.measured for row in store.read_index(next((music.parent / "store").iterdir()))
    }
    touched = music / "low" / "000.wav"
    assert before["low/000.wav"].source_mtime_ns != touched.stat().st_mtime_ns
    prepared = prepare(config, music)
    assert sorted(decoded) == sorted(row.key for row in prepared.rows)
    decoded.clear()
    (music / "low" / "003.wav").unlink()
    assert len(prepare(config, music).rows) == 11
    assert decoded == []


def test_labels_are_read_from_the_dataset_not_the_shards(music: Path, decoded: list[str]):
    manifest = music / "manifest.csv"
    manifest.write_text("path,labels\nlow/000.wav,calm\nhigh/000.wav,shrill\n")
    config = config_of(music.parent)
    assert [row.labels for row in prepare(config, manifest).rows] == [("shrill",), ("calm",)]
    decoded.clear()
    manifest.write_text("path,labels\nlow/000.wav,deep\nhigh/000.wav,shrill\n")
    assert [row.labels for row in prepare(config, manifest).rows] == [("shrill",), ("deep",)]
    assert decoded == []


def test_unreadable_files_are_reported_and_skipped(music: Path, capsys, monkeypatch):
    (music / "low" / "empty.wav").touch()
    (music / "mid" / "text.mp3").write_text("no music")
    arguments = [f"--config={tiny.ROOT / 'configs/folder.py'}", "--mode=prepare"]
    arguments += [f"--data_dir={music}", f"--config.store_dir={music.parent / 'store'}"]
    assert tiny.call(monkeypatch, *arguments, "--config.prepare_workers=1") == 1
    errors = capsys.readouterr().err
    assert "low/empty.wav: is empty" in errors
    assert "mid/text.mp3: is not audio" in errors
    assert "prepared: 9 of 11 clips" in errors
    assert len(store.read_index(next((music.parent / "store").iterdir()))) == 9


def test_two_processes_prepare_the_same_levels_as_one(tmp_path: Path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=22, seconds=0.1)
    one = prepare(config_of(tmp_path, store_dir=str(tmp_path / "one")), music)
    two = prepare(config_of(tmp_path, store_dir=str(tmp_path / "two"), prepare_workers=2), music)
    assert len(list((two.folder / "shards").glob("*.jsonl"))) == 2  # two tasks of at most 64
    assert [row.key for row in one.rows] == [row.key for row in two.rows]
    for left, right in zip(levels_of(one), levels_of(two), strict=True):
        np.testing.assert_array_equal(left, right)


def test_killed_prepare_leaves_complete_shards(tmp_path: Path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=100, seconds=0.3)
    process = tiny.start(
        f"--config={tiny.ROOT / 'configs/folder.py'}",
        "--mode=prepare",
        f"--data_dir={music}",
        f"--config.store_dir={tmp_path / 'store'}",
        "--config.prepare_workers=2",
        cwd=tmp_path,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "store").glob("*/shards/*.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = tiny.children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    tiny.wait_for_end(workers)
    folder = next((tmp_path / "store").iterdir())
    kept = store.read_measured(folder)
    assert 0 < len(kept) < 300
    prepared = prepare(config_of(tmp_path), music)
    whole = prepare(config_of(tmp_path, store_dir=str(tmp_path / "whole")), music)
    assert kept.items() <= {row.key: row.measured for row in prepared.rows}.items()
    assert len(prepared.rows) == 300
    for left, right in zip(levels_of(prepared), levels_of(whole), strict=True):
        np.testing.assert_array_equal(left, right)


def test_waveform_records_have_their_dtype(music: Path):
    config = config_of(music.parent)
    config.frontend.kind = "waveform"
    prepared = prepare(config, music)
    records = Records(prepared.folder, prepared.rows, FrontEnd(kind="waveform").stored_dtype)
    assert records[0].dtype == np.int16
    assert records[0].shape == (round(0.5 * tiny.RATE_HZ), 1)


def test_mel_power_is_stored_as_float16_with_its_mean_and_deviation(music: Path):
    config = config_of(music.parent)
    config.frontend.kind = "musicnn"
    prepared = prepare(config, music)
    records = Records(prepared.folder, prepared.rows, FrontEnd(kind="musicnn").stored_dtype)
    power = np.stack([records[index] for index in range(len(records))])
    assert power.dtype == np.float16
    mean, deviation = store.mean_and_deviation(store.read_index(prepared.folder))
    assert mean == pytest.approx(power.mean(dtype=np.float64))
    assert deviation == pytest.approx(power.std(dtype=np.float64))


@pytest.mark.parametrize("kind", ["musicnn", "waveform"])
def test_spectrograms_are_rejected_if_the_front_end_requires_audio(tmp_path: Path, kind: str):
    for genre in ("a", "b"):
        (tmp_path / "music" / genre).mkdir(parents=True)
        np.save(tmp_path / "music" / genre / "0.npy", np.zeros((128, 20), np.uint8))
    config = config_of(tmp_path)
    config.frontend.kind = kind
    with pytest.raises(UserError, match=f"'{kind}' requires audio"):
        prepare(config, tmp_path / "music")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk_is_reported_and_leaves_complete_shards(tmp_path: Path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=45, seconds=3.0)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no disks")
    try:
        with pytest.raises((UserError, OSError), match="No space left on device"):
            prepare(config_of(tmp_path, store_dir=str(disk)), music)
        kept = store.read_measured(next(disk.iterdir()))
        assert not list(disk.glob("*/shards/.*"))
        for measured in kept.values():
            shard = next(disk.iterdir()) / "shards" / f"{measured.shard}.arrayrecord"
            assert shard.stat().st_size > measured.frames * measured.bands
    finally:
        subprocess.run(["umount", disk], check=True)


def test_store_that_is_not_a_folder_is_reported(music: Path):
    (music.parent / "store").write_text("a file where the store should be")
    with pytest.raises(OSError, match=r"store"):
        prepare(config_of(music.parent), music)


def test_damaged_index_of_all_clips_is_reported_and_written_again(music: Path):
    prepared = prepare(config_of(music.parent), music)
    index = prepared.folder / "index.jsonl"
    index.write_text("{half a li")
    with pytest.raises(UserError, match=r"index.jsonl: is damaged"):
        store.read_index(prepared.folder)
    prepare(config_of(music.parent), music)
    assert store.read_index(prepared.folder) == prepared.rows


def test_constant_clips_are_rejected(music: Path):
    prepared = prepare(config_of(music.parent), music)
    flat = shards.measure("flat", np.full((3, 4), 9, np.uint8), music / "low" / "000.wav")
    rows = [store.Row("flat", ("x",), "g", "", flat)]
    with pytest.raises(UserError, match="one constant"):
        store.mean_and_deviation(rows)
    assert prepared.rows

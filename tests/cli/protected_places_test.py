"""Read-only data, stores, caches and outputs; clocks that were changed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from deepgenre.files import stamp
from deepgenre.library import tag_writer

YEAR_NS = 365 * 86_400 * 10**9


@contextlib.contextmanager
def read_only(*places: Path) -> Iterator[None]:
    """Mounts folders over themselves, so that root cannot write there either."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a folder")
    with contextlib.ExitStack() as mounted:
        for place in places:
            bind = ["mount", "--bind", place, place]
            if subprocess.run(bind, check=False, capture_output=True).returncode:
                pytest.skip("this machine mounts no folders")
            mounted.callback(subprocess.run, ["umount", place], check=True)
            subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Runs a mode in a folder of its own; returns the code and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        code = tiny.call(monkeypatch, *arguments)
        return code, capfd.readouterr().err

    return call


def states(folder: Path) -> dict[Path, object]:
    return {path: stamp(path) for path in sorted(folder.rglob("*"))}


def test_songs_that_are_read_only_are_organized_and_each_refused_its_tags(run, trained, tmp_path):
    songs = tiny.compose(tmp_path / "songs", clips_per_genre=1, seconds=1.5)
    before = states(songs)
    with read_only(songs):
        arguments = [f"--weights={trained}", "--output=out", "--threshold=0", "--write"]
        code, errors = run("organize", songs, *arguments)
    assert code == 1
    assert "3 of 3 files failed:" in errors
    assert states(songs) == before
    assert list((tmp_path / "out").glob("*.m3u8"))
    assert not (tmp_path / "out" / "journal.jsonl").exists() or "changed 0 files" in errors


@pytest.mark.parametrize("mode", ["predict", "embed", "organize", "prepare", "train"])
def test_output_on_a_read_only_disk_is_one_line_that_names_it(run, trained, tones, tmp_path, mode):
    (tmp_path / "disk").mkdir()
    song = tones / "low" / "000.wav"
    output = {"predict": "o.csv", "embed": "o.npz", "organize": "o"}.get(mode, "")
    command = [mode, song, f"--weights={trained}", f"--output=disk/{output}"]
    if mode in ("prepare", "train"):
        command = [mode, *tiny.settings(tones), "--config.store_dir=disk"]
    if mode == "train":
        command[-1] = "--workdir=disk/run"
    with read_only(tmp_path / "disk"):
        code, errors = run(*command)
    assert code == 1
    assert errors.splitlines()[-1].startswith("deepgenre: ")
    assert "disk" in errors.splitlines()[-1]
    assert "Read-only file system" in errors or "is protected" in errors
    assert "Traceback" not in errors


@pytest.mark.drill
def test_data_store_home_and_caches_may_be_read_only(tones, trained, tmp_path):
    """As in a container: only the workdir and the output can be written."""
    home = tmp_path / "home"
    home.mkdir()
    environment = tiny.environment() | {"HOME": str(home), "PYTHONPATH": str(tiny.ROOT)}
    del environment["JAX_COMPILATION_CACHE_DIR"]

    def call(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "deepgenre.main", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr

    before = states(tones.parent)
    with read_only(tones.parent, home):
        settings = tiny.settings(tones)
        call("prepare", *settings)
        call("train", *settings, f"--workdir={tmp_path / 'run'}", "--config.num_epochs=1")
        call("eval", f"--weights={trained}", f"--data_dir={tones}", "--workdir=evaluated")
        call("predict", tones, f"--weights={trained}", "--output=o.jsonl")
        call("embed", tones, f"--weights={trained}", "--output=o.npz")
    assert states(tones.parent) == before


def test_times_in_the_future_or_before_1970_are_times_as_others(run, trained, tmp_path):
    songs = tiny.compose(tmp_path / "songs", clips_per_genre=2, seconds=1.5)
    for number, song in enumerate(sorted(songs.rglob("*.wav"))):
        moment = (100 if number % 2 else -20) * YEAR_NS + number
        os.utime(song, ns=(moment, moment))
    for command, done in (
        (["predict", songs, f"--weights={trained}", "--output=o.csv", "--resume"], "6 of 6 files"),
        (["embed", songs, f"--weights={trained}", "--output=o.npz"], "6 of 6 files unchanged"),
        (["prepare", *tiny.settings(songs)], ""),
    ):
        assert run(*command)[0] == 0
        index = [*tmp_path.glob("store/*/index.jsonl")]
        before = [*map(stamp, index)]
        code, errors = run(*command)
        assert code == 0
        assert done in errors
        assert [*map(stamp, index)] == before  # not prepared again


def test_clock_that_goes_back_changes_neither_tags_nor_their_undo(
    run, trained, tmp_path, monkeypatch
):
    songs = tiny.compose(tmp_path / "songs", clips_per_genre=1, seconds=1.5)
    originals = {song: (song.read_bytes(), stamp(song)) for song in songs.rglob("*.wav")}
    arguments = [f"--weights={trained}", "--output=out", "--threshold=0"]
    moments = [time.time_ns() + 30 * YEAR_NS, time.time_ns() - 30 * YEAR_NS]
    written = []
    for moment in moments:
        monkeypatch.setattr(tag_writer.time, "time_ns", lambda moment=moment: moment)
        code, errors = run("organize", songs, *arguments, "--write")
        assert code == 0, errors
        written.append({song: (song.read_bytes(), stamp(song)) for song in originals})
    assert written[0] == written[1] != originals
    assert "changed 0 files" in errors
    assert run("organize", "--undo", "--output=out")[0] == 0
    assert {song: (song.read_bytes(), stamp(song)) for song in originals} == originals

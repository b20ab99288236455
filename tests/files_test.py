"""Atomic writes, removal of what killed writers left, and one writer at a time."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from deepgenre import files
from deepgenre.errors import UserError


@pytest.fixture
def ended_pid() -> int:
    """Returns the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts a process that runs code; returns once it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys, time\nfrom pathlib import Path\n{code}", *arguments],
        env=os.environ | {"PYTHONPATH": str(tiny.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


WRITE = """
from deepgenre import files
with files.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
UPDATE = """
from deepgenre import files
with files.updating(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def ends() -> Iterator[list[subprocess.Popen]]:
    """Ends the processes that a test puts into the list."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def write(path: Path, text: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(text)


def test_temporary_file_of_a_killed_writer_is_removed_by_the_next(tmp_path, ends):
    path = tmp_path / "out.csv"
    path.write_text("old")
    writer = start(WRITE, path)
    ends.append(writer)
    left = tmp_path / f".out.csv.{writer.pid}.part"
    write(path, "new")
    assert left.read_text() == "half"  # it is running
    writer.kill()
    writer.wait()
    assert left.exists()
    write(path, "newest")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "newest"


def test_only_regular_files_of_the_same_name_are_removed(tmp_path, ended_pid):
    kept = [
        f".other.csv.{ended_pid}.part",
        f"out.csv.{ended_pid}.part",
        f".out.csv.{ended_pid}.part.bak",
        f".outxcsv.{ended_pid}.part",
        f".out.csv.x.{ended_pid}.part",
        ".out.csv.part",
        ".out.csv.0.part",
        ".out.csv.-1.part",
        ".out.csv.1x.part",
        f".out.csv.{os.getppid()}.part",
    ]
    for name in kept:
        (tmp_path / name).write_text("keep")
    (tmp_path / f".out.csv.0{ended_pid}.part").symlink_to(tmp_path / kept[0])
    (tmp_path / ".out.csv.4999999.part").mkdir()
    (tmp_path / ".out.csv.4999998.part").symlink_to(tmp_path / kept[0])
    for name in (f".out.csv.{ended_pid}.part", ".out.csv.9999999999.part"):
        (tmp_path / name).write_text("remove")
    before = {entry.name for entry in tmp_path.iterdir()}
    write(tmp_path / "out.csv", "new")
    after = {entry.name for entry in tmp_path.iterdir()}
    assert before - after == {f".out.csv.{ended_pid}.part", ".out.csv.9999999999.part"}
    assert after - before == {"out.csv"}


def test_locked_file_of_a_process_that_is_not_seen_here_is_kept(tmp_path, ended_pid):
    elsewhere = tmp_path / f".out.csv.{ended_pid}.part"  # e.g. of another container
    with elsewhere.open("wb") as stream:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
        write(tmp_path / "out.csv", "new")
        assert elsewhere.exists()
    write(tmp_path / "out.csv", "new")
    assert not elsewhere.exists()


def test_failed_write_keeps_the_file_and_leaves_nothing(tmp_path):
    write(tmp_path / "out.csv", "old")
    with pytest.raises(KeyError), files.replacing(tmp_path / "out.csv") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


def test_one_process_updates_at_a_time_and_a_killed_one_lets_go(tmp_path, ends):
    path = tmp_path / "v.npz"
    (tmp_path / "link.npz").symlink_to(path)
    holder = start(UPDATE, path)
    ends.append(holder)
    for name in (path, tmp_path / "link.npz"):
        refusal = f"is being updated by process {holder.pid}; wait until it ends"
        with pytest.raises(UserError, match=refusal), files.updating(name):
            pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".v.npz.lock").exists()
    with files.updating(path):
        assert (tmp_path / ".v.npz.lock").read_text() == str(os.getpid())
    assert not (tmp_path / ".v.npz.lock").exists()


def test_real_paths_agree_for_all_paths_to_a_file(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    song = tmp_path / "a" / "b" / "x.mp3"
    song.touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "y.mp3").symlink_to("b/x.mp3")
    monkeypatch.chdir(tmp_path / "a")
    paths = ["b/x.mp3", "../link/b/x.mp3", "y.mp3", "b/../b/x.mp3", f"{song}", "x\0.mp3", "/x.mp3"]
    real = files.real_paths([Path(path) for path in paths])
    assert real[:5] == [str(song.resolve())] * 5
    assert real[6] == "/x.mp3"

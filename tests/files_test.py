"""Atomic writes, removal of what killed writers left, and one writer at a time."""

import errno
import fcntl
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from deepgenre import files
from deepgenre.errors import UserError

HOST = socket.gethostname()


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
    left = tmp_path / f".out.csv.{files.process_name().split('-')[0]}-{writer.pid}.part"
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


def test_files_of_other_hosts_are_kept_and_those_of_other_names_removed(tmp_path, ended_pid):
    host = files.process_name().partition("-")[0]
    elsewhere = tmp_path / f".out.csv.{'0' * 6 if host != '0' * 6 else '1' * 6}-{ended_pid}.part"
    other_name = tmp_path / f".gone.csv.{host}-{ended_pid}.part"
    for path in (elsewhere, other_name):
        path.write_text("half")
    write(tmp_path / "out.csv", "new")
    assert elsewhere.exists()
    assert not other_name.exists()


def test_several_outputs_and_folders_are_locked_together(tmp_path, ends):
    (tmp_path / "out").mkdir()
    holder = start(UPDATE, tmp_path / "out")
    ends.append(holder)
    with (
        pytest.raises(UserError, match=r"out: is being updated"),
        files.updating(tmp_path / "a.csv", None, tmp_path / "out"),
    ):
        pass
    assert not (tmp_path / ".a.csv.lock").exists()
    with files.updating(tmp_path / "a.csv", None):
        assert (tmp_path / ".a.csv.lock").exists()


def test_writer_notices_that_its_file_was_replaced(tmp_path):
    path = tmp_path / "out.csv"
    with path.open("ab") as stream:
        files.check_not_replaced(path, stream)
        write(path, "new")
        with pytest.raises(UserError, match=r"out.csv: was replaced or removed by another program"):
            files.check_not_replaced(path, stream)
        path.unlink()
        with pytest.raises(UserError, match="was replaced or removed"):
            files.check_not_replaced(path, stream)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\ud800{", ""])
def test_json_that_is_too_deep_or_long_is_a_value_error(text):
    with pytest.raises(ValueError):
        files.parse_json(text)
    with pytest.raises(ValueError):
        files.parse_json(text.encode("utf-8", "surrogatepass"))


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
        refusal = f"is being updated by process {holder.pid} on {HOST}; wait until it ends"
        with pytest.raises(UserError, match=refusal), files.updating(name):
            pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".v.npz.lock").exists()
    with files.updating(path):
        assert (tmp_path / ".v.npz.lock").read_text() == f"{os.getpid()} {HOST}"
    assert not (tmp_path / ".v.npz.lock").exists()


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("{ended} {host}", ""),  # killed: its lock file is stale
        ("{running} {host}", "process {running} on {host} (if it has ended, remove "),
        ("{ended} elsewhere", "process {ended} on elsewhere (if it has ended, remove "),
        ("{running}", "process {running} (if it has ended, remove "),  # of an earlier version
        ("", ""),
        ("damaged", ""),
    ],
)
def test_without_locks_of_the_file_system_the_named_process_counts(
    content, refusal, tmp_path, ended_pid, monkeypatch
):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    known = {"ended": ended_pid, "running": os.getppid(), "host": HOST}
    path, lock = tmp_path / "run", tmp_path / ".run.lock"
    lock.write_text(content.format(**known))
    if not refusal:
        with files.updating(path):
            assert lock.read_text() == f"{os.getpid()} {HOST}"
        assert not lock.exists()
        return
    with pytest.raises(UserError) as info, files.updating(path, advice="wait"):
        pass
    expected = f"{path}: is being updated by {refusal.format(**known)}{lock}); wait"
    assert str(info.value) == expected
    assert lock.read_text() == content.format(**known)


def test_a_full_disk_within_an_update_is_not_that_of_its_lock(tmp_path):
    """The error of another file that the block writes keeps its name."""
    with pytest.raises(OSError) as info, files.updating(tmp_path / "out.csv"):
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")
    assert info.value.filename == "elsewhere"


def test_errors_name_the_file_that_was_to_be_written_and_not_the_temporary_one(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (Path("/proc/x.csv"), tmp_path / "file/x.csv", tmp_path / "folder"):
        for writing in (files.replacing, files.updating):
            if path.is_dir() and writing is files.updating:
                continue  # only its lock file is written
            with pytest.raises(OSError) as info, writing(path):
                pass
            assert info.value.filename == str(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("name", "folder", "reason"),
    [
        ("folder", False, "is a folder; give the name of a file to write"),
        ("file", True, "is a file; give a folder"),
        ("file/x.csv", None, "cannot be created, as {root}/file is a file"),
        ("file/deep/x.csv", False, "cannot be created, as {root}/file is a file"),
        ("pipe", False, "is no regular file; give another name"),
        ("folder", None, ""),
        ("file", False, ""),
        ("new/deep/x.csv", False, ""),
    ],
)
def test_places_that_cannot_be_written_are_refused(name, folder, reason, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    if not reason:
        files.check_place(tmp_path / name, "--output", folder=folder)
        return
    with pytest.raises(UserError) as info:
        files.check_place(tmp_path / name, "--output", folder=folder)
    assert str(info.value).startswith(f"--output: {tmp_path / name} ")
    assert reason.format(root=tmp_path) in str(info.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_protected_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="is protected"):
        files.check_place(tmp_path / "x.csv", "--output")


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


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_lines_are_appended_where_the_file_system_has_no_locks(tmp_path, monkeypatch, number):
    def no_locks(descriptor, operation):
        raise OSError(number, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    path = tmp_path / "log.jsonl"
    for line in (b"1\n", b"2\n"):
        files.append_line(path, line)
        with files.updating(path), files.replacing(tmp_path / "other"):
            pass
    assert path.read_bytes() == b"1\n2\n"


def test_line_after_one_of_a_killed_writer_is_a_line_of_its_own(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"1\n{half")
    files.append_line(path, b"2\n")
    assert path.read_bytes() == b"1\n{half\n2\n"


@pytest.mark.parametrize("bytes_left", [0, 1, 5])
def test_line_for_which_there_is_no_space_leaves_nothing(tmp_path, bytes_left):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"whole line\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + bytes_left, limits[1]))
    try:
        with pytest.raises(OSError, match=r"log\.jsonl"):
            files.append_line(path, b"another line\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"whole line\n"

"""The folder of uploads is private, and removed also after a crash."""

import signal
import subprocess
import sys

import tiny

from deepgenre.server.uploads_folder import PREFIX, uploads_folder

CHILD = """
import sys, time
from deepgenre.server.uploads_folder import uploads_folder
with uploads_folder() as folder:
    (folder / "song").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_killed_servers_folder_is_removed_and_a_running_ones_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "own").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "own")
    (tmp_path / f"{PREFIX}file").touch()
    command = [sys.executable, "-c", CHILD]
    environment = tiny.environment() | {"TMPDIR": str(tmp_path)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout
    left = tmp_path / child.stdout.readline().strip()
    with uploads_folder() as folder:
        assert left.exists() and folder.exists()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert (left / "song").exists()
    with uploads_folder():
        assert not left.exists()
    assert (tmp_path / "own").exists() and (tmp_path / f"{PREFIX}file").exists()

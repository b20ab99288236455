"""Several processes on this machine, with small programs in place of training."""

import signal
import subprocess
import sys
import time

import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.processes import local

# Says that it is ready, and waits for a request to stop.
WAITS = """
import os, signal, sys
signal.signal(15, lambda *_: sys.exit(0))
os.write(1, b"on\\n")
signal.pause()
"""


def commands(*programs: str) -> list[list[str]]:
    return [[sys.executable, "-c", program] for program in programs]


def test_first_exit_code_that_is_not_zero(monkeypatch):
    monkeypatch.setattr(local, "END_SECONDS", 0.5)
    exits = "import sys, time; time.sleep({}); sys.exit({})"
    assert local.run(commands(exits.format(0, 0), exits.format(0, 0)), [{}, {}]) == 0
    assert local.run(commands(exits.format(0.6, 3), exits.format(0, 4)), [{}, {}]) == 4
    start = time.monotonic()
    assert local.run(commands(WAITS, exits.format(0, 7)), [{}, {}]) == 7
    assert time.monotonic() - start < 20  # the one that waits does not


def test_a_killed_process_is_named(capfd, monkeypatch):
    monkeypatch.setattr(local, "END_SECONDS", 0.1)
    killed = "import os; os.kill(os.getpid(), 9)"
    assert local.run(commands(WAITS, killed), [{}, {}]) == 128 + signal.SIGKILL
    assert "deepgenre: process 1 was ended by SIGKILL" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_signals_ask_the_processes_to_save(number, code):
    program = f"""
import sys
from deepgenre.processes import local
sys.exit(local.run([[sys.executable, "-c", {WAITS!r}]] * 2, [{{}}, {{}}]))
"""
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    for _ in range(2):
        assert launcher.stdout.readline() == "on\n"
    children = tiny.children(launcher.pid)
    assert len(children) == 2
    launcher.send_signal(number)
    assert launcher.wait(30) == code
    if sys.platform == "linux" or number != signal.SIGKILL:
        tiny.wait_for_end(children)


def test_gpus_are_divided(monkeypatch):
    monkeypatch.setattr(local.devices, "gpus_to_share", lambda: ["0", "1", "4", "5"])
    visible = [one["CUDA_VISIBLE_DEVICES"] for one in local.gpus_of_each(2)]
    assert visible == ["0,1", "4,5"]
    with pytest.raises(UserError, match="4 GPUs cannot be divided among 3 processes"):
        local.gpus_of_each(3)
    monkeypatch.setattr(local.devices, "gpus_to_share", list)
    assert local.gpus_of_each(3) == [{}, {}, {}]


@pytest.mark.parametrize("number", ["0", "-1", "two", ""])
def test_number_of_processes_is_checked(number, capsys):
    assert local.main([f"--processes={number}", "train"]) == 1
    assert "deepgenre: --processes: must be a number, 1 or more" in capsys.readouterr().err


def test_commands_name_the_place_of_each():
    one, two = (local.command(["train", "--config=gtzan"], 1234, 2, index) for index in (0, 1))
    assert one[:-1] == two[:-1]
    assert one[-3:] == [
        "--coordinator_address=127.0.0.1:1234",
        "--num_processes=2",
        "--process_id=0",
    ]

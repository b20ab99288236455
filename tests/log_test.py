"""Messages that are safe on a terminal, and the log of metrics of a run that is resumed."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deepgenre import files, interrupt, log
from deepgenre.errors import UserError

CONTROLS = ["\x1b", "\x07", "\x9b", "\r", "\x7f", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f"]


@pytest.mark.parametrize("letter", CONTROLS)
def test_no_control_or_direction_mark_reaches_the_terminal(letter, capsys):
    name = f"a{letter}b"
    log.warning("%s: is empty", name)
    log.info(f"{name}: is empty")  # also where a message was composed before
    errors = capsys.readouterr().err
    assert letter not in errors.replace("\r\n", "\n")
    assert errors.count(repr(letter)[1:-1]) == 2


def test_letters_of_all_scripts_stay_as_they_are():
    text = "Зáž 日本 عربي 👩‍👩‍👧 é"
    assert log.escape_controls(text) == text


def test_lines_of_a_message_stay_lines_and_those_of_names_do_not(capsys):
    log.info("first\nsecond %s", "a\nb")
    assert capsys.readouterr().err == "first\nsecond a\\nb\n"


def lines(*steps: int) -> str:
    return "".join(json.dumps({"step": s, "split": "train", "loss": 1.0}) + "\n" for s in steps)


def test_resumed_log_drops_later_steps_without_a_moment_of_less(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines(1, 2, 3) + '{"step": 4, "spl')
    seen = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (seen.append(path.read_text()), replace(self, to))[1]
    )
    metrics = log.MetricsLog(tmp_path, step=2)
    metrics.write(3, "valid", {"loss": 0.5})
    metrics.close()
    assert seen == [lines(1, 2, 3) + '{"step": 4, "spl']  # whole until it was replaced
    assert [line["step"] for line in log.read_metrics(tmp_path)] == [1, 2, 3]


def test_log_that_needs_no_change_is_not_rewritten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines(1, 2))
    before = path.stat().st_ino
    log.MetricsLog(tmp_path, step=2).close()
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "damage", ["{", "[1]", '{"step": "1", "split": "x"}', "[" * 100_000, "\x00"]
)
def test_damaged_line_is_named(tmp_path, damage):
    (tmp_path / "metrics.jsonl").write_text(lines(1) + damage + "\n" + lines(2))
    for read in (log.read_metrics, lambda folder: log.MetricsLog(folder, step=2)):
        with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is damaged"):
            read(tmp_path)


def test_writer_notices_that_the_log_was_replaced(tmp_path):
    metrics = log.MetricsLog(tmp_path, step=0)
    metrics.write(1, "train", {})
    with files.replacing(tmp_path / "metrics.jsonl") as temporary:
        temporary.write_text("")
    with pytest.raises(UserError, match="was replaced or removed by another program"):
        metrics.write(2, "train", {})
    metrics.close()


def fail_in_a_thread() -> None:
    def fail() -> None:
        raise ValueError("of a library")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_tracebacks_of_threads_are_dropped_only_where_a_message_states_the_cause(capsys):
    with pytest.raises(UserError), log.without_background_tracebacks():
        fail_in_a_thread()
        raise UserError("the disk is full")
    assert capsys.readouterr().err == ""
    with log.without_background_tracebacks():
        fail_in_a_thread()
    assert "ValueError: of a library" in capsys.readouterr().err
    with pytest.raises(KeyError), log.without_background_tracebacks():
        fail_in_a_thread()
        raise KeyError
    assert "ValueError: of a library" in capsys.readouterr().err


INTERRUPTED = """
import os, signal
from deepgenre import interrupt
signal.signal(signal.SIGINT, interrupt.raise_or_exit)
try:
    {}
except KeyboardInterrupt:
    print("raised")
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", (0, "raised\n", "")),
        ("import loading", (130, "", "deepgenre: stopped\n")),
    ],
)
def test_interrupt_while_libraries_load_is_one_line(tmp_path, code, expected):
    (tmp_path / "loading.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException as error:\n    raise ImportError('half loaded') from error\n"
    )
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED.format(code))
    found = subprocess.run(
        [sys.executable, script],
        env={"PYTHONPATH": f"{tmp_path}:{Path(log.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == expected


def test_interrupt_that_a_library_swallowed_is_not_lost(monkeypatch):
    monkeypatch.setattr(interrupt, "_raised", False)
    with contextlib.suppress(KeyboardInterrupt):  # as callbacks of the garbage collector do
        interrupt.raise_or_exit(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt), interrupt.stop_requests():
        pass
    with interrupt.stop_requests() as requested:
        assert not requested()


def test_inner_block_knows_of_the_request_in_the_outer_one():
    with interrupt.stop_requests() as outer:
        signal.raise_signal(signal.SIGTERM)
        with interrupt.stop_requests() as inner:
            assert inner() == outer() == signal.SIGTERM
        assert outer() == signal.SIGTERM
    with interrupt.stop_requests() as requested:
        assert not requested()

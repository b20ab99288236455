"""Messages of JAX's C++ runtime, as it prints them, become one line."""

import subprocess
import sys

import pytest

from deepgenre import processes
from deepgenre.errors import UserError
from deepgenre.processes import native_messages

LINE = b"deepgenre: another process has ended\n"
# As printed by jaxlib 0.10 when a process was killed.
HELD = b"""\
E1126 06:20:37.397773   31490 coordination_service.cc:1549] [98336] Use error polling to propagate \
the following error to all tasks: UNAVAILABLE: The following tasks are unhealthy:
1
The tasks have crashed. Check the task logs for an earlier error.
E1126 06:20:37.398224   31501 coordination_service_agent.cc:289] Polled an error.
"""
FATAL = b"""\
F1126 06:20:37.398412   31501 client.h:80] Terminating process because the JAX distributed service \
detected fatal errors. absl::Status: UNAVAILABLE: The following tasks are unhealthy:
1

RPC: /xla.coordination.CoordinationService/PollForError
*** Check failure stack trace: ***
    @     0x7f5e58c40634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
OTHERS = b"""\
[Gloo] Rank 0 is connected to 1 peer ranks.
E1126 06:20:37.398224   31501 cuda_driver.cc:12] out of memory
  of the device
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OTHERS + HELD + FATAL, OTHERS + LINE),
        (OTHERS + HELD, OTHERS + HELD),  # perhaps the cause of what ended this process
        (HELD + OTHERS, OTHERS + HELD),
        (HELD + native_messages.REPORT + FATAL, LINE),
        (FATAL + native_messages.REPORT, LINE),
        (OTHERS + native_messages.BE_SILENT + HELD + FATAL, OTHERS),
        (b"", b""),
    ],
)
def test_a_stack_trace_becomes_one_line(text, expected):
    lines = text.splitlines(keepends=True)
    assert b"".join(native_messages.filtered(lines, LINE)) == expected


def test_the_script_outlives_an_aborted_process():
    code = f"""
import os, sys
from deepgenre.processes import native_messages
native_messages.filter_from_now({LINE.decode().strip()!r})
print("said by Python", file=sys.stderr)
os.write(2, {OTHERS + HELD + FATAL!r})
os.abort()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert ended.returncode == -6
    assert ended.stderr == b"said by Python\n" + OTHERS + LINE


def test_errors_of_collectives_are_told_from_mistakes():
    def error(cause: Exception) -> Exception:
        try:
            try:
                raise cause
            except Exception as inner:
                raise UserError("runs/a: a checkpoint could not be written") from inner
        except UserError as outer:
            return outer

    gloo = ValueError("UNKNOWN: Gloo AllGather failed: pair.cc:547] Connection closed by peer")
    assert processes.is_of_others(gloo)
    assert processes.is_of_others(error(gloo))
    assert not processes.is_of_others(error(OSError(28, "No space left on device")))
    assert not processes.is_of_others(UserError("runs/NCCL: does not exist"))

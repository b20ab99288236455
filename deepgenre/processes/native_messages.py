"""Messages of JAX's C++ runtime about a process that has ended: one line instead of a stack trace.

The runtime prints them to standard error and ends the process at once, so that another process,
this file as a script, reads that stream.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

HEAD = re.compile(rb"[IWEF]\d{4} [\d:.]+ +\d+ (\S+?):\d+\] ")  # of messages of the runtime
OF_OTHERS = re.compile(rb"client\.h|coordination_service.*|preemption_.*|distributed_.*")
# What this process asks of the script.
REPORT = b"\0report\n"
BE_SILENT = b"\0be silent\n"


def filter_from_now(line: str) -> None:
    """Reduces the runtime's messages on standard error to `line`, once; others are passed on.

    What Python prints goes to the terminal directly.
    """
    command = [sys.executable, "-I", "-S", __file__, line]
    sys.stderr.flush()
    terminal = os.dup(2)
    script = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert script.stdin is not None
    os.dup2(script.stdin.fileno(), 2)
    script.stdin.close()
    script.returncode = 0  # it ends after this process: not to be waited for
    if sys.stderr.fileno() == 2:
        raw = io.FileIO(terminal, "w")
        sys.stderr = io.TextIOWrapper(raw, errors="backslashreplace", write_through=True)


def report() -> None:
    """Prints the line, if it has not been printed, in place of the messages held so far."""
    os.write(2, REPORT)


def be_silent() -> None:
    """Drops messages about other processes from now on, as this one has ended with an error."""
    os.write(2, BE_SILENT)


def filtered(lines: Iterable[bytes], line: bytes) -> Iterator[bytes]:
    """Yields the lines without messages about other processes; `line` where one is fatal.

    Messages that are not fatal are held, and yielded at the end if none is: they may tell why.
    """
    held: list[bytes] = []
    of_others = reported = False
    for text in lines:
        if head := HEAD.match(text):
            of_others = bool(OF_OTHERS.fullmatch(head[1]))
        if text == REPORT or (head and of_others and text.startswith(b"F")):
            if not reported:
                yield line
            reported = True
        elif text == BE_SILENT:
            reported = True
        elif of_others and not text.startswith(b"["):  # with the lines that follow it
            held.append(text)
        else:
            of_others = False
            yield text
    if not reported:
        yield from held


def main() -> None:
    """Filters standard input to standard error."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with the stream
    for text in filtered(sys.stdin.buffer, sys.argv[1].encode() + b"\n"):
        os.write(2, text)


if __name__ == "__main__":
    main()

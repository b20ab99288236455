"""The program, as `deepgenre MODE ...` or `python -m deepgenre.main --mode=MODE ...`."""

import signal

from deepgenre import interrupt

if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupt.raise_or_exit)  # before anything that is slow to import

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from absl import app

from deepgenre import log
from deepgenre.cli import arguments, flags
from deepgenre.cli.modes import MODES, Mode
from deepgenre.errors import InterruptedRunError, UserError, look_up
from deepgenre.files import FULL_DISK


def main(argv: Sequence[str]) -> int:
    """Runs the mode; returns the exit code. A user's mistake is one line, without a traceback."""
    from deepgenre import devices
    from deepgenre.isolated import calls

    log.quieten_libraries()
    log.set_quiet(flags.QUIET.value)
    for stream in (sys.stdout, sys.stderr):  # file names may hold what it cannot encode
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        devices.set_up()
        mode = look_up(MODES, flags.MODE.value or "", "--mode")
        # Notes of decoders; in other modes, those of libraries for a device or network matter.
        hidden = mode.is_batch and not flags.VERBOSE.value
        notes = log.without_library_notes() if hidden else contextlib.nullcontext()
        with notes, log.without_background_tracebacks(), _processes(mode):
            if mode.takes_songs:
                calls.start_ahead()
            return mode.run([*flags.FILES.value, *argv[1:]])
    except InterruptedRunError as stop:
        return arguments.fail(str(stop), code=stop.code)
    except KeyboardInterrupt:
        return arguments.fail("stopped", code=interrupt.STOPPED)
    except UserError as error:
        return arguments.fail(str(error))
    except BrokenPipeError:  # the reader of our output, e.g. `| head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in FULL_DISK:  # not about a user's file
            raise
        return arguments.fail(f"{error.filename or 'a file of this run'}: {error.strerror}")


def _processes(mode: Mode) -> contextlib.AbstractContextManager[None]:
    """Returns the block in which a mode that can train with other processes joins them."""
    if "num_processes" not in mode.flags:
        return contextlib.nullcontext()
    from deepgenre import processes

    given = processes.Group(
        flags.COORDINATOR.value, flags.NUM_PROCESSES.value, flags.PROCESS_ID.value
    )
    return processes.joined(given, flags.HEARTBEAT_SECONDS.value)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Returns [program, *files]; ends the program with one line where the arguments are wrong."""
    try:
        return arguments.parse(argv)
    except UserError as error:
        sys.exit(arguments.fail(str(error)))
    except BrokenPipeError:  # the reader of --help, e.g. `| head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def run() -> None:
    """Runs the program: the entry point of the console script."""
    signal.signal(signal.SIGINT, interrupt.raise_or_exit)
    try:
        app.run(main, flags_parser=parse_flags)
    except KeyboardInterrupt:
        sys.exit(arguments.fail("stopped", code=interrupt.STOPPED))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the interpreter ends


if __name__ == "__main__":
    run()

"""`python -m deepgenre.main`: runs the mode that the flags ask for, and says what went wrong."""

import errno
import io
import os
import sys
from collections.abc import Sequence

from absl import app
from absl import flags as absl_flags

from deepgenre import log
from deepgenre.cli import flags
from deepgenre.cli.modes import FILE_MODES, MODES
from deepgenre.errors import InterruptedRunError, UserError

absl_flags.adopt_module_key_flags(flags)  # `--help` tells them


def main(argv: Sequence[str]) -> int:
    """Runs the mode; returns the exit code. A user's mistake is one line, without a traceback."""
    from deepgenre import devices

    log.quieten_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    files, mode = [*flags.FILES.value, *argv[1:]], flags.MODE.value
    try:
        if files and mode not in FILE_MODES:
            raise UserError(
                f"{files[0]!r}: --mode={mode} takes no files, only {', '.join(FILE_MODES)} do; "
                "see --help"
            )
        devices.set_up(flags.COORDINATOR.value, flags.NUM_PROCESSES.value, flags.PROCESS_ID.value)
        return MODES[mode](files)
    except InterruptedRunError as stop:
        return _fail(str(stop), code=130)
    except KeyboardInterrupt:
        return _fail("stopped", code=130)
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:  # who reads our output, `| head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:  # not about a user's file
            raise
        return _fail(f"{error.filename or 'a file of this run'}: {error.strerror}")


def _fail(message: str, code: int = 1) -> int:
    print(f"deepgenre: {message}", file=sys.stderr)
    return code


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        files = absl_flags.FLAGS(argv)
        flags.check_config_file()
        return files
    except (UserError, absl_flags.Error, AttributeError, TypeError, ValueError) as error:
        sys.exit(_fail(flags.one_line(error)))


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)

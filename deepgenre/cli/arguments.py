"""From the arguments of the command line to flags, a mode and files."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags

import deepgenre
from deepgenre.cli import configs, flags, help_text
from deepgenre.cli.modes import MODES
from deepgenre.errors import UserError, look_up, unknown_name
from deepgenre.log import escape_controls

HELP = ("--help", "-h", "-help", "--helpshort", "--helpfull")
VERSION = ("--version", "-version")
LOCKED_FIELD = re.compile(r'Key "(\w+)" does not exist and cannot be added')


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags, sets the mode, and returns [program, *files].

    `predict song.mp3` equals `--mode=predict song.mp3`. Help and version are printed here, and end
    the program. Raises UserError where an argument is wrong.
    """
    program, *arguments = _with_flag_files(argv)
    switches = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(argument in VERSION for argument in switches):
        print(f"deepgenre {deepgenre.__version__}")
        raise SystemExit(0)
    if any(argument in HELP for argument in switches):
        mode = next((mode for argument in switches if (mode := _named_mode(argument))), None)
        print(help_text.of_mode(mode) if mode else help_text.overview())
        raise SystemExit(0)
    if not arguments:
        print(help_text.overview())
        raise SystemExit(2)
    flags.ARGUMENTS[:] = [program, *_with_config_paths(arguments)]
    _, *rest = _parse_flags(flags.ARGUMENTS)
    mode, files = _mode_and_files(rest)
    absl_flags.FLAGS.mode = mode
    _check_used(mode, files)
    return [program, *files]


def _with_flag_files(argv: Sequence[str]) -> list[str]:
    """Returns the arguments with the lines of a file in place of each --flagfile=FILE."""
    try:
        return absl_flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
    except absl_flags.Error as error:
        raise UserError(f"--flagfile: {_one_line(error).removeprefix('ERROR:: ')}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--flagfile: is no text file of flags ({error})") from error


def _parse_flags(argv: Sequence[str]) -> list[str]:
    first = next((argument for argument in argv if argument.startswith("--config.")), None)
    has_config = any(argument.startswith("--config=") for argument in argv)
    if first and not has_config:
        raise UserError(f"{first}: give the config as well, e.g. --config=gtzan {first}")
    try:
        return absl_flags.FLAGS(list(argv))
    except Exception as error:  # a config file is code of the user, which may raise anything
        raise UserError(_one_line(error)) from error


def _named_mode(argument: str) -> str | None:
    name = argument.removeprefix("--mode=")
    return name if name in MODES else None


def _with_config_paths(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the path of the config file first: overrides come after it."""
    rest, value = [], None
    switches = iter(arguments)
    for argument in switches:
        if argument == "--":
            rest += [argument, *switches]
        elif argument == "--config":
            value = next(switches, "")
        elif argument.startswith("--config="):
            value = argument.removeprefix("--config=")
        else:
            rest.append(argument)
    mode = next((mode for argument in rest if argument.startswith("--mode=")
                 and (mode := _named_mode(argument))), None)  # fmt: skip
    mode = mode or (_named_mode(rest[0]) if rest else None)
    if value is None and mode:
        value = MODES[mode].default_config or None
    return rest if value is None else [f"--config={configs.resolve(value)}", *rest]


def _mode_and_files(rest: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the mode, and the arguments that are left for it."""
    if flags.MODE.value is not None:
        look_up(MODES, flags.MODE.value, "--mode")
        return flags.MODE.value, list(rest)
    if rest and rest[0] in MODES:
        return rest[0], list(rest[1:])
    if not rest and flags.CONFIG.value is not None:
        return "train", []
    if not rest:
        raise UserError("no mode is given; e.g. deepgenre predict song.mp3, see deepgenre --help")
    first = rest[0]
    if Path(first).exists() or Path(first).suffix or "/" in first:
        raise UserError(
            f"{first!r}: no mode is given; to predict its genre: deepgenre predict {first}, for "
            "other modes see deepgenre --help"
        )
    raise unknown_name("mode", first, MODES)


def _check_used(mode: str, files: Sequence[str]) -> None:
    """Raises UserError naming a file or flag that the mode would ignore."""
    row = MODES[mode]
    if files and not row.files:
        takers = ", ".join(name for name, other in MODES.items() if other.files)
        raise UserError(f"{files[0]!r}: mode {mode} takes no files, only {takers} do; see --help")
    for name in flags.names():
        if absl_flags.FLAGS[name].present and name not in (*row.flags, *flags.COMMON):
            takers = ", ".join(other for other in MODES if name in MODES[other].flags)
            raise UserError(f"--{name}: mode {mode} does not use it, only {takers}; leave it out")


def _one_line(error: Exception) -> str:
    """Returns the message; of ml_collections' errors, which contain others, the innermost."""
    reason = error.args[0] if error.args else error
    config = next((a for a in flags.ARGUMENTS if a.startswith("--config=")), "--config")
    if locked := LOCKED_FIELD.search(str(error)):  # of a config file
        hint = str(error).rpartition("Did you mean ")
        return f"{config}: has no field {locked[1]!r}" + f"; {''.join(hint[1:])}" * bool(hint[1])
    if isinstance(reason, KeyError):
        return f"--config has no field {'; '.join(str(reason.args[0]).splitlines())}"
    lines = str(error).strip().split("\n")
    message = lines[-1] if "Traceback" in str(error) else " ".join(lines)
    expected = (absl_flags.Error, AttributeError, TypeError, ValueError, UserError)
    return (
        message if isinstance(error, expected) else f"{config}: {type(error).__name__}: {message}"
    )


def fail(message: str, code: int = 1) -> int:
    """Prints the message of an error to standard error; returns the exit code."""
    print(f"deepgenre: {escape_controls(message)}", file=sys.stderr)
    return code

"""Progress and messages on the terminal, metrics to files."""

import contextlib
import functools
import io
import os
import sys
import tempfile
import threading
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from absl import logging
from tqdm import tqdm

from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import append_to, check_not_replaced, replacing
from deepgenre.sealed_lines import sealed, unsealed

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


# Marks that change the direction of the text around them, with which a name can look like another.
DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

_quiet = False


def progress(
    items: Iterable | None, *, total: int, unit: str, title: str, initial: int = 0
) -> tqdm:
    """Returns the items behind a progress line on standard error: rate and remaining time."""
    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        disable=_quiet or not total,
        unit=unit,
        desc=title,
        initial=initial,
        file=sys.stderr,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 10.0,  # a log file gets a line now and then only
        smoothing=0.1,
    )


def counted(count: int, noun: str) -> str:
    """Returns '1 clip', '2 clips', '5,329 clips'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def set_quiet(quiet: bool) -> None:
    """Turns progress lines and `info` off or on; warnings stay."""
    global _quiet
    _quiet = quiet


def info(message: str, *values: object) -> None:
    """Prints one line to standard error, unless quiet, above the progress line."""
    if not _quiet:
        warning(message, *values)


def warning(message: str, *values: object) -> None:
    """Prints one line to standard error, also when quiet, above the progress line.

    Control characters become escapes; in values, such as file names, line ends too.
    """
    safe = tuple(v if isinstance(v, int | float) else escape_controls(v) for v in values)
    _write_line(message % safe if values else message, sys.stderr)


def result(line: str) -> None:
    """Prints a line of results to standard output, above the progress line."""
    _write_line(line, sys.stdout)


def _write_line(line: str, stream: TextIO) -> None:
    safe = "\n".join(map(escape_controls, line.split("\n")))
    if sys.stderr.isatty():
        tqdm.write(safe, file=stream)  # clears the progress line and draws it again
    else:
        print(safe, file=stream)


def escape_controls(text: object) -> str:
    """Returns one line that is safe on a terminal.

    Controls, line ends and marks of direction become escapes.
    """
    return "".join(repr(letter)[1:-1] if _is_control(letter) else letter for letter in str(text))


def _is_control(letter: str) -> bool:
    return letter in DIRECTION_MARKS or unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def quieten_libraries() -> None:
    """Keeps messages of absl's users off the terminal: Orbax logs each error that it raises."""
    logging.set_verbosity(logging.FATAL)


@contextlib.contextmanager
def without_library_notes() -> Iterator[None]:
    """Keeps what C libraries print on standard error off it, such as decoders' notes on files.

    For the whole process, and for those it starts: enter before threads start. What Python code
    prints stays. The notes are printed after all where the block ends with an exception that is
    not the program's own message, as they may tell its cause.
    """
    terminal = os.dup(2)
    python_stream = sys.stderr
    with tempfile.TemporaryFile() as notes, io.FileIO(terminal, "w") as raw:
        try:
            if _is_standard_error(python_stream):
                python_stream.flush()
                sys.stderr = io.TextIOWrapper(raw, errors="backslashreplace", write_through=True)
            os.dup2(notes.fileno(), 2)
            yield
        except (UserError, InterruptedRunError, OSError):
            raise
        except Exception:
            notes.seek(0)
            raw.write(notes.read())
            raise
        finally:
            os.dup2(raw.fileno(), 2)
            sys.stderr = python_stream


@contextlib.contextmanager
def without_background_tracebacks() -> Iterator[None]:
    """Holds back tracebacks that libraries' own threads print, such as those of a full disk.

    They are printed after all, unless the block ends with the program's own message, which states
    the cause.
    """
    held: list[str] = []

    def hold(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
        held.append("".join(traceback.format_exception(kind, error, trace)))

    before = sys.excepthook, sys.unraisablehook, threading.excepthook
    sys.excepthook = hold
    sys.unraisablehook = lambda found: hold(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: hold(found.exc_type, found.exc_value, found.exc_traceback)
    try:
        yield
    except (UserError, InterruptedRunError, OSError, KeyboardInterrupt):
        held.clear()
        raise
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = before
        for text in held:
            sys.stderr.write(text)


def _is_standard_error(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # a stream in memory, as under pytest
        return False


class MetricsLog:
    """Writes scalars to `metrics.jsonl` and TensorBoard event files in a folder.

    A line is {"step": ..., "epoch": ..., "split": ..., NAME: VALUE...}. Opened at `step`, it drops
    the lines of later steps, so a resumed run leaves no step twice.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        """Opens both files for appending after `step`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        old = self._path.read_bytes() if self._path.exists() else b""
        kept = b"".join(_lines_until(self._path, old, step))
        if kept != old:
            with replacing(self._path) as temporary:
                temporary.write_bytes(kept)
        self._stream = self._path.open("ab", buffering=0)
        self._folder, self._purge_step = folder, step + 1 if step else None

    def write(self, step: int, split: str, scalars: Mapping[str, Any]) -> None:
        """Appends one line, at once on disk, and one point per number to the event file.

        Raises UserError where another program replaced or removed the file.
        """
        check_not_replaced(self._path, self._stream)
        line = sealed({"step": step, "split": split, **scalars})
        append_to(self._stream, self._path, line.encode())
        with self._named_errors():
            for name, value in scalars.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(f"{split}/{name}", value, step)

    @functools.cached_property
    def _events(self) -> "SummaryWriter":
        from tensorboardX import SummaryWriter  # slow to import: not before the first step

        return SummaryWriter(str(self._folder), purge_step=self._purge_step)

    def close(self) -> None:
        """Flushes and closes both files."""
        with self._named_errors():
            self._stream.close()
            self._events.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Adds the folder to the error of a full disk, which lacks it."""
        try:
            yield
        except OSError as error:
            if error.filename is None:
                raise OSError(error.errno, error.strerror, str(self._folder)) from error
            raise


def _lines_until(path: Path, content: bytes, step: int) -> list[bytes]:
    """Returns the whole lines of steps up to `step`; a half-written last line is dropped."""
    lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    return [
        line
        for line, parsed in zip(lines, _parsed(path, lines), strict=True)
        if parsed["step"] <= step
    ]


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's `metrics.jsonl`, oldest first, without a half-written last one.

    Raises UserError where a line is damaged.
    """
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    return _parsed(path, [line for line in lines if line.endswith(b"\n")])


def _parsed(path: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    parsed = []
    for number, line in enumerate(lines, 1):
        try:
            parsed.append(unsealed(line))
            if type(parsed[-1]["step"]) is not int or not isinstance(parsed[-1]["split"], str):
                raise ValueError("no step or split")
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}: line {number} is damaged ({error}); remove this line, or train in a new "
                "--workdir"
            ) from error
    return parsed

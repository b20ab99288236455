"""Progress and messages on the terminal, metrics to files."""

import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from absl import logging
from tqdm import tqdm

from deepgenre.errors import InterruptedRunError, UserError

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


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

    Control characters in values, such as file names, become escapes.
    """
    safe = tuple(v if isinstance(v, int | float) else escape_controls(v) for v in values)
    _write_line(message % safe if values else message, sys.stderr)


def result(line: str) -> None:
    """Prints a line of results to standard output, above the progress line."""
    _write_line(line, sys.stdout)


def _write_line(line: str, stream: TextIO) -> None:
    if sys.stderr.isatty():
        tqdm.write(line, file=stream)  # clears the progress line and draws it again
    else:
        print(line, file=stream)


def escape_controls(text: object) -> str:
    """Returns one line that is safe on a terminal: controls and line ends become escapes."""
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in str(text)
    )


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
        path = folder / "metrics.jsonl"
        kept = _lines_until(path, step) if path.exists() else []
        path.write_text("".join(kept), encoding="utf-8")
        self._stream = path.open("a", encoding="utf-8")
        self._folder, self._purge_step = folder, step + 1 if step else None

    def write(self, step: int, split: str, scalars: Mapping[str, Any]) -> None:
        """Appends one line, at once on disk, and one point per number to the event file."""
        self._stream.write(json.dumps({"step": step, "split": split, **scalars}) + "\n")
        self._stream.flush()
        for name, value in scalars.items():
            if isinstance(value, int | float):
                self._events.add_scalar(f"{split}/{name}", value, step)

    @functools.cached_property
    def _events(self) -> "SummaryWriter":
        from tensorboardX import SummaryWriter  # slow to import: not before the first step

        return SummaryWriter(str(self._folder), purge_step=self._purge_step)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._stream.close()
        self._events.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """Returns the whole lines of steps up to `step`; a half-written last line is dropped."""
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines(True) if line[-1:] == "\n"
    ]
    return [line for line in lines if json.loads(line)["step"] <= step]


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's `metrics.jsonl`, oldest first."""
    text = (workdir / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]

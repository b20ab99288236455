"""Errors that end a run without a traceback, and look-up of a name in a table."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """Its message is one line: the file or field, what is wrong with it, and what to do.

    `main` prints the message without a traceback and exits with 1; batches (prepare, predict)
    record it for the file in question and continue with the rest.
    """


class InterruptedRunError(Exception):
    """A run was asked to stop, by a user or by the system, and its state is saved.

    code: the exit code; 0 where a scheduler's SIGTERM stopped what the same command continues.
    """

    def __init__(self, message: str, code: int = 130) -> None:
        """The message says how far the run came."""
        super().__init__(message)
        self.code = code


def one_line(error: BaseException) -> str:
    """Returns the message of an error as one line; the name of its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def look_up(table: Mapping[str, T], name: str, what: str) -> T:
    """Returns `table[name]`; raises UserError, beginning with `what`, where it is missing."""
    if name not in table:
        raise unknown_name(what, name, table)
    return table[name]


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """Returns the error that suggests the closest known name and lists all of them."""
    names = sorted(known)
    closest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {closest[0]!r}? " if closest else ""
    return UserError(f"{what}: {name!r} is unknown; {hint}known: {', '.join(names)}")

"""Look-up of a name in a table, with an error that helps where it is not there."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from deepgenre.errors import UserError

T = TypeVar("T")


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Returns `table[name]`; raises UserError, beginning with `what`, where it is not there."""
    if name not in table:
        raise unknown(what, name, table)
    return table[name]


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """Returns the error that names the nearest known name, and all of them."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return UserError(f"{what}: {name!r} is unknown; {hint}known: {', '.join(names)}")

"""Which songs of a ranking are listed: exclusions, and no artist twice within some songs."""

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from deepgenre import log
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.files import real_paths
from deepgenre.isolated import calls
from deepgenre.library import file_tags
from deepgenre.log import escape_controls

T = TypeVar("T")


def excluded(arguments: Sequence[str], paths: Sequence[Path]) -> set[Path]:
    """Returns the paths that arguments exclude: files, folders, lists, or patterns with '*' or '?'.

    A pattern is compared with the name and with the whole path, letter case aside. Raises UserError
    for an argument that is none of these.
    """
    if not arguments:
        return set()
    patterns, files = [], []
    for argument in arguments:
        if Path(argument).exists():
            files.append(argument)
        elif re.search(r"[*?\[]", argument):
            patterns.append(re.compile(fnmatch.translate(argument.casefold())))
        else:
            raise UserError(
                f"--exclude: {argument!r} does not exist; give a file, a folder, a list, or a "
                "pattern with *"
            )
    found = expand(files)
    for reason in found.failures.values():
        log.warning("--exclude: %s", escape_controls(reason))
    reals = {*real_paths(found.paths)}
    left_out = {
        path
        for path, real in zip(paths, real_paths(paths), strict=True)
        if real in reals or any(_matches(pattern, path) for pattern in patterns)
    }
    log.info("--exclude: %d of %d songs", len(left_out), len(paths))
    return left_out


def _matches(pattern: re.Pattern[str], path: Path) -> bool:
    names = path.name.casefold(), str(path).casefold()
    return any(pattern.match(name) for name in names)


def artist(path: Path) -> str:
    """Returns the artist of a file's tags in lower case; '' where it has none that can be read."""
    try:
        return "; ".join(dict.fromkeys(calls.call(file_tags.artists, path))).casefold().strip()
    except (UserError, OSError):  # a format without tags, or damaged tags: not known, not an error
        return ""


def first_spaced(
    items: Iterable[T], artist_of: Callable[[T], str], gap: int, count: int
) -> tuple[list[T], int]:
    """Returns the first `count` items of `spaced`, and how many items it took; all if it has fewer.

    gap: 0 for the items as they are.
    """
    taken = []

    def noted() -> Iterator[T]:
        for item in items:
            taken.append(item)
            yield item

    chosen = spaced(noted(), artist_of, gap) if gap else noted()
    return [*itertools.islice(chosen, count)], len(taken)


def spaced(items: Iterable[T], artist_of: Callable[[T], str], gap: int) -> Iterator[T]:
    """Yields items, best first, so that at least `gap` others are between two of one artist.

    At each place the best that is allowed there; one that is not waits for the next place. Items
    that are never allowed, because no others are left, are not yielded. Items whose artist is ''
    are always allowed. gap: 1 or more.
    """
    rest = iter(items)
    waiting: list[tuple[str, T]] = []  # artist, item
    recent: list[str] = []  # artists of the last `gap` items
    while True:
        free = next((i for i, (name, _) in enumerate(waiting) if name not in recent), None)
        if free is not None:
            name, item = waiting.pop(free)
        else:
            for item in rest:
                name = artist_of(item)
                if not name or name not in recent:
                    break
                waiting.append((name, item))
            else:
                return
        recent = [*recent, name][-gap:]
        yield item

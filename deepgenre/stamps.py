"""How a file is known to be as it was when it was heard."""

from pathlib import Path

Stamp = tuple[int, int]  # of a file: bytes, time of its last change in ns


def stamp(path: Path) -> Stamp | None:
    """Returns the state of a file; None where none can be seen."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: what no name can hold, such as '\0'
        return None
    return found.st_size, found.st_mtime_ns

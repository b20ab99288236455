"""Where a dataset comes from, and what its folder must contain."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deepgenre.errors import UserError

MOST_NAMED = 5  # files in a message
MOST_FOLDERS = 8


@dataclasses.dataclass(frozen=True)
class Source:
    """Origin, licence and layout of a dataset."""

    url: str
    licence: str
    layout: str  # below the data folder
    download: str = ""  # what `deepgenre download` fetches it by; '': get it by hand

    def lacking(self, folder: Path, what: str) -> UserError:
        """Returns the error that a folder contains `what`, e.g. 'no tracks.csv', and what to do."""
        command = f"deepgenre download {self.download} --data_dir={folder}" if self.download else ""
        how = f"run '{command}', or get it" if command else "get it"
        return UserError(
            f"{folder}: contains {what}; expected: {self.layout}; {how} from {self.url} "
            f"(licence: {self.licence})"
        )

    def __str__(self) -> str:
        """Returns one line: origin, licence, layout."""
        return f"{self.url}; licence: {self.licence}; layout: {self.layout}"


def missing_line(missing: Sequence[Path], root: Path) -> str:
    """Returns one line on files that do not exist: their number, and where and which they are."""
    names = [path.relative_to(root) if path.is_relative_to(root) else path for path in missing]
    line = f"{len(names)} files do not exist: {_listed([*map(str, names)], MOST_NAMED)}"
    folders = Counter(str(name.parent) for name in names)
    if len(names) <= MOST_NAMED or len(folders) == 1:
        return line
    counted = [f"{folder} ({count})" for folder, count in sorted(folders.items())]
    return f"{line}; by folder: {_listed(counted, MOST_FOLDERS)}"


def _listed(texts: Sequence[str], most: int) -> str:
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")

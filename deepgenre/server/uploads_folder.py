"""The private folder of uploads: removed when the server ends, or by the next after a crash."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.files import updating

PREFIX = "deepgenre-serve-"


@contextlib.contextmanager
def uploads_folder() -> Iterator[Path]:
    """Yields an empty folder that only this user can enter, locked while this process runs."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # of mode 0700
    try:
        with updating(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Removes the folders of servers of this user that have ended without removing them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, UserError):  # UserError: its server runs
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                with updating(folder):
                    shutil.rmtree(folder)

"""Where predictions go: to a file that appears when all is done, or to one that is gone on with."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre.errors import UserError, look_up
from deepgenre.files import Fingerprint, replacing
from deepgenre.inference.prediction_files import parquet, text
from deepgenre.inference.prediction_files.rows import Row, Write

FORMATS = {".jsonl": text.JSON_LINES, ".csv": text.CSV, ".parquet": parquet}


@contextlib.contextmanager
def whole(
    output: Path | None, classes: Sequence[str], fingerprints: Mapping[Path, Fingerprint | None]
) -> Iterator[tuple[list[Path], Write]]:
    """Yields all files, and the function that adds to a file that takes its name at a good end."""
    if output is None:
        yield list(fingerprints), lambda prediction: None
        return
    chosen = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    with replacing(output) as temporary, chosen.writing(temporary, classes) as write:
        yield list(fingerprints), write


@contextlib.contextmanager
def resumed(
    output: Path | None, classes: Sequence[str], fingerprints: Mapping[Path, Fingerprint | None]
) -> Iterator[tuple[list[Path], Write]]:
    """Yields the files that the output does not have yet, and the function that adds to it.

    Rows stay that tell of no failure and whose file is as it was; what a killed run left half
    written goes. Text grows row by row, and each row is on disk before the next; Parquet has its
    index at its end, so that a killed run adds nothing to it.
    """
    if output is None:
        raise UserError("--resume: goes on with an --output, give its name")
    chosen = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    paths = {chosen.name(path): path for path in fingerprints}
    done: set[str] = set()

    def keep(row: Row) -> bool:
        as_it_was = row.name not in paths or fingerprints[paths[row.name]] == row.fingerprint
        if row.failed or not as_it_was or row.name in done:
            return False
        done.add(row.name)
        return True

    def missing() -> list[Path]:
        return [path for name, path in paths.items() if name not in done]

    if isinstance(chosen, text.TextFormat):
        with replacing(output) as temporary:
            chosen.copy(output, temporary, classes, keep)
        with chosen.appending(output, classes) as write:
            yield missing(), write
    else:
        with (
            replacing(output) as temporary,
            chosen.writing(temporary, classes, output, keep) as write,
        ):
            yield missing(), write

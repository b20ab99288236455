"""Writes predictions to a new file, atomically, or resumes an existing one."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre.errors import UserError, look_up
from deepgenre.files import Fingerprint, replacing
from deepgenre.inference.prediction_files import parquet, text
from deepgenre.inference.prediction_files.rows import Row, Write

FORMATS = {".jsonl": text.JSON_LINES, ".csv": text.CSV, ".parquet": parquet}


@contextlib.contextmanager
def open_new(
    output: Path | None,
    classes: Sequence[str],
    fingerprints: Mapping[Path, Fingerprint | None],
    described: Sequence[str] = (),
) -> Iterator[tuple[list[Path], Write]]:
    """Yields all files, and the function that adds a prediction; replaces the output on success."""
    if output is None:
        yield list(fingerprints), lambda prediction: None
        return
    output_format = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    with (
        replacing(output) as temporary,
        output_format.writing(temporary, classes, described) as write,
    ):
        yield list(fingerprints), write


@contextlib.contextmanager
def open_resumed(
    output: Path | None,
    classes: Sequence[str],
    fingerprints: Mapping[Path, Fingerprint | None],
    described: Sequence[str] = (),
) -> Iterator[tuple[list[Path], Write]]:
    """Yields the files that the output lacks, and the function that adds a prediction.

    Rows without an error are kept, unless their file changed; an incomplete last row of a killed
    run is dropped. Text is flushed after each row; Parquet has its index at the end, so that a
    killed run adds nothing to it.
    """
    if output is None:
        raise UserError("--resume: needs the --output to resume; give its name")
    output_format = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    paths = {output_format.name(path): path for path in fingerprints}
    done: set[str] = set()

    def keep(row: Row) -> bool:
        unchanged = row.name not in paths or fingerprints[paths[row.name]] == row.fingerprint
        if row.failed or not unchanged or row.name in done:
            return False
        done.add(row.name)
        return True

    def missing() -> list[Path]:
        return [path for name, path in paths.items() if name not in done]

    if isinstance(output_format, text.TextFormat):
        with replacing(output) as temporary:
            output_format.copy(output, temporary, classes, described, keep)
        with output_format.appending(output, classes, described) as write:
            yield missing(), write
    else:
        with (
            replacing(output) as temporary,
            output_format.writing(temporary, classes, described, output, keep) as write,
        ):
            yield missing(), write

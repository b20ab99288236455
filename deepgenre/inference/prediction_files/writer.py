"""Writes predictions to a new file, atomically, or resumes an existing one.

One run at a time writes an output: another one is refused. Beside the output stands its identity.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepgenre.errors import UserError, look_up
from deepgenre.files import Fingerprint, replacing, updating
from deepgenre.inference.prediction_files import identity, parquet, text
from deepgenre.inference.prediction_files.identity import Identity
from deepgenre.inference.prediction_files.rows import Layout, Row, Write

FORMATS = {".jsonl": text.JSON_LINES, ".csv": text.CSV, ".parquet": parquet}


@contextlib.contextmanager
def open_new(
    output: Path | None,
    layout: Layout,
    made_with: Identity,
    fingerprints: Mapping[Path, Fingerprint | None],
) -> Iterator[tuple[list[Path], Write]]:
    """Yields all files, and the function that adds a prediction; replaces the output on success."""
    if output is None:
        yield list(fingerprints), lambda prediction: None
        return
    output_format = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    with updating(output):
        with replacing(output) as temporary:
            with output_format.writing(temporary, layout) as write:
                yield list(fingerprints), write
            identity.remove(output)
        identity.write(output, made_with, with_digest=not output_format.has_checksums)


@contextlib.contextmanager
def open_resumed(
    output: Path | None,
    layout: Layout,
    made_with: Identity,
    fingerprints: Mapping[Path, Fingerprint | None],
) -> Iterator[tuple[list[Path], Write]]:
    """Yields the files that the output lacks, and the function that adds a prediction.

    Rows without an error are kept, unless their file changed, of several of one file the last; an
    incomplete last row of a killed run is dropped. Text is flushed after each row; Parquet has its
    index at the end, so that a killed run adds nothing to it. Raises UserError where the output was
    made with other settings.
    """
    if output is None:
        raise UserError("--resume: needs the --output to resume; give its name")
    output_format = look_up(FORMATS, output.suffix.lower(), "--output suffix")
    paths = {output_format.name(path): path for path in fingerprints}
    done: set[str] = set()

    def key(row: Row) -> str | None:
        unchanged = row.name not in paths or fingerprints[paths[row.name]] == row.fingerprint
        if row.failed or not unchanged:
            return None
        done.add(row.name)
        return row.name

    def missing() -> list[Path]:
        return [path for name, path in paths.items() if name not in done]

    with_digest = not output_format.has_checksums
    with updating(output):
        if output.exists():
            identity.check(output, made_with)
        else:
            identity.remove(output)
        if isinstance(output_format, text.TextFormat):
            with replacing(output) as temporary:
                output_format.copy(output, temporary, layout, key)
                identity.write(output, made_with)  # a digest is of the output that is replaced
            identity.write(output, made_with, with_digest=with_digest)
            with output_format.appending(output, layout) as write:
                yield missing(), write
        else:
            with replacing(output) as temporary:
                with output_format.writing(temporary, layout, output, key) as write:
                    yield missing(), write
                identity.write(output, made_with)
        if with_digest:
            identity.write(output, made_with, with_digest=True)

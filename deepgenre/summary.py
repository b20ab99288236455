"""The summary at the end of a batch: counts, hours, rate, failures by kind, where results are.

It is printed, and written as JSON where a file is given for it:

mode, complete     which mode; whether it reached the last file
unit, files        what is counted (songs, clips), and how many were requested
kept, processed    of these: results of an earlier run; processed by this run, failures included
failed             number of files that failed, one or several times
audio_hours        length of what was processed without a failure
seconds            wall time of the run, with compilation, without loading of weights
per_second         processed files per second; times_real_time: audio_hours over that time
failures           by kind, the most frequent first: kind, count, and the message of each file
results            paths of files and folders that were written
"""

import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.errors import InterruptedRunError
from deepgenre.files import check_place, replacing, updating
from deepgenre.log import escape_controls

QUOTED_NAME = re.compile(r"""(?:^|(?<= ))(['"])(?:\\.|(?!\1).)*\1:? """)  # as repr() quotes


@dataclasses.dataclass
class Batch:
    """What a batch has done so far."""

    mode: str
    unit: str = "song"
    files: int = 0  # requested
    kept: int = 0  # of these: results of an earlier run
    processed: int = 0  # by this run, failures included
    audio_seconds: float = 0.0  # of what was processed without a failure
    failures: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # messages by kind
    failed_files: set[str] = dataclasses.field(default_factory=set)
    results: list[Path] = dataclasses.field(default_factory=list)

    def succeeded(self, audio_seconds: float) -> None:
        """Counts a file of this length."""
        self.processed += 1
        self.audio_seconds += audio_seconds

    def failed(self, error: str, path: object) -> None:
        """Counts a file that failed, and prints why."""
        self.processed += 1
        log.warning("failed: %s", escape_controls(error))
        self.add_failure(error, path)

    def add_failure(self, error: str, path: object = "") -> None:
        """Adds the message of a failure that was printed, and whose file was counted."""
        kind = kind_of(escape_controls(error), escape_controls(path))
        self.failures.setdefault(kind, []).append(escape_controls(error))
        self.failed_files.add(str(path) or error)


@contextlib.contextmanager
def batch(mode: str, path: Path | None, *, unit: str = "song") -> Iterator[Batch]:
    """Yields what to count in; prints and writes the summary at the end or when stopped.

    path: of the JSON file, if one is requested.
    """
    if path:
        check_place(path, "--summary", folder=False)
    counts, start = Batch(mode, unit), time.monotonic()

    def report(*, complete: bool) -> None:
        fields = to_json(counts, time.monotonic() - start, complete=complete)
        _print(fields)
        if path:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")

    with updating(path):
        try:
            yield counts
        except InterruptedRunError:
            report(complete=False)
            raise
        report(complete=True)


def kind_of(message: str, path: object) -> str:
    """Returns what is the same in the messages of all files that failed for one reason.

    The message without the file's name, the list and line that contain it, the advice after a
    semicolon, and figures in brackets.
    """
    _, known, reason = message.partition(f"{path}: ")
    if not known:  # the name is in quotes, or there is none
        reason = QUOTED_NAME.sub("", re.sub(r"^.*, line \d+: ", "", message), count=1)
    return re.sub(r" \([^()]*\d[^()]*\)", "", reason.split("; ")[0]).rstrip(".")


def to_json(counts: Batch, seconds: float, *, complete: bool) -> dict[str, Any]:
    """Returns the fields that the module describes."""
    failures = sorted(counts.failures.items(), key=lambda item: -len(item[1]))
    return {
        "mode": counts.mode,
        "complete": complete,
        "unit": counts.unit,
        "files": counts.files,
        "kept": counts.kept,
        "processed": counts.processed,
        "failed": len(counts.failed_files),
        "audio_hours": round(counts.audio_seconds / 3600, 4),
        "seconds": round(seconds, 3),
        "per_second": round(counts.processed / seconds, 3) if seconds else 0.0,
        "times_real_time": round(counts.audio_seconds / seconds, 1) if seconds else 0.0,
        "failures": [
            {"kind": kind, "count": len(messages), "messages": messages}
            for kind, messages in failures
        ],
        "results": [str(path) for path in counts.results],
    }


def _print(fields: Mapping[str, Any]) -> None:
    unit, kept = fields["unit"], fields["kept"]
    minutes, seconds = divmod(round(fields["seconds"]), 60)
    if fields["files"]:
        log.info(
            "%s: %d %s%s, %d processed, %d failed; %.2f hours of audio in %d:%02d min (%.3g %ss/s,"
            " %.0f x real time)",
            fields["mode"], fields["files"], unit if fields["files"] == 1 else f"{unit}s",
            f", {kept} done before" if kept else "",
            fields["processed"], fields["failed"], fields["audio_hours"], minutes, seconds,
            fields["per_second"], unit, fields["times_real_time"],
        )  # fmt: skip
    for path in fields["results"]:
        log.info("wrote %s", escape_controls(path))
    if fields["failed"]:
        log.warning("%d of %d files failed:", fields["failed"], fields["files"])
    for failure in fields["failures"]:
        log.warning("%d x %s:", failure["count"], failure["kind"])
        for message in failure["messages"]:
            log.warning("  %s", message)

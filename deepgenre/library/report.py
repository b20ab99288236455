"""What there is in a library, as a page of Markdown."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from deepgenre.log import escape_controls


@dataclasses.dataclass(frozen=True)
class Song:
    """A song that was heard: what it is called, which may be nothing, and the likeliest label."""

    path: Path
    seconds: float
    labels: tuple[str, ...]
    best_label: str
    best_score: float


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the page tells of."""

    heading: str  # who says so
    songs: Sequence[Song]
    labels: Sequence[str]  # in the order of the page, also those of no song
    playlist_names: Mapping[str, str]  # by label
    failures: Sequence[str]
    same: Sequence[Sequence[Path]]  # paths that lead to the same recording


def to_markdown(report: Report) -> str:
    """Returns the page. Names stand in it as they are, whatever Markdown would make of them."""
    unsure = [song for song in report.songs if not song.labels]
    sections = [
        ["# Library", "", escaped(report.heading)],
        [
            f"{len(report.songs)} songs, {_hours(report.songs)} hours; {len(unsure)} unsure, "
            f"{len(report.failures)} failures, {len(report.same)} recordings that are there twice "
            "or more."
        ],
        ["## What there is", "", *_counts(report)],
        ["## Unsure", "", *_table(["likeliest", "score", "song"], _unsure_rows(unsure))],
        ["## Failures", "", *_list(map(escaped, report.failures))],
        ["## The same recording", "", *_list(" = ".join(map(escaped, p)) for p in report.same)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _counts(report: Report) -> list[str]:
    songs: dict[str, list[Song]] = collections.defaultdict(list)
    for song in report.songs:
        for label in song.labels:
            songs[label].append(song)
    order = sorted(report.labels, key=lambda label: -len(songs[label]))
    rows = []
    for label in order:
        share = 100 * len(songs[label]) / max(1, len(report.songs))
        link = f"[{escaped(label)}]({quote(report.playlist_names[label])})"
        rows.append([link, str(len(songs[label])), f"{share:.1f} %", _hours(songs[label])])
    return _table(["label", "songs", "share", "hours"], rows)


def _unsure_rows(songs: Iterable[Song]) -> list[list[str]]:
    """Returns the rows, the most unsure first."""
    return [
        [escaped(song.best_label), f"{song.best_score:.3f}", escaped(song.path)]
        for song in sorted(songs, key=lambda song: song.best_score)
    ]


def _hours(songs: Iterable[Song]) -> str:
    return f"{sum(song.seconds for song in songs) / 3600:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None."]
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _list(items: Iterable[str]) -> list[str]:
    return [f"- {item}" for item in items] or ["None."]


def escaped(name: object) -> str:
    """Returns a text on one line, in which nothing means anything to Markdown or HTML."""
    return re.sub(r"(^[-+]|[\\`*_{}\[\]<>#|~&$])", r"\\\1", escape_controls(name))

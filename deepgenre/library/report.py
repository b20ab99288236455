"""The report of mode `organize`: labels, failures and duplicates of a library, in Markdown."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from deepgenre.library.tag_fields import Values
from deepgenre.log import escape_controls


@dataclasses.dataclass(frozen=True)
class Song:
    """A song with its labels (none where all scores are too low) and its highest score."""

    path: Path
    seconds: float
    labels: tuple[str, ...]
    best_label: str
    best_score: float
    fields: Mapping[str, Values] = dataclasses.field(default_factory=dict)  # of descriptors
    fingerprint: str = ""  # acoustic, as `audio.describe` encodes it, where it is known


@dataclasses.dataclass(frozen=True)
class Report:
    """The contents of the report."""

    heading: str  # network and threshold
    songs: Sequence[Song]
    labels: Sequence[str]  # all that songs can have, in the order of the network's classes
    playlist_names: Mapping[str, str]  # by label; of labels that have a playlist
    failures: Sequence[str]
    duplicates: Sequence[Sequence[Path]]  # groups of paths of the same recording


def to_markdown(report: Report) -> str:
    """Returns the report as Markdown, in which names are escaped."""
    unlabelled = [song for song in report.songs if not song.labels]
    sections = [
        ["# Library", "", escape_markdown(report.heading)],
        [
            f"{len(report.songs)} songs, {_hours(report.songs)} hours; "
            f"{len(unlabelled)} below the threshold, {len(report.failures)} failures, "
            f"{len(report.duplicates)} recordings with duplicates."
        ],
        ["## Labels", "", *_label_table(report)],
        [
            "## Below the threshold",
            "",
            *_table(["best label", "score", "song"], _unlabelled_rows(unlabelled)),
        ],
        ["## Failures", "", *_list(map(escape_markdown, report.failures))],
        [
            "## Duplicates",
            "",
            *_list(" = ".join(map(escape_markdown, paths)) for paths in report.duplicates),
        ],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _label_table(report: Report) -> list[str]:
    """Returns a table with a row per label of a song, the most frequent first."""
    songs: dict[str, list[Song]] = collections.defaultdict(list)
    for song in report.songs:
        for label in song.labels:
            songs[label].append(song)
    used = [label for label in report.labels if songs[label]]
    order = sorted(used, key=lambda label: -len(songs[label]))
    rows = []
    for label in order:
        share = 100 * len(songs[label]) / max(1, len(report.songs))
        name = escape_markdown(label)
        if label in report.playlist_names:  # none where no song's path can be listed
            name = f"[{name}]({quote(report.playlist_names[label])})"
        rows.append([name, str(len(songs[label])), f"{share:.1f} %", _hours(songs[label])])
    return _table(["label", "songs", "share", "hours"], rows)


def _unlabelled_rows(songs: Iterable[Song]) -> list[list[str]]:
    """Returns a row per song, the lowest score first."""
    return [
        [escape_markdown(song.best_label), f"{song.best_score:.3f}", escape_markdown(song.path)]
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


def escape_markdown(name: object) -> str:
    """Returns a text on one line, with the special characters of Markdown and HTML escaped."""
    return re.sub(r"(^[-+]|[\\`*_{}\[\]<>#|~&$])", r"\\\1", escape_controls(name))

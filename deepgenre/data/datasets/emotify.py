"""Emotify: 400 excerpts of a minute, with the emotions that listeners felt (GEMS, nine of them).

Source: A. Aljanaki, F. Wiering and R. C. Veltkamp, "Studying emotion induced by music through a
crowdsourcing game", Information Processing & Management 52(1), 2016. Of each of four genres, 100
excerpts. Every row of data.csv is one listener, who chose up to three emotions.

An emotion is a label of an excerpt here where at least `AGREEMENT` of its listeners felt it: our
choice, as the authors publish shares, not labels. There is no split by the authors. Artists are not
published, so that they may be in several parts.
"""

from collections import Counter
from pathlib import Path

from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import tables
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError

SOURCE = Source(
    "http://www2.projects.science.uu.nl/memotion/emotifydata/",
    "no formal licence; the authors ask to cite the paper",
    "data.csv, and emotifymusic/classical/1.mp3 to 100.mp3, and likewise electronic, pop and rock",
    download="emotify",
)
EMOTIONS = (
    "amazement", "solemnity", "tenderness", "nostalgia", "calmness", "power", "joyful_activation",
    "tension", "sadness",
)  # fmt: skip
GENRES = ("classical", "electronic", "pop", "rock")
PER_GENRE = 100  # excerpts, numbered from 1 in each folder; 'track id' goes on from genre to genre
AGREEMENT = 1 / 3


def read(data_dir: Path, *, multi_label: bool = True) -> Dataset:
    """Returns the excerpts that data.csv lists, with key 'classical/1'; see above for the labels.

    Excerpts whose file is missing are returned too.

    Raises:
      UserError: data.csv is missing or malformed, or none of the files exists.
    """
    table = tables.find(data_dir, "data.csv")
    if table is None:
        raise SOURCE.lacking(data_dir, "no data.csv")
    labels = _labels(table)
    roots = (data_dir / "emotifymusic", data_dir)
    root = next((r for r in roots if any((r / f"{key}.mp3").is_file() for key in labels)), None)
    if root is None:
        raise SOURCE.lacking(data_dir, f"none of the {len(labels)} listed excerpts")
    clips = tuple(Clip(key, root / f"{key}.mp3", labels[key], key) for key in sorted(labels))
    return Dataset("emotify", clips, multi_label)


def _labels(table: Path) -> dict[str, tuple[str, ...]]:
    """Returns the emotions of each excerpt by key."""
    lines = tables.rows(table, ",")
    _, first = next(lines)
    header = [name.strip().lower() for name in first]
    track, genre = (tables.column(header, name, table) for name in ("track id", "genre"))
    columns = {name: tables.column(header, name, table) for name in EMOTIONS}
    listeners: Counter[str] = Counter()
    felt: Counter[tuple[str, str]] = Counter()
    for line, row in lines:
        number = tables.whole_number(row[track].strip(), table, line, "track id")
        name = row[genre].strip().lower()
        if name not in GENRES or number < 1:
            raise UserError(
                f"{table}: line {line}: track id {number} of genre {name!r}; genres are "
                f"{', '.join(GENRES)}, and identifiers begin at 1"
            )
        key = f"{name}/{(number - 1) % PER_GENRE + 1}"
        listeners[key] += 1
        for emotion, index in columns.items():
            value = row[index].strip()
            if value not in ("0", "1"):
                raise UserError(f"{table}: line {line}: {emotion} is {value!r}, not 0 or 1")
            felt[key, emotion] += value == "1"
    if not listeners:
        raise SOURCE.lacking(table.parent, "an empty data.csv")
    return {
        key: tuple(e for e in EMOTIONS if felt[key, e] >= AGREEMENT * count)
        for key, count in listeners.items()
    }

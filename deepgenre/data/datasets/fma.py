"""FMA (Free Music Archive): 106,574 tracks, of which clips of 30 s, in 16 top genres of 161.

Source: M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: a dataset for music
analysis", ISMIR 2017. Subsets: small (8,000 clips, 8 genres, 1,000 each), medium (25,000 clips, 16
genres) and large (106,574 clips), each part of the next; full has the whole tracks of large. In
the authors' split (6,400/800/800 clips of small, 19,922/2,505/2,573 of medium) no artist is in two
parts.

Known faults: the clips of `SHORT_CLIPS` are empty or a few seconds long, because they were cut by a
wrong length (issues 4 and 8 of the repository); they are left out. Issue 49 lists more clips of
large that some decoders reject: they are read where ours accepts them. Half of the tracks of large
have no top genre, as they have several root genres: these are used with --config.multi_label only.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import tables
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError, look_up

SOURCE = Source(
    "https://github.com/mdeff/fma",
    "audio by track, as its artist chose; metadata CC BY 4.0; for research",
    "fma_metadata/tracks.csv (and genres.csv for tags), and fma_small/000/000002.mp3 etc., or "
    "fma_medium, fma_large, fma_full",
    download="fma_small",
)
SUBSETS = {name: f"fma_{name}" for name in ("small", "medium", "large", "full")}  # -> folder
TABLES = ("fma_metadata", ".")
# Reported length and real length of the track leave at most 5.1 s of the clip, or nothing.
SHORT_CLIPS = frozenset(
    (1486, 5574, 65753, 80391, 98558, 98559, 98560, 98565, 98566, 98567, 98568, 98569, 98571,
     99134, 105247, 108925, 126981, 127336, 133297, 143992)
)  # fmt: skip
PARTS = {"training": "train", "validation": "valid", "test": "test"}
FIELDS = {  # of a track: names in the first two rows of the header
    "subset": ("set", "subset"),
    "split": ("set", "split"),
    "artist": ("artist", "id"),
    "genre": ("track", "genre_top"),
    "genres": ("track", "genres_all"),
}


def read(data_dir: Path, *, multi_label: bool = False, subset: str = "") -> Dataset:
    """Returns the clips of a subset, with key '000/000002' and the artist as their group.

    One label per clip is its top genre; with `multi_label`, all its genres by title. subset: '' for
    the one whose folder there is. Clips without a label, and `SHORT_CLIPS`, are left out, with a
    note. Clips whose file is missing are returned too.

    Raises:
      UserError: a table is missing or malformed, the subset is not known, or none of its files
        exists.
    """
    table = _table(data_dir, "tracks.csv")
    name = subset or _subset_of(data_dir)
    look_up(SUBSETS, name, "config.subset")
    included = [*SUBSETS][: [*SUBSETS].index(name) + 1]
    titles = _titles(_table(data_dir, "genres.csv")) if multi_label else {}
    clips, unlabelled, short = [], [], []
    for line, track, fields in _tracks(table):
        if fields["subset"] not in included:
            continue
        labels = (
            _genres(fields["genres"], titles, f"{table}: line {line}")
            if multi_label
            else tuple(filter(None, [fields["genre"]]))
        )
        key = f"{track // 1000:03d}/{track:06d}"
        part = look_up(PARTS, fields["split"], f"{table}: line {line}: set.split")
        if name != "full" and track in SHORT_CLIPS:
            short.append(key)
        elif not labels:
            unlabelled.append(key)
        else:
            clips.append(Clip(key, Path(f"{key}.mp3"), labels, fields["artist"], split=part))
    notes = [
        *_note(short, "are empty or a few seconds long (see issue 8 of mdeff/fma)"),
        *_note(unlabelled, "have no top genre; --config.multi_label=True uses all their genres"),
    ]
    return Dataset("fma", _placed(data_dir, name, clips), multi_label, notes=tuple(notes))


def _table(data_dir: Path, name: str) -> Path:
    found = (tables.find(data_dir / folder, name) for folder in TABLES)
    path = next(filter(None, found), None)
    if path is None:
        raise SOURCE.lacking(data_dir, f"no fma_metadata/{name}")
    return path


def _subset_of(data_dir: Path) -> str:
    """Returns the only subset whose folder there is; raises UserError where there are others."""
    found = [name for name, folder in SUBSETS.items() if (data_dir / folder).is_dir()]
    if not found:
        raise SOURCE.lacking(data_dir, f"no folder {', '.join(SUBSETS.values())}")
    if len(found) > 1:
        raise UserError(
            f"{data_dir}: contains {' and '.join(SUBSETS[name] for name in found)}; choose with "
            f"--config.subset={found[0]}"
        )
    return found[0]


def _tracks(table: Path) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Yields (line, track identifier, fields) of tracks.csv, whose header has three rows."""
    lines = tables.rows(table, ",", ragged=True)
    header = [row for _, row in (next(lines, (0, [])) for _ in range(3))]
    names = list(zip(header[0], header[1], strict=False))
    if not header[2] or header[2][0] != "track_id":
        raise UserError(
            f"{table}: line 3 does not begin with 'track_id', after two rows of names; get the "
            "original file"
        )
    for names_of_field in FIELDS.values():
        if names_of_field not in names:
            raise UserError(
                f"{table}: has no column {'.'.join(names_of_field)}; get the original file"
            )
    columns = {field: names.index(both) for field, both in FIELDS.items()}
    for line, row in lines:
        if len(row) != len(names):
            raise UserError(
                f"{table}: line {line} has {len(row)} columns, the first line {len(names)}; "
                "download it again"
            )
        track = tables.whole_number(row[0], table, line, "track_id")
        yield line, track, {field: row[index].strip() for field, index in columns.items()}


def _titles(table: Path) -> dict[int, str]:
    """Returns the titles of genres by their number."""
    lines = tables.rows(table, ",")
    _, header = next(lines)
    number, title = (tables.column(header, name, table) for name in ("genre_id", "title"))
    return {
        tables.whole_number(row[number], table, line, "genre_id"): row[title] for line, row in lines
    }


def _genres(text: str, titles: dict[int, str], where: str) -> tuple[str, ...]:
    """Returns the titles of '[21, 58]'; raises UserError for other text and unknown numbers."""
    if not re.fullmatch(r"\[(\d+(, *\d+)*)?\]", text):
        raise UserError(f"{where}: track.genres_all is {text!r}, not e.g. '[21, 58]'")
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    unknown = next((number for number in numbers if number not in titles), None)
    if unknown is not None:
        raise UserError(f"{where}: track.genres_all has {unknown}, which genres.csv lacks")
    return tuple(sorted(titles[number] for number in numbers))


def _placed(data_dir: Path, name: str, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Returns the clips with their paths: in the folder of the subset, or of a larger one."""
    larger = [*SUBSETS][[*SUBSETS].index(name) :]
    usable = [one for one in larger if one == name or one != "full"]  # full has other audio
    roots = [data_dir / SUBSETS[one] for one in usable] + [data_dir]
    root = next((r for r in roots if any((r / clip.path).is_file() for clip in clips)), None)
    if root is None:
        source = dataclasses.replace(SOURCE, download=SUBSETS[name])
        raise source.lacking(data_dir, f"none of the {len(clips)} files of subset {name!r}")
    placed = (dataclasses.replace(clip, path=root / clip.path) for clip in clips)
    return tuple(sorted(placed, key=lambda clip: clip.key))


def _note(keys: Sequence[str], why: str) -> list[str]:
    examples = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
    return [f"{len(keys)} clips are left out ({examples}): they {why}"] if keys else []


SPLITS: dict[str, splits.SplitFunction] = {
    "official": splits.as_given,
    "group_random": splits.group_random,
    "as_given": splits.as_given,
}

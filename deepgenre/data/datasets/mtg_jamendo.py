"""MTG-Jamendo: 55,701 full songs with 195 tags of genre, instrument, mood and theme.

Source: D. Bogdanov, M. Won, P. Tovstogan, A. Porter and X. Serra, "The MTG-Jamendo dataset for
automatic music tagging", ML4MD at ICML 2019. Songs of Jamendo, tagged by who uploaded them.

The authors publish five splits in which no artist is in two parts, and tags that all of them have:
87 of genre, 40 instruments, 56 moods and themes, for 55,525 songs. Scores are usually means over
the five. Songs are long: training uses random windows.

The published mel spectrograms are `melspecs/<2 digits>/<id>.npy`, float32 (96, frames): Essentia,
12 kHz, 512 samples per frame, 256 samples apart. Their values are 20 log10 of power, twice what dB
are (issue 51 of the dataset's repository): they are halved when they are read.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import tables
from deepgenre.data.datasets.source import Source
from deepgenre.data.datasets.spectrograms import SIDECAR
from deepgenre.errors import UserError, look_up

SOURCE = Source(
    "https://github.com/MTG/mtg-jamendo-dataset",
    "audio Creative Commons, by song (audio_licenses.txt); metadata CC BY-NC-SA 4.0",
    "the repository's data/ (autotagging*.tsv and splits/), and the songs audio/00/*.mp3 to "
    "audio/99/, or their spectrograms melspecs/00/*.npy to melspecs/99/",
)
# Names of the subsets -> of their files. The first is the default.
SUBSETS = {
    "all": "autotagging",
    "top50tags": "autotagging_top50tags",
    "genre": "autotagging_genre",
    "instrument": "autotagging_instrument",
    "moodtheme": "autotagging_moodtheme",
}
PARTS = {"train": "train", "valid": "validation", "test": "test"}  # ours -> in names of files
HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
TABLES = ("data", "mtg-jamendo-dataset/data", ".")  # folders, relative to the data folder
AUDIO = ("audio", "raw_30s/audio", "autotagging_moodtheme/audio", "mp3", ".")
SPECTROGRAMS = ("melspecs", "raw_30s/melspecs", "autotagging_moodtheme/melspecs", "npy", ".")
PUBLISHED = {"sample_rate_hz": 12_000, "n_fft": 512, "hop_length": 256}  # of the spectrograms
SCALE = "double_db"


def read(
    data_dir: Path, *, multi_label: bool = True, subset: str = "", split: str = "split_0"
) -> Dataset:
    """Returns the songs of a subset, with key '48/948', tags without category, and the artist.

    With a split of the authors, the songs and tags of its files, each in its part; with another,
    those of the subset's own file. Audio is used where there is some, else spectrograms, which have
    the published front end unless a `spectrograms.json` beside them states another. Songs whose
    file is missing are returned too.

    Raises:
      UserError: a table is missing or malformed, a song is in two parts, or none of the files
        exists.
    """
    name = look_up(SUBSETS, subset or next(iter(SUBSETS)), "config.subset")
    folder = next((f for f in map(data_dir.joinpath, TABLES) if _has_tables(f, name)), None)
    if folder is None:
        raise SOURCE.lacking(data_dir, f"no {name}.tsv or splits/split-0/{name}-train.tsv")
    songs: dict[str, tuple[str, list[str], str]] = {}  # path -> part, tags, artist
    for path, part in _files(folder, name, split):
        for line, row in _songs(path):
            song, tags = row[3], [tag.strip() for tag in row[5:] if tag.strip()]
            if song in songs:
                raise UserError(f"{path}: line {line}: PATH {song!r} is listed twice; remove one")
            songs[song] = (part, tags, row[1])
    root, suffix = _root(data_dir, list(songs))
    names = _names({tag for _, tags, _ in songs.values() for tag in tags})
    published = suffix == ".npy" and not (data_dir / SIDECAR).is_file()
    clips = tuple(
        Clip(
            Path(song).with_suffix("").as_posix(),
            root / Path(song).with_suffix(suffix),
            tuple(sorted({names[tag] for tag in tags})),
            artist,
            split=part,
            scale=SCALE if published else "",
        )
        for song, (part, tags, artist) in sorted(songs.items())
    )
    return Dataset("mtg_jamendo", clips, multi_label, frontend=PUBLISHED if published else {})


def _has_tables(folder: Path, name: str) -> bool:
    names = (f"{name}.tsv", f"splits/split-0/{name}-train.tsv")
    return any(tables.find(folder, file) for file in names)


def _files(folder: Path, name: str, split: str) -> Iterator[tuple[Path, str]]:
    """Yields (table, part) of the files to read; raises UserError where one is missing."""
    wanted = (
        {
            part: f"splits/{split.replace('_', '-')}/{name}-{file}.tsv"
            for part, file in PARTS.items()
        }
        if split in OFFICIAL
        else {"": f"{name}.tsv"}
    )
    for part, file in wanted.items():
        path = tables.find(folder, file)
        if path is None:
            raise SOURCE.lacking(folder, f"no {file}")
        yield path, part


def _songs(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, cells) of each song: one cell per column, and any number of tags."""
    lines = tables.rows(path, "\t", ragged=True, quoted=False)
    _, header = next(lines)
    if header != HEADER:
        raise UserError(
            f"{path}: line 1 is {' '.join(header)!r}, not {' '.join(HEADER)!r}; get the original "
            "file"
        )
    for line, row in lines:
        if len(row) < len(HEADER) or not row[3].strip():
            raise UserError(
                f"{path}: line {line}: has {len(row)} cells separated by tabs; a song has its "
                "identifiers, PATH, DURATION and one tag or more; get the original file"
            )
        yield line, row


def _root(data_dir: Path, songs: list[str]) -> tuple[Path, str]:
    """Returns the folder of the files, and their suffix; raises UserError where none exists."""
    for folders, suffixes in ((AUDIO, (".mp3", ".low.mp3")), (SPECTROGRAMS, (".npy",))):
        for root in map(data_dir.joinpath, folders):
            for suffix in suffixes:
                if any((root / Path(song).with_suffix(suffix)).is_file() for song in songs):
                    return root, suffix
    raise SOURCE.lacking(data_dir, "none of the listed files")


def _names(tags: set[str]) -> dict[str, str]:
    """Returns 'rock' by 'genre---rock'; the whole tag where several categories have the name."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for tag in tags:
        owners[tag.rpartition("---")[2]].add(tag)
    return {tag: name if len(same) == 1 else tag for name, same in owners.items() for tag in same}


OFFICIAL = tuple(f"split_{number}" for number in range(5))
SPLITS: dict[str, splits.SplitFunction] = {
    **dict.fromkeys(OFFICIAL, splits.as_given),  # `read` reads the files of the split
    "group_random": splits.group_random,
    "as_given": splits.as_given,
}

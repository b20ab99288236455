"""GTZAN: 1,000 excerpts of 30 s in ten genres.

Source: G. Tzanetakis and P. Cook, "Musical genre classification of audio signals", IEEE
Transactions on Speech and Audio Processing 10(5), 2002. Collected in 2000 and 2001 from CDs, radio
and microphone recordings. It has no licence: use it for research only, do not redistribute it.

Known faults (B. L. Sturm, "The GTZAN dataset: its contents, its faults, their effects on
evaluation, and its future use", 2013): 7.2 % of the excerpts come from the same recording as
another (5 % are exact duplicates), 10.6 % are mislabelled, some are distorted, and many share an
artist. A random split leaks recordings and artists, so its scores are too high. `jazz.00054.wav` is
unreadable in most copies. The collection has no artist information. Where a table of artists
(`ARTISTS`, columns name and artist) is beside the clips, an artist's clips are one group, and clips
without an artist are grouped by genre and by tens of their number: neighbours in the collection are
often of one artist. Without a table each clip is its own group, and 'fault_filtered' is the only
split that separates artists.
"""

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from deepgenre.audio.discover import find_audio
from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError

GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
SOURCE = Source(
    "https://huggingface.co/datasets/marsyas/gtzan (a mirror: the original host is offline)",
    "none stated; for research",
    "genres/blues/blues.00000.wav (or .au) etc.",
    download="gtzan",
)
ARTISTS = "gtzan_artists.csv"
LAYOUTS = ("genres", "genres_original", "Data/genres_original", ".")  # relative to the data folder

# C. Kereliuk, B. L. Sturm and J. Larsen, "Deep learning and music adversaries", IEEE Transactions
# on Multimedia 17(11), 2015: without exact duplicates, mislabelled and distorted clips (70), and
# with no artist in two parts. 443 / 197 / 290 clips; jazz.00054 is one of the 443.
FAULT_FILTERED = {
    "train": {
        "blues": "29-49,73-97",
        "classical": "30-33,43-48,50-67,80-99",
        "country": "19-26,28-29,65-99",
        "disco": "5,15-20,22-37,39-45,47,49,53-54,56-57,59,61,70,73-74,89",
        "hiphop": "2-25,28-29,31-38,41-42,55-61,77-80",
        "jazz": "0-1,11-24,41,47-72",
        "metal": "2-3,5,21,24,35,46-57,59-66,69,71-72,79-80,84,86,89-99",
        "pop": "2-9,11-12,16-20,23-29,31-36,38-42,44,46,49-50,80,97-99",
        "reggae": "0-2,4,6,9,11-12,14-32,42-45,49-51,54-60,63,69",
        "rock": "0-9,16-26,57-70,91-99",
    },
    "valid": {
        "blues": "0-11,50-60",
        "classical": "0-10,68-76",
        "country": "0-7,9-18,27,41-42,45,49",
        "disco": "0,2-4,6-14,46,48,52,67-68,72,75,90,95",
        "hiphop": "81-98",
        "jazz": "2-10,25-32",
        "metal": "0-1,6-11,16-20,36-37,68,76-77,81-82",
        "pop": "10,53,55,58-62,81,83-86",
        "reggae": "61-62,70,72,74,76-78,85,92-99",
        "rock": "38,49-56,71-85",
    },
    "test": {
        "blues": "12-28,61-72,98-99",
        "classical": "11-29,34-41,49,77-79",
        "country": "30-40,43-44,46-48,50-51,53-64",
        "disco": "1,21,58,62-66,69,76-88,91-94,96-97,99",
        "hiphop": "0,26-27,30,40,43-45,51-54,62-75,99",
        "jazz": "73-99",
        "metal": "12-15,22-23,25-33,38-39,67,70,73-75,78,83,85,87-88",
        "pop": "0-1,13-14,43,63-66,69-79,82,88-96",
        "reggae": "34-40,46-48,52-53,64-68,71,79,82-84,87-90",
        "rock": "10-15,27-37,39-48,86-90",
    },
}


def read(data_dir: Path, *, multi_label: bool = False) -> Dataset:
    """Returns the clips in `data_dir`: all 1,000, or a subset of clips and genres.

    The genre folders are searched in `LAYOUTS` below `data_dir`, in this order; their names may
    differ in case, spaces, '-' and '_' ('Hip-Hop'). Files are named '<genre>.00029.<suffix>'. Of a
    clip in several formats, the first by suffix is used ('.au', the original, before '.wav').
    Audio that is left out is stated in the notes.

    Raises:
      UserError: there is no genre folder, or no clip in the genre folders.
    """
    folders = [data_dir / layout for layout in LAYOUTS]
    root = next((f for f in folders if any(map(_genre_of, _folder_names(f)))), None)
    if root is None:
        raise UserError(_how_to_get(data_dir, "no GTZAN genre folder"))
    clips: dict[str, Clip] = {}
    failures: list[str] = []
    notes: list[str] = []
    for name in _folder_names(root):
        genre, found = _genre_of(name), find_audio(root / name)
        failures += found.failures.values() if genre else ()
        ignored = []
        for path in found.audio:
            match = re.fullmatch(r"(.+)\.(\d{5})", path.stem)
            if not genre or not match or _genre_of(match[1]) != genre:
                ignored.append(path.name)
                continue
            key = f"{genre}.{match[2]}"
            used = clips.setdefault(key, Clip(key=key, path=path, labels=(genre,), group=key))
            if used.path != path:
                ignored.append(f"{path.name} (clip {key} is read from {used.path.name})")
        notes += _ignored(root / name, genre, ignored)
    if not clips:
        raise UserError(_how_to_get(root, "no clip named like 'blues.00000.wav'"))
    in_order = tuple(clips[key] for key in sorted(clips))
    dataset = Dataset("gtzan", in_order, multi_label, tuple(failures), tuple(notes))
    return with_artists(dataset, data_dir)


def _folder_names(folder: Path) -> list[str]:
    return (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )


def _genre_of(name: str) -> str:
    """Returns the genre that a folder or file name spells, e.g. 'hiphop' of 'Hip-Hop', or ''."""
    plain = re.sub(r"[\s_-]", "", name.lower())
    return plain if plain in GENRES else ""


def _ignored(folder: Path, genre: str, names: Sequence[str]) -> list[str]:
    """Returns the note on the audio files of a folder that are not read, if there are any."""
    if not names:
        return []
    why = f"clips are named like {genre}.00000" if genre else "this is no genre of GTZAN"
    return [f"{folder}: {len(names)} audio files are left out, e.g. {names[0]}; {why}"]


def with_artists(dataset: Dataset, folder: Path) -> Dataset:
    """Returns the dataset with groups by the table of artists in `folder`, if there is one.

    Clips of other names keep their group.

    Raises:
      UserError: the table is unreadable or lacks a column.
    """
    table = folder / ARTISTS
    if not table.is_file():
        return dataset
    artist_of = _read_artists(table)
    clips = tuple(
        dataclasses.replace(clip, group=_group(clip.key, artist_of.get(clip.key, "")))
        if re.fullmatch(rf"({'|'.join(GENRES)})\.\d{{5}}", clip.key)
        else clip
        for clip in dataset.clips
    )
    return dataclasses.replace(dataset, clips=clips)


def _group(key: str, artist: str) -> str:
    """Returns 'artist: Mozart', or 'classical: 00010 to 00019' where the artist is unknown."""
    if artist:
        return f"artist: {artist}"
    genre, number = key.split(".")
    tens = int(number) // 10 * 10
    return f"{genre}: {tens:05d} to {tens + 9:05d}"


def _read_artists(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8") from error
    if not rows or not {"name", "artist"} <= rows[0].keys():
        raise UserError(f"{path}: must have the columns name and artist, and a row per clip")
    return {row["name"]: (row["artist"] or "").strip() for row in rows}


def fault_filtered(members: Sequence[splits.Member], seed: int) -> splits.Parts:
    """Returns train, valid and test of `FAULT_FILTERED`, without clips that are missing."""
    part_of = {
        f"{genre}.{number:05d}": part
        for part, ranges_of in FAULT_FILTERED.items()
        for genre, ranges in ranges_of.items()
        for number in _numbers(ranges)
    }
    return splits.by_part(members, lambda member: part_of.get(member.key, ""))


def fault_filtered_all(members: Sequence[splits.Member], seed: int) -> splits.Parts:
    """Returns `fault_filtered` with its validation clips in train: for final weights.

    There is no validation part: choose everything before, e.g. by cross-validation.
    """
    parts = fault_filtered(members, seed)
    joined = sorted([*parts.get("train", []), *parts.pop("valid", [])])
    return {**parts, "train": joined}


def _numbers(ranges: str) -> list[int]:
    """Returns the numbers in a list of ranges, e.g. 0, 2, 3, 4 for '0,2-4'."""
    bounds = [[int(bound) for bound in part.split("-")] for part in ranges.split(",")]
    return [number for bound in bounds for number in range(bound[0], bound[-1] + 1)]


def _how_to_get(folder: Path, what: str) -> str:
    return (
        f"{folder}: contains {what}; run 'deepgenre download gtzan' (GTZAN's original host is "
        "offline), or get a copy from Hugging Face (marsyas/gtzan), Kaggle "
        "(andradaolteanu/gtzan-dataset-music-genre-classification) or archive.org, and unpack it "
        "so that data_dir contains genres/blues/blues.00000.wav (or .au) etc."
    )


SPLITS: dict[str, splits.SplitFunction] = {
    # The paper's 67 / 33, which it does not describe further; stratified here. Leaks: see above.
    "paper_random": splits.random_fractions({"valid": 0.33}, rest="train", stratify=True),
    "fault_filtered": fault_filtered,
    "fault_filtered_all": fault_filtered_all,
    "as_given": splits.as_given,
}

"""ISMIR04 (genre contest of ISMIR 2004): three sets of 729 songs of Magnatune in six genres.

Source: P. Cano et al., "ISMIR 2004 audio description contest", MTG-TR-2006-02, Universitat Pompeu
Fabra, 2006. Splits: 'training_development' trains on the training set and tests on the development
set, as most papers do; 'contest' validates on the development set and tests on the evaluation set,
as the contest did.

Known faults: 320 of 729 songs are classical; artists and albums are in several sets. The artists of
the development set are not published: its songs are groups of their own.
"""

from pathlib import Path

from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import tables
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError, look_up

SOURCE = Source(
    "https://zenodo.org/record/1302992",
    "CC BY-NC-SA 1.0",
    "metadata/training/tracklist.csv, metadata/development/tracklist.csv, and optionally "
    "evaluation, and the songs in audio/training/ etc.",
)
SETS = ("training", "development", "evaluation")
COUNTS = {  # of the training set, and of the development set
    "classical": 320, "electronic": 115, "jazz_blues": 26, "metal_punk": 45, "rock_pop": 101,
    "world": 122,
}  # fmt: skip
# Spellings of classes in tables and folders: genres that the contest joined, too.
ALIASES = {
    **{name: name for name in COUNTS},
    "jazz": "jazz_blues",
    "blues": "jazz_blues",
    "metal": "metal_punk",
    "punk": "metal_punk",
    "rock": "rock_pop",
    "pop": "rock_pop",
}
NUM_COLUMNS = 6  # class, artist, album, track, track number, path; then an identifier


def read(data_dir: Path, *, multi_label: bool = False) -> Dataset:
    """Returns the songs of the sets whose table there is, with key '<set>/<path of the table>'.

    Their split is the name of the set. Songs whose file is missing are returned too.

    Raises:
      UserError: the table of the training set is missing, a table is malformed, or none of the
        files exists.
    """
    root = next((r for r in (data_dir, data_dir / "ismir04_genre") if _table(r, "training")), None)
    if root is None:
        raise SOURCE.lacking(data_dir, "no metadata/training/tracklist.csv")
    clips = [clip for name in SETS for clip in _songs(root, name)]
    if not any(clip.path.is_file() for clip in clips):
        raise SOURCE.lacking(root, f"none of the {len(clips)} listed songs")
    absent = [name for name in SETS if not _table(root, name)]
    notes = [f"{root}: has no metadata/{name}/tracklist.csv" for name in absent]
    in_order = tuple(sorted(clips, key=lambda clip: clip.key))
    return Dataset("ismir04", in_order, False, notes=tuple(notes))


def _table(root: Path, name: str) -> Path | None:
    return tables.find(root / "metadata" / name, "tracklist.csv")


def _songs(root: Path, name: str) -> list[Clip]:
    table = _table(root, name)
    if table is None:
        return []
    songs: dict[str, Clip] = {}
    for line, row in tables.rows(table, ",", ragged=True):
        if len(row) < NUM_COLUMNS:
            raise UserError(
                f"{table}: line {line} has {len(row)} cells; a song has class, artist, album, "
                "track, number and path; get the original file"
            )
        genre, artist, _, _, _, written = (cell.strip() for cell in row[:NUM_COLUMNS])
        plain = genre.lower().replace("-", "_").replace(" ", "_").strip("_")
        label = look_up(ALIASES, plain, f"{table}: line {line}: class")
        path = Path(written.replace("\\", "/"))
        key = f"{name}/{path.as_posix()}"
        if key in songs:
            raise UserError(f"{table}: line {line}: path {written!r} is listed twice; remove one")
        group = artist if artist and name != "development" else key
        songs[key] = Clip(key, _located(root / "audio", name, path), (label,), group, split=name)
    return [*songs.values()]


def _located(audio: Path, name: str, path: Path) -> Path:
    """Returns the file that a table lists: relative to its set's folder, or to all audio."""
    places = [audio / name / path, audio / path, audio.parent / path]
    return next((place for place in places if place.is_file()), places[0])


def _by_set(part_of: dict[str, str]) -> splits.SplitFunction:
    return lambda members, seed: splits.by_part(
        members, lambda member: part_of.get(member.split, "")
    )


SPLITS: dict[str, splits.SplitFunction] = {
    "training_development": _by_set({"training": "train", "development": "test"}),
    "contest": _by_set({"training": "train", "development": "valid", "evaluation": "test"}),
    "group_random": splits.group_random,
    "as_given": splits.as_given,
}

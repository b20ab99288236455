"""MagnaTagATune: 25,863 excerpts of 29.1 s with 188 tags, agreed on by players of a game.

Source: E. Law, K. West, M. Mandel, M. Bay and J. S. Downie, "Evaluation of algorithms using games:
the case of music tagging", ISMIR 2009. The recordings are Magnatune's (CC BY-NC-SA).

Known faults: the mp3s of clips 35644, 55753 and 57881 are empty. Tags overlap ('no vocals', 'no
vocal', 'no voice'), and the absence of a tag is weak evidence. Several clips come from one track:
90 % of the test clips of a random split have another clip of their track in train. In the folder
split, 62 % of the test clips share an artist with train. 18 % of the clips have none of the 50 most
frequent tags, and published scores differ in whether these are tested: report which.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import tables
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError

ANNOTATIONS = "annotations_final.csv"
CLIP_INFO = "clip_info_final.csv"
FOLDERS = {"train": "0123456789ab", "valid": "c", "test": "def"}
SOURCE = Source(
    "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    "audio CC BY-NC-SA, of Magnatune",
    "annotations_final.csv, clip_info_final.csv, and mp3/0/*.mp3 to mp3/f/*.mp3",
    download="mtat",
)
HOW_TO_GET = (
    "run 'deepgenre download mtat', or get mp3.zip.001 to .003, annotations_final.csv and "
    "clip_info_final.csv from https://mirg.city.ac.uk/datasets/magnatagatune/ (or Hugging Face, "
    "m-a-p/MTT), join the zip with 'cat mp3.zip.* > mp3.zip', unpack it into data_dir/mp3 and "
    "put the csv files in data_dir"
)


def read(data_dir: Path, *, multi_label: bool = True) -> Dataset:
    """Returns one clip per annotated mp3, with key '0/<name>.mp3' and all its tags.

    Reads the two csv files (or .csv.gz) in `data_dir`; the mp3s are in `data_dir`/mp3/<0-f> or
    `data_dir`/<0-f>. Clips with a missing mp3 are returned too: decoding reports them. A clip
    annotated twice has the tags of both rows. The group is the artist, from the clip information
    or, without that file, from the name of the mp3; the track is from that name.

    Raises:
      UserError: the annotations are missing or malformed, the clip information is malformed or
        lacks an annotated clip, or none of the mp3s exists.
    """
    tags_of = annotations(data_dir)
    clip_info = tables.find(data_dir, CLIP_INFO)
    if clip_info is None:
        artist_of = {key: _artist_by_name(key) for key in tags_of}
    else:
        artist_of = _artists(clip_info, tags_of)
    root = next(
        (f for f in (data_dir / "mp3", data_dir) if any((f / key).is_file() for key in tags_of)),
        None,
    )
    if root is None:
        raise UserError(f"{data_dir}: contains none of the listed mp3s; {HOW_TO_GET}")
    clips = tuple(
        Clip(key, root / key, tags_of[key], artist_of[key], track=track_of(key))
        for key in sorted(tags_of)
    )
    return Dataset("mtat", clips, multi_label)


def annotations(data_dir: Path) -> dict[str, tuple[str, ...]]:
    """Returns the tags of each clip by key; the audio need not be there.

    Raises:
      UserError: the annotations are missing or malformed.
    """
    path = tables.find(data_dir, ANNOTATIONS)
    if path is None:
        raise UserError(f"{data_dir}: contains no {ANNOTATIONS} (or .gz); {HOW_TO_GET}")
    return _tags(path)


def folders(members: Sequence[splits.Member], seed: int) -> splits.Parts:
    """Returns the split of most papers: folders 0-b train, c valid, d-f test.

    No track is in two parts, but artists are.

    Raises:
      UserError: a key does not begin with such a folder.
    """
    return splits.by_part(members, _folder_part)


def artist_disjoint(members: Sequence[splits.Member], seed: int) -> splits.Parts:
    """Returns `folders` without test clips of artists that are also in train."""
    train_artists = {member.group for member in members if _folder_part(member) == "train"}

    def part_of(member: splits.Member) -> str:
        part = _folder_part(member)
        return "" if part == "test" and member.group in train_artists else part

    return splits.by_part(members, part_of)


def _folder_part(member: splits.Member) -> str:
    folder = member.key.partition("/")[0]
    for part, names in FOLDERS.items():
        if len(folder) == 1 and folder in names:
            return part
    raise UserError(
        f"split: requires clips in folders 0 to f, not {member.key!r}; choose another split"
    )


def track_of(key: str) -> str:
    """Returns the song of a clip: the name of its mp3 without the seconds where it begins and ends.

    'c_layne-potemkin_villages-01-you_are_the_reason' of
    '3/c_layne-potemkin_villages-01-you_are_the_reason-0-29.mp3'.
    """
    return re.sub(r"-\d+-\d+\.mp3$", "", key.rpartition("/")[2])


def _artist_by_name(key: str) -> str:
    """Returns 'c_layne' of '3/c_layne-potemkin_villages-01-you_are_the_reason-0-29.mp3'."""
    return key.rpartition("/")[2].partition("-")[0]


def _tags(path: Path) -> dict[str, tuple[str, ...]]:
    """Returns the tags of each mp3, sorted by name, not by column."""
    rows = tables.rows(path, "\t")
    _, header = next(rows)
    key_column = tables.column(header, "mp3_path", path)
    tag_columns = [i for i, name in enumerate(header) if name not in ("clip_id", "mp3_path")]
    tags_of: dict[str, tuple[str, ...]] = {}
    for line, row in rows:
        key = row[key_column]
        if not {row[i] for i in tag_columns} <= {"0", "1"}:
            raise UserError(
                f"{path}: line {line}: a tag of {key!r} is not 0 or 1; download it again"
            )
        tags = {header[i] for i in tag_columns if row[i] == "1"}
        tags_of[key] = tuple(sorted(tags.union(tags_of.get(key, ()))))
    if not tags_of:
        raise UserError(f"{path}: lists no clip; {HOW_TO_GET}")
    return tags_of


def _artists(path: Path, keys: Iterable[str]) -> dict[str, str]:
    """Returns the artist of each mp3 from the clip information."""
    rows = tables.rows(path, "\t")
    _, header = next(rows)
    key_column, artist_column = (
        tables.column(header, name, path) for name in ("mp3_path", "artist")
    )
    artist_of = {row[key_column]: row[artist_column] for _, row in rows}
    unknown = next((key for key in keys if not artist_of.get(key)), None)
    if unknown is not None:
        # Artists from file names are not mixed in: one artist would become two groups.
        raise UserError(
            f"{path}: has no artist for {unknown!r}; get the version that belongs to "
            f"{ANNOTATIONS}, or remove it to use the names of the mp3s"
        )
    return artist_of


SPLITS: dict[str, splits.SplitFunction] = {
    # 20 % test, then 20 % of the rest valid: of the 21,111 clips with a top-50 tag, exactly the
    # paper's 13,510 / 3,378 / 4,223. Leaks tracks and artists: see above.
    "paper_random": splits.random_fractions({"test": 0.2, "valid": 0.2}, rest="train"),
    "folders": folders,
    "artist_disjoint": artist_disjoint,
    "as_given": splits.as_given,
}

"""Writes a manifest of your audio of Million Song Dataset tracks, with their Last.fm tags.

    python -m deepgenre.data.datasets.million_song --metadata=track_metadata.db \\
        --tags=lastfm_tags.db --audio=FOLDER --output=manifest.csv [--top_tags=50] \\
        [--min_tag_count=0]

    --metadata  track_metadata.db (SQLite), or unique_tracks.txt (lines of
                TRACK<SEP>SONG<SEP>ARTIST<SEP>TITLE)
    --tags      lastfm_tags.db (SQLite), or Last.fm's JSON files: a folder, or a zip such as
                lastfm_train.zip; repeat the flag to join several

A file is matched by the track identifier (TR and 16 letters or digits) in its name, or else by a
name 'artist - title' that fits exactly one track, ignoring case, accents and punctuation. Files
that match several tracks, or none, are counted and left out. Classes are the tags with the most
tracks in the whole collection, independent of the available audio.

Then train with --config.dataset=folder --config.multi_label=True and the manifest as --data_dir.

Sources: T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman and P. Lamere, "The Million Song Dataset",
ISMIR 2011, and the Last.fm dataset, both at http://millionsongdataset.com. They contain no audio.
Some of their songs are matched to the wrong track; the site lists these.
"""

import contextlib
import lzma
import re
import sqlite3
import struct
import sys
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from deepgenre.audio.discover import find_audio
from deepgenre.data.clip import Clip
from deepgenre.data.datasets.manifest import suffix_of, write_manifest
from deepgenre.errors import UserError
from deepgenre.files import parse_json

TRACK_ID = re.compile(r"(?<![A-Z0-9])TR[A-Z0-9]{16}(?![A-Z0-9])")
ARTIST_TITLE_SEPARATOR = re.compile("[\\s_]+[-\u2013\u2014][\\s_]+")  # ' - ' with any dash
MAX_ENTRY_BYTES = 1 << 24  # of a JSON file in a zip; Last.fm's have some kilobytes
# What a damaged zip raises, beside errors of the system; RuntimeError: an encrypted entry.
ZIP_DAMAGE = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, struct.error, zlib.error,
    lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
SONGS = "SELECT track_id, COALESCE(artist_name, ''), COALESCE(title, '') FROM songs"
TAGS = (
    "SELECT tids.tid, CAST(tags.tag AS TEXT) FROM tid_tag JOIN tids ON tid_tag.tid = tids.rowid "
    "JOIN tags ON tid_tag.tag = tags.rowid WHERE CAST(tid_tag.val AS REAL) >= ?"
)


class Song(NamedTuple):
    """Metadata of a track."""

    artist: str
    title: str


def read_songs(metadata: Path) -> dict[str, Song]:
    """Returns the songs by track identifier; raises UserError if the file is malformed."""
    if _is_sqlite(metadata):
        songs = {track: Song(artist, title) for track, artist, title in _query(metadata, SONGS)}
    else:
        songs = dict(_text_songs(metadata))
    if not songs:
        raise UserError(f"{str(metadata)!r} contains no track: give the complete file.")
    return songs


def read_tags(tags: Path, min_count: int) -> Iterator[tuple[str, str]]:
    """Yields (track identifier, tag) for each tag of at least `min_count`.

    Last.fm's counts are relative: 100 for a track's first tag, down to 0.

    Raises:
      UserError: `tags` does not exist or is malformed.
    """
    if tags.is_file() and _is_sqlite(tags):
        yield from _query(tags, TAGS, min_count)
        return
    for name, text in _json_texts(tags):
        try:
            entry = parse_json(text)
            track, counts = entry["track_id"], entry["tags"]
            pairs = [(track, tag) for tag, count in counts if float(count) >= min_count]
            if not all(isinstance(text, str) for pair in pairs for text in pair):
                raise ValueError("a name is no text")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(
                f'{name!r} is not a Last.fm entry {{"track_id": ..., "tags": [["rock", "100"]]}}: '
                "remove it."
            ) from error
        yield from pairs


def match(files: Iterable[Path], songs: Mapping[str, Song]) -> tuple[dict[Path, str], Counter[str]]:
    """Returns the track identifiers of matched files, and the number of files per rule.

    Rules are 'track id' and 'artist - title' (matched), 'ambiguous' and 'unmatched'.
    """
    by_name: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for track, song in songs.items():
        by_name[folded(song.artist), folded(song.title)].add(track)
    matched: dict[Path, str] = {}
    rules: Counter[str] = Counter()
    for path in files:
        rule = "track id"
        tracks = set(TRACK_ID.findall(path.stem.upper())) & songs.keys()
        if not tracks:
            rule = "artist - title"
            tracks = {track for name in _names(path.stem) for track in by_name.get(name, ())}
        if len(tracks) == 1:
            matched[path] = tracks.pop()
        else:
            rule = "ambiguous" if tracks else "unmatched"
        rules[rule] += 1
    return matched, rules


def folded(name: str) -> str:
    """Returns the letters and digits of a name without case or accents: 'Beyoncé!' -> 'beyonce'."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def choose_tags(
    pairs: Iterable[tuple[str, str]], tracks: set[str], top_tags: int
) -> dict[str, tuple[str, ...]]:
    """Returns the tags of each of `tracks` that are among the `top_tags` most frequent tags.

    Frequencies are counted over all `pairs` of (track identifier, tag); ties are sorted by name. 0
    means all tags. The tags of a track are sorted by frequency and stripped of white space.
    """
    counts: Counter[str] = Counter()
    tags_of: defaultdict[str, set[str]] = defaultdict(set)
    for track, written in pairs:
        tag = written.strip()
        if not tag:
            continue
        counts[tag] += 1
        if track in tracks:
            tags_of[track].add(tag)
    ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))[: top_tags or None]
    rank = {tag: index for index, tag in enumerate(ranked)}
    return {
        track: tuple(sorted(tags_of[track] & rank.keys(), key=rank.__getitem__)) for track in tracks
    }


def make_manifest(
    metadata: Path,
    tags: Sequence[Path],
    audio: Path,
    output: Path,
    *,
    min_tag_count: int = 0,
    top_tags: int = 50,
) -> str:
    """Writes `output`, one clip per matched file, and returns a report of one line.

    A clip's group is its artist. Matched clips without any of the selected tags are kept.

    Raises:
      UserError: an input is missing or malformed, no file is matched, or no matched file has tags.
    """
    suffix_of(output)  # reports a wrong suffix before reading, which takes minutes
    found = find_audio(audio)
    files = found.audio
    songs = read_songs(metadata)
    matched, rules = match(files, songs)
    if not matched:
        raise UserError(
            f"Folder {str(audio)!r}: none of {len(files)} audio files matches a track of "
            f"{str(metadata)!r}: name them by track identifier or as 'artist - title'."
        )
    pairs = (pair for path in tags for pair in read_tags(path, min_tag_count))
    labels = choose_tags(pairs, set(matched.values()), top_tags)
    clips = [
        Clip(path.as_posix(), path, labels[track], songs[track].artist)
        for path, track in matched.items()
    ]
    tagged = sum(bool(clip.labels) for clip in clips)
    if not tagged:
        raise UserError(
            f"{', '.join(repr(str(path)) for path in tags)} has no tag for any of the "
            f"{len(matched)} matched files: check --tags, --min_tag_count and --top_tags."
        )
    write_manifest(output, clips)
    return (
        f"{len(files)} audio files: {rules['track id']} matched by track id, "
        f"{rules['artist - title']} by artist and title; left out: {rules['ambiguous']} ambiguous, "
        f"{rules['unmatched']} unmatched. {tagged} have tags, {len(clips) - tagged} have none. "
        f"Wrote {len(clips)} clips to {str(output)!r}."
        + "".join(f" {failure}" for failure in found.failures.values())
    )


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise UserError(f"Cannot read {str(path)!r}: {error.strerror}.") from error


def _query(database: Path, query: str, *values: object) -> Iterator[tuple]:
    address = f"{database.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            for row in connection.execute(query, values):
                if not all(isinstance(text, str) for text in row):
                    raise ValueError("a value is no text")
                yield row
    except (sqlite3.Error, ValueError, OverflowError, MemoryError) as error:
        raise UserError(
            f"{str(database)!r} is not the expected database ({error}): see --help."
        ) from error


def _text_songs(metadata: Path) -> Iterator[tuple[str, Song]]:
    """Yields (track identifier, song) for each line of unique_tracks.txt."""
    try:
        with metadata.open(encoding="utf-8", newline="\n") as stream:
            for line, text in enumerate(stream, start=1):
                cells = text.rstrip("\r\n").split("<SEP>")
                if len(cells) != 4:
                    raise UserError(
                        f"{str(metadata)!r}, line {line} is not TRACK<SEP>SONG<SEP>ARTIST<SEP>"
                        "TITLE: give track_metadata.db or unique_tracks.txt."
                    )
                yield cells[0], Song(artist=cells[2], title=cells[3])
    except UnicodeDecodeError as error:
        raise UserError(
            f"{str(metadata)!r} is neither SQLite nor UTF-8: give the original file."
        ) from error


def _json_texts(tags: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and content of each JSON file in a folder or a zip."""
    try:
        if tags.is_dir():
            for path in sorted(tags.rglob("*.json")):
                yield str(path), path.read_bytes()
        elif zipfile.is_zipfile(tags):
            with zipfile.ZipFile(tags) as archive:
                for info in archive.infolist():
                    name = info.filename
                    if name.endswith(".json") and not name.startswith("__MACOSX/"):
                        if info.file_size > MAX_ENTRY_BYTES:
                            raise zipfile.BadZipFile(f"{name} has {info.file_size} bytes")
                        yield f"{tags}/{name}", archive.read(info)
        else:
            raise UserError(
                f"{str(tags)!r} is not lastfm_tags.db, or a folder or zip of JSON files."
            )
    except ZIP_DAMAGE as error:
        raise UserError(f"Cannot read {str(tags)!r} ({error}): download it again.") from error


def _names(stem: str) -> Iterator[tuple[str, str]]:
    """Yields each (artist, title), folded, that a file name may contain: one per separator."""
    for dash in ARTIST_TITLE_SEPARATOR.finditer(stem):
        artist, title = folded(stem[: dash.start()]), folded(stem[dash.end() :])
        if artist and title:
            yield artist, title


def _main(argv: Sequence[str]) -> int:
    given = flags.FLAGS
    try:
        if argv[1:]:
            raise UserError(f"Argument {argv[1]!r} is not recognised: see --help.")
        report = make_manifest(
            Path(given.metadata),
            [Path(path) for path in given.tags],
            Path(given.audio),
            Path(given.output),
            min_tag_count=given.min_tag_count,
            top_tags=given.top_tags,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(report, file=sys.stderr)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("metadata", None, "track_metadata.db or unique_tracks.txt", required=True)
    flags.DEFINE_multi_string(
        "tags", None, "lastfm_tags.db, or a folder or zip of Last.fm's JSON files", required=True
    )
    flags.DEFINE_string("audio", None, "folder of audio files", required=True)
    flags.DEFINE_string("output", None, "manifest: .csv, .tsv or .jsonl", required=True)
    flags.DEFINE_integer("min_tag_count", 0, "0..100: ignore weaker tags of a track", 0, 100)
    flags.DEFINE_integer("top_tags", 50, "classes: the most frequent tags; 0: all tags", 0)
    app.run(_main)

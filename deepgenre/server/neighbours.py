"""Similar songs and paths from an index of embeddings."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepgenre.errors import UserError
from deepgenre.files import stamp
from deepgenre.inference import song_index, song_search
from deepgenre.library import similarity, song_path
from deepgenre.library.indexed_songs import Indexed, build_search
from deepgenre.library.similar import COPY_COSINE
from deepgenre.server.analysis import Json
from deepgenre.server.songs import Song, Songs

MAX_COUNT = 200


class Neighbours(NamedTuple):
    """An index that can be searched."""

    path: Path
    weights: str  # the name of the weights that computed it
    songs: tuple[Song, ...]
    indexed: tuple[song_index.Song, ...]  # the same songs, as in the index
    table: similarity.Table
    lengths: np.ndarray  # float32 (songs,), of the embeddings; those of `table` have length 1
    search: song_search.Search
    rows: Mapping[str, int]  # by id of the song
    by_path: Mapping[Path, Song]  # by path in the index


def load(path: Path, weights: Mapping[str, Json], songs: Songs) -> Neighbours:
    """Returns the index, whose songs clients can name from now on.

    weights: by name, see `worker.describe`. Raises UserError where the index is damaged, empty, or
    of other weights.
    """
    version, index = stamp(path), song_index.read_index(path)
    names = [name for name, each in weights.items() if each["digest"] == index.model]
    if not names:
        raise UserError(
            f"{path}: was made with other weights than {', '.join(weights)}; give those with "
            "--weights as well"
        )
    if not index.songs:
        raise UserError(f"{path}: contains no songs; make it with `embed FILES --output={path}`")
    search = build_search(Indexed(path, index, version))
    table = similarity.table(index.songs)
    indexed = tuple(  # not twice in memory
        dataclasses.replace(song, vector=unit)
        for song, unit in zip(index.songs, table.units, strict=True)
    )
    known = tuple(songs.of_file(song.path) for song in indexed)
    rows = {song.id: row for row, song in enumerate(known)}
    by_path = {each.path: song for each, song in zip(indexed, known, strict=True)}
    lengths = np.linalg.norm(index.matrix(), axis=1)
    return Neighbours(path, names[0], known, indexed, table, lengths, search, rows, by_path)


def vector(index: Neighbours, song: Song) -> np.ndarray | None:
    """Returns the embedding of a song of the index, of length 1, float32 (features,).

    None where the index lacks the song, or where its file has changed since.
    """
    row = index.rows.get(song.id)
    if row is None or not song_index.unchanged([index.indexed[row]]):
        return None
    return index.indexed[row].vector


def nearest(
    index: Neighbours, song: Song, vector: np.ndarray, count: int
) -> list[tuple[Song, float]]:
    """Returns the most similar songs and their cosines, nearest first.

    Without the song itself and its copies. vector: the embedding of the song, float32 (features,).
    """
    found: list[tuple[Song, float]] = []
    for cosine, other in _others(index, vector, count):
        if len(found) >= count:
            break
        if other.id != song.id and cosine < COPY_COSINE and other.path.is_file():
            found.append((other, cosine))
    return found


def _others(index: Neighbours, vector: np.ndarray, count: int) -> Iterator[tuple[float, Song]]:
    first = count + song_search.FIRST_SONGS  # with room for the song itself and copies
    for cosine, row in song_search.ranking(index.search, vector, first):
        yield cosine, index.songs[row]


def path(
    index: Neighbours,
    ends: Sequence[tuple[Song, np.ndarray]],
    count: int,
    is_usable: Callable[[Song], bool] = lambda song: True,
) -> tuple[list[Song], np.ndarray]:
    """Returns songs from the first to the last in small steps, see `song_path`, at most `count`.

    Also the cosine of each to each, float32 (songs, songs). ends: two songs with their embeddings.
    is_usable: whether the path may contain a song of the index; asked for candidates only.
    """
    given = {song.id: song for song, _ in ends}

    def is_between(each: song_index.Song) -> bool:
        song = index.by_path[each.path]
        return song.id not in given and song.path.is_file() and is_usable(song)

    files = [song_index.Song(song.path, None, vector) for song, vector in ends]
    size = count
    while True:
        rules = song_path.Rules(size, copy_cosine=COPY_COSINE)
        try:
            found = song_path.find(
                files, index.indexed, similarity.DEFAULT, rules, is_between, index.table
            )
            break
        except song_path.TooFewSongsError as error:
            size = error.num_left
    units = similarity.table(found).units
    (first, _), (last, _) = ends
    return [first, *(index.by_path[each.path] for each in found[1:-1]), last], units @ units.T

"""Similar songs from an index of embeddings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepgenre.errors import UserError
from deepgenre.files import stamp
from deepgenre.inference import song_index, song_search
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
    vectors: np.ndarray  # float32 (songs, features)
    search: song_search.Search


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
    return Neighbours(
        path,
        names[0],
        tuple(songs.of_file(song.path) for song in index.songs),
        index.matrix(),
        build_search(Indexed(path, index, version)),
    )


def nearest(index: Neighbours, song: Song, vector: np.ndarray, count: int) -> list[Json]:
    """Returns the most similar songs, nearest first, without the song itself and its copies.

    vector: the embedding of the song, float32 (features,).
    """
    found: list[Json] = []
    for cosine, other in _others(index, vector):
        if len(found) >= min(count, MAX_COUNT):
            break
        if other.id != song.id and cosine < COPY_COSINE and other.path.is_file():
            found.append({"song": other.to_json(), "cosine": round(cosine, 4)})
    return found


def _others(index: Neighbours, vector: np.ndarray) -> Iterator[tuple[float, Song]]:
    for cosine, row in song_search.ranking(index.search, vector):
        yield cosine, index.songs[row]

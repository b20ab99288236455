"""Similar songs, and a map of all songs, from an index of embeddings."""

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

MAP_SAMPLE = 5_000  # songs from which the axes of the map are computed
MAX_COUNT = 200


class Neighbours(NamedTuple):
    """An index that can be searched."""

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


def positions(index: Neighbours) -> Json:
    """Returns the map: per song its position on the first two principal axes, 0 to 1."""
    units = song_search.unit_vectors(index.vectors)
    rng = np.random.default_rng(0)
    sample = units[rng.permutation(len(units))[:MAP_SAMPLE]]
    centre = sample.mean(axis=0)
    axes = np.linalg.svd(sample - centre, full_matrices=False)[2][:2]
    flat = (units - centre) @ axes.T
    flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    low, high = np.quantile(flat, [0.005, 0.995], axis=0)
    placed = np.clip((flat - low) / np.maximum(high - low, 1e-9), 0, 1)
    return {
        "weights": index.weights,
        "songs": [song.id for song in index.songs],
        "names": [song.name for song in index.songs],
        "x": placed[:, 0].round(4).tolist(),
        "y": placed[:, 1].round(4).tolist(),
    }

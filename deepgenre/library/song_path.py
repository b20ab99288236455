"""A path of songs from one to another in small, even steps, without repeats.

Songs are ordered by their progress p = a / (a + b), with a and b the distances to the first and the
last song; the distance is the square root of 1 - similarity, for embeddings alone proportional to
the Euclidean distance of unit vectors. Of all sequences of the given number of songs whose progress
increases, that is returned whose sum of squared distances between neighbours is the least: squares
prefer even steps, and an increasing progress excludes repeats. It is found exactly by dynamic
programming among the CANDIDATES songs with the least detour a + b.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from deepgenre.errors import UserError
from deepgenre.inference.song_index import Song
from deepgenre.library import selection
from deepgenre.library.similarity import Table, similarities, table

CANDIDATES = 500


class TooFewSongsError(UserError):
    """A path that would need more songs than are left between its ends."""

    def __init__(self, num_left: int, num_songs: int) -> None:
        """num_left: songs, with both ends; num_songs: of the path that was asked for."""
        super().__init__(
            f"--path_to: only {num_left - 2} songs are left for {num_songs - 2} places between the "
            "two; lower --top_k, or exclude less"
        )
        self.num_left = num_left


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a path must fulfil."""

    num_songs: int  # with both ends, 3 or more
    artist_gap: int = 0  # songs between two of one artist
    copy_cosine: float | None = None  # cosine of two embeddings from which on they are copies


def find(
    ends: Sequence[Song],
    songs: Sequence[Song],
    weights: Mapping[str, float],
    rules: Rules,
    is_usable: Callable[[Song], bool] = lambda song: True,
    of_songs: Table | None = None,
) -> list[Song]:
    """Returns the songs of the path, with both ends.

    Where the best path breaks a rule, the later of the two songs that do is left out, and the best
    path of the others is found. Two ends that break one stay. songs: without the ends, unless these
    are not usable. is_usable: is asked for candidates only. of_songs: the table of songs, where it
    is at hand. Raises TooFewSongsError where too few songs are left.
    """
    of_ends = table(ends)
    rows = candidates(of_songs or table(songs), of_ends, weights) if songs else []
    chosen = [ends[0], *(songs[row] for row in rows if is_usable(songs[row])), ends[1]]
    of_chosen = table(chosen)
    steps = np.maximum(1 - similarities(of_chosen, of_chosen, weights), 0)
    cosines = of_chosen.units @ of_chosen.units.T
    artists = functools.cache(lambda position: selection.artist(chosen[position].path))
    left = np.arange(len(chosen))
    while True:
        path = left[shortest(steps[np.ix_(left, left)], rules.num_songs)].tolist()
        names = [artists(position) if rules.artist_gap else "" for position in path]
        clash = first_clash(names, cosines[np.ix_(path, path)], rules)
        if clash is None:
            return [chosen[position] for position in path]
        left = left[left != path[clash]]


def candidates(songs: Table, ends: Table, weights: Mapping[str, float]) -> list[int]:
    """Returns the rows of the songs with the least detour, at most CANDIDATES, by progress.

    ends: the first and the last song, two rows.
    """
    first, last = np.sqrt(np.maximum(1 - similarities(ends, songs, weights), 0))
    rows = np.argsort(first + last, kind="stable")[:CANDIDATES]
    progress = first[rows] / np.maximum(first[rows] + last[rows], 1e-9)
    return rows[np.argsort(progress, kind="stable")].tolist()


def shortest(steps: np.ndarray, num_songs: int) -> list[int]:
    """Returns positions of the best path from the first to the last of songs ordered by progress.

    steps: squared distances of each song to each, float (songs, songs). The path has `num_songs`
    positions, increasing, with both ends. Raises TooFewSongsError where there are fewer songs.
    """
    size = len(steps)
    if size < num_songs:
        raise TooFewSongsError(size, num_songs)
    forward = np.where(np.triu(np.ones((size, size), bool), 1), steps, np.inf)
    cost, previous = np.where(np.arange(size) == 0, 0.0, np.inf), []
    for _ in range(num_songs - 1):
        totals = cost[:, None] + forward
        previous.append(totals.argmin(axis=0))
        cost = totals.min(axis=0)
    path = [size - 1]
    for best in reversed(previous):
        path.append(int(best[path[-1]]))
    return path[::-1]


def first_clash(artists: Sequence[str], cosines: np.ndarray, rules: Rules) -> int | None:
    """Returns the position of a song that breaks a rule with one before it; None where none does.

    Never the first or the last, which are given. artists: of the songs of a path, '' where unknown.
    cosines: (songs, songs).
    """
    last = len(artists) - 1
    for i, j in itertools.combinations(range(len(artists)), 2):
        is_repeat = j - i <= rules.artist_gap and artists[i] and artists[i] == artists[j]
        is_copy = rules.copy_cosine is not None and cosines[i, j] >= rules.copy_cosine
        if (is_repeat or is_copy) and (i, j) != (0, last):
            return j if j < last else i
    return None

"""Mode `overlap`: the songs that two libraries share, from their embeddings, without their audio.

Each song of the first library is compared with the CANDIDATES songs of the second whose embeddings
are nearest. It is the same recording where the acoustic fingerprints of one kind match, or, where
no kind is there of both, where the cosine is that of copies. Songs that only the second library has
are ranked by their cosine to the nearest song of the first.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log
from deepgenre.audio import acoustic_fingerprint, chromaprint
from deepgenre.errors import UserError, look_up
from deepgenre.files import updating, write_json_lines
from deepgenre.inference import shared_songs, song_index, song_search
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.library import indexed_songs
from deepgenre.library.similar import COPY_COSINE
from deepgenre.log import escape_controls

# Of `Details`, and how they match; a pair that two kinds could decide is one where any matches.
FINGERPRINTS = {"fingerprint": acoustic_fingerprint.MATCHING, "chromaprint": chromaprint.MATCHING}
CANDIDATES = 10
KEPT = 10_000  # fingerprints that are kept sorted, of 10 kB each
QUERIES = 1000  # that are searched at once
LIST = ".jsonl"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A song of the first library and one of the second."""

    first: int  # row
    second: int
    cosine: float
    by: str = ""  # what tells that they are one recording; '' where they are only near


def run(libraries: Sequence[Path], output: Path | None, paths: str, top_k: int) -> int:
    """Prints what two libraries share, and writes the list, or both libraries as one; returns 0."""
    if len(libraries) != 2:
        raise UserError(f"FILES: give two libraries (.npz or .parquet), {len(libraries)} are given")
    if top_k < 1:
        raise UserError(f"--top_k: must be 1 or more, is {top_k}")
    if output:
        look_up(dict.fromkeys((LIST, shared_songs.SUFFIX)), output.suffix, "--output suffix")
    first, second = _read(libraries)
    merges = output is not None and output.suffix == shared_songs.SUFFIX
    if merges:
        _check_mergeable(libraries, first, second)
    elif paths != shared_songs.NONE:
        raise UserError("--paths: is for an --output that ends in .parquet")
    with updating(output):
        same = same_recordings(first.songs, second.songs)
        nearest = only_second(first.songs, second.songs, same)
        _print(first, second, same, nearest, top_k)
        if output and merges:
            added = tuple(second.songs[pair.second] for pair in nearest)
            merged = dataclasses.replace(first, songs=(*first.songs, *added))
            shared_songs.write(output, merged, paths)
        elif output:
            rows = [_row(first, second, pair) for pair in (*same, *nearest)]
            write_json_lines(output, rows)
    if output:
        log.info("wrote %s", escape_controls(output))
    return 0


def _read(libraries: Sequence[Path]) -> tuple[SongIndex, SongIndex]:
    """Returns both libraries; raises UserError where they cannot be compared."""
    first, second = map(indexed_songs.read, libraries)
    for path, index in zip(libraries, (first, second), strict=True):
        if not index.songs:
            raise UserError(f"{path}: contains no songs")
    if first.model != second.model:
        raise UserError(
            f"{libraries[1]}: was made with other weights ({second.model[:12]}) than "
            f"{libraries[0]} ({first.model[:12]}); make both with the same --weights"
        )
    song_index.check_width(libraries[1], second, first.songs[0].vector)
    return first, second


def _check_mergeable(libraries: Sequence[Path], first: SongIndex, second: SongIndex) -> None:
    for path, index in zip(libraries, (first, second), strict=True):
        song_index.check_details(path, index, ["tags"])
    song_index.common_classes(libraries[1], second, first.classes)


def same_recordings(first: Sequence[Song], second: Sequence[Song]) -> list[Pair]:
    """Returns the pairs of songs that are the same recording, in the order of the first."""
    decide = _decision(first, second)
    near, same = _near(first, second, CANDIDATES), []
    with log.progress(None, total=len(near), unit="pair", title="overlap") as bar:
        for pair in near:
            bar.update()
            if by := decide(pair):
                same.append(dataclasses.replace(pair, by=by))
    return same


def _decision(first: Sequence[Song], second: Sequence[Song]) -> Callable[[Pair], str]:
    """Returns the function of a pair to what tells that it is one recording; '' where nothing."""

    @functools.lru_cache(maxsize=2 * KEPT)
    def distinct(is_second: bool, row: int, kind: str) -> np.ndarray:
        song = (second if is_second else first)[row]
        return np.unique(np.asarray(getattr(song.details, kind)))  # sorted

    def decide(pair: Pair) -> str:
        details = first[pair.first].details, second[pair.second].details
        compared = False
        for kind, matching in FINGERPRINTS.items():
            prints = [getattr(each, kind) for each in details]
            if any(each is None for each in prints):
                continue
            compared = True
            # Copies have equal frames; most other pairs have none, which is soon found out.
            frames = distinct(False, pair.first, kind), distinct(True, pair.second, kind)
            if _have_common(*frames) and acoustic_fingerprint.matches(prints, matching):
                return kind
        return "embedding" if not compared and pair.cosine >= COPY_COSINE else ""

    return decide


def _have_common(first: np.ndarray, second: np.ndarray) -> bool:
    """Returns whether sorted arrays, not empty, have a common value."""
    positions = np.searchsorted(second, first)
    return bool((second[np.minimum(positions, second.size - 1)] == first).any())


def only_second(first: Sequence[Song], second: Sequence[Song], same: Sequence[Pair]) -> list[Pair]:
    """Returns the songs that only the second has, each with the nearest of the first; best first.

    same: the pairs that are one recording.
    """
    known = {pair.second for pair in same}
    pairs = (Pair(near.second, near.first, near.cosine) for near in _near(second, first, 1))
    return sorted(
        (pair for pair in pairs if pair.second not in known), key=lambda pair: -pair.cosine
    )


def _near(queries: Sequence[Song], songs: Sequence[Song], count: int) -> list[Pair]:
    """Returns a pair for each of the `count` songs nearest to each query, by cosine, exactly."""
    search = song_search.exact_search(np.stack([song.vector for song in songs]))
    pairs = []
    with log.progress(None, total=len(queries), unit="song", title="search") as bar:
        for start in range(0, len(queries), QUERIES):
            part = np.stack([song.vector for song in queries[start : start + QUERIES]])
            cosines, rows = song_search.nearest_songs(search, part, count)
            for row, found in enumerate(zip(cosines.tolist(), rows.tolist(), strict=True), start):
                pairs += [Pair(row, other, cosine) for cosine, other in zip(*found, strict=True)]
            bar.update(len(part))
    return pairs


def _print(
    first: SongIndex,
    second: SongIndex,
    same: Sequence[Pair],
    nearest: Sequence[Pair],
    top_k: int,
) -> None:
    in_both = len({pair.first for pair in same}), len({pair.second for pair in same})
    print(f"both have  {in_both[0]} of {len(first.songs)} and {in_both[1]} of {len(second.songs)}:")
    for pair in same[:top_k]:
        print(f"  {_names(first, second, pair, ' = ')}")
    print(f"only the second has  {len(nearest)}, of these the nearest:")
    for pair in nearest[:top_k]:
        print(f"  {pair.cosine:.3f}  {_names(first, second, pair, '  near ', reverse=True)}")


def _names(
    first: SongIndex, second: SongIndex, pair: Pair, between: str, *, reverse: bool = False
) -> str:
    names = [str(first.songs[pair.first].path), str(second.songs[pair.second].path)]
    return escape_controls(between.join(names[::-1] if reverse else names))


def _row(first: SongIndex, second: SongIndex, pair: Pair) -> dict[str, object]:
    return {
        "kind": "both" if pair.by else "only_second",
        "first": str(first.songs[pair.first].path),
        "second": str(second.songs[pair.second].path),
        "cosine": round(pair.cosine, 6),
        "by": pair.by,
    }

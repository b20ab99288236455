"""Mode `similar`: the songs of a library that are most similar to query songs.

By the cosine of embeddings, or by several terms (`similarity`). Also a path of songs between two
(`song_path`), and what two songs share (`comparison`).
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import Found, expand
from deepgenre.errors import UserError
from deepgenre.files import fingerprint, real_paths, updating, write_json_lines
from deepgenre.inference import song_index, song_search
from deepgenre.inference.song_index import Song
from deepgenre.library import (
    comparison,
    indexed_songs,
    neighbours,
    playlists,
    selection,
    similar_options,
    similarity,
    song_path,
)
from deepgenre.library.indexed_songs import Indexed
from deepgenre.library.neighbours import Neighbour
from deepgenre.library.similar_options import Options
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.spec import Weights

# Songs from this cosine on are copies of the query: re-encodings, or the same audio with other
# tags (cosine 1). BUILD_NOTES.md has the measurements: what it recognises, and what it does not.
COPY_COSINE = 0.995
Ranking = Callable[[Song], Iterator[tuple[float, float, int]]]  # similarity, cosine, row of a song


@dataclasses.dataclass
class _LeftOut:
    """Songs nearer than the last that is listed, and why they are not."""

    copies: dict[Path, list[Path]] = dataclasses.field(default_factory=dict)  # by query
    gone: set[Path] = dataclasses.field(default_factory=set)
    unlistable: dict[Path, str] = dataclasses.field(default_factory=dict)  # why, in a playlist


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Prints and writes the nearest songs of each query; returns 1 if a file failed, else 0.

    With a library, its songs are added to the index or updated first, and only they are searched.
    With `path_to` a path of songs, with `explain` a comparison of two, is printed and written
    instead.
    """
    queries = similar_options.check(arguments, options)
    with updating(options.output), summary.batch("similar", options.summary) as counts:
        if options.explain:
            _explain(weights, queries, options, counts)
        elif options.path_to:
            _find_path(weights, queries, options, counts)
        else:
            _search(weights, queries, options, counts)
    return 1 if counts.failures else 0


def _load(weights: Weights, options: Options, counts: Batch, names: Sequence[str] = ()) -> Indexed:
    """Returns the index to search; its songs have the details of `names`."""
    return indexed_songs.load(
        weights, options.library, options.index, counts, prune=options.prune, names=names
    )


def _search(weights: Weights, queries: Found, options: Options, counts: Batch) -> None:
    of_terms = options.weights
    names = similarity.needed(of_terms)
    indexed = _load(weights, options, counts, names)
    songs = indexed_songs.query_songs(weights, queries, indexed, counts, names)
    rank = _by_terms(indexed, of_terms) if of_terms else _by_cosine(indexed)
    excluded = selection.excluded(options.exclude, [song.path for song in indexed.songs])
    left_out = _LeftOut()
    nearest = []
    for path, song in songs.items():
        found = _neighbours(path, rank(song), indexed.songs, excluded, options, left_out)
        how = _artist_of, options.artist_gap, options.top_k
        listed, num_found = selection.first_spaced(found, *how)
        if len(listed) < min(options.top_k, num_found):
            log.info(
                "%s: only %d of %d songs fit --artist_gap",
                escape_controls(path.name), len(listed), num_found,
            )  # fmt: skip
        nearest += [
            dataclasses.replace(neighbour, rank=number)
            for number, neighbour in enumerate(listed, 1)
        ]
        print(escape_controls(path))
        for neighbour in listed:
            print(_line(neighbour))
    _report(left_out)
    _write(options, nearest, counts, left_out.unlistable)


def _find_path(weights: Weights, queries: Found, options: Options, counts: Batch) -> None:
    """Prints and writes songs from the query to another song in small steps, both included."""
    of_terms = options.weights or similarity.DEFAULT
    names = similarity.needed(of_terms)
    indexed = _load(weights, options, counts, names)
    both = expand([*map(str, queries.files), str(options.path_to)])
    ends = indexed_songs.query_songs(weights, both, indexed, counts, names)
    if len(ends) < 2:
        return
    excluded = selection.excluded(options.exclude, [song.path for song in indexed.songs])
    given = {*real_paths(ends)}
    reals = real_paths(song.path for song in indexed.songs)
    pairs = zip(indexed.songs, reals, strict=True)
    songs = [song for song, real in pairs if song.path not in excluded and real not in given]
    left_out = _LeftOut()

    def is_usable(song: Song) -> bool:
        if song.fingerprint and fingerprint(song.path) is None:
            left_out.gone.add(song.path)
        elif reason := _unlistable(song.path, options):
            left_out.unlistable[song.path] = reason
        else:
            return True
        return False

    if not all(is_usable(song) for song in ends.values()):
        raise UserError(f"--output: {options.output} cannot contain both ends of the path")
    copy_cosine = None if options.copies else COPY_COSINE
    rules = song_path.Rules(options.top_k, options.artist_gap, copy_cosine)
    path = song_path.find([*ends.values()], songs, of_terms, rules, is_usable)
    listed = _along(path, options)
    for neighbour in listed:
        print(_line(neighbour))
    _report(left_out)
    first, last = (song.path.stem for song in ends.values())
    _write(options, listed, counts, left_out.unlistable, f"From {first} to {last}")


def _along(path: Sequence[Song], options: Options) -> list[Neighbour]:
    """Returns the songs of a path, each with its similarity to the one before; 1 for the first."""
    table, weights = similarity.table(path), options.weights or similarity.DEFAULT
    cosines = [1.0, *np.sum(table.units[1:] * table.units[:-1], axis=1).tolist()]
    steps = [1.0, *np.diagonal(similarity.similarities(table, table, weights), 1).tolist()]
    return [
        Neighbour(
            path[0].path, rank, cosine, song.path, _has_changed(song),
            step if options.similarity else None,
        )
        for rank, (song, cosine, step) in enumerate(zip(path, cosines, steps, strict=True), 1)
    ]  # fmt: skip


def _explain(weights: Weights, queries: Found, options: Options, counts: Batch) -> None:
    """Prints and writes what the query and another song share, and what they do not."""
    has_index = options.index or options.library
    indexed = _load(weights, options, counts) if has_index else None
    both = expand([*map(str, queries.files), str(options.explain)])
    songs = indexed_songs.query_songs(weights, both, indexed, counts, comparison.NAMES)
    if len(songs) < 2:
        return
    first, second = songs.values()
    rank = _place(first, second, indexed) if indexed else None
    found = comparison.compare(first, second, weights, options.weights, rank)
    for line in comparison.to_lines(found):
        print(escape_controls(line))
    if options.output:
        write_json_lines(options.output, [comparison.to_json(found)])
        counts.results.append(options.output)


def _place(first: Song, second: Song, indexed: Indexed) -> tuple[int, int]:
    """Returns the rank of a song among those nearest to another by cosine, and their number."""
    others = [song for song in indexed.songs if song.path != first.path]
    table = similarity.table([second, first, *others])
    cosines = table.units[2:] @ table.units[1]
    own = float(table.units[0] @ table.units[1])
    nearer = sum(
        cosine > own + 1e-6 and song.path != second.path
        for cosine, song in zip(cosines.tolist(), others, strict=True)
    )
    return nearer + 1, len(others)


def _write(
    options: Options,
    found: Sequence[Neighbour],
    counts: Batch,
    unlistable: dict[Path, str],
    title: str = "",
) -> None:
    if options.output:
        neighbours.write(options.output, found, title)
        counts.results.append(options.output)
    for path, reason in unlistable.items():
        counts.add_failure(reason, path)


def _line(neighbour: Neighbour) -> str:
    """Returns the line of a song: similarity, path, and whether its file changed."""
    changed = "  (changed since it was indexed)" if neighbour.changed else ""
    shown = neighbour.cosine if neighbour.similarity is None else neighbour.similarity
    return f"  {shown:.3f}  {escape_controls(neighbour.path)}{changed}"


def _artist_of(neighbour: Neighbour) -> str:
    return selection.artist(neighbour.path)


def _by_cosine(indexed: Indexed) -> Ranking:
    search = indexed_songs.build_search(indexed)

    def rank(query: Song) -> Iterator[tuple[float, float, int]]:
        return ((cosine, cosine, row) for cosine, row in song_search.ranking(search, query.vector))

    return rank


def _by_terms(indexed: Indexed, weights: dict[str, float]) -> Ranking:
    table = similarity.table(indexed.songs)

    def rank(query: Song) -> Iterator[tuple[float, float, int]]:
        one = similarity.table([query])
        of_songs = similarity.similarities(one, table, weights)[0]
        cosines = table.units @ one.units[0]
        order = np.argsort(-of_songs, kind="stable")
        columns = (of_songs[order].tolist(), cosines[order].tolist(), order.tolist())
        return zip(*columns, strict=True)

    return rank


def _neighbours(
    query: Path,
    ranking: Iterator[tuple[float, float, int]],
    songs: Sequence[Song],
    excluded: set[Path],
    options: Options,
    left_out: _LeftOut,
) -> Iterator[Neighbour]:
    """Yields the nearest songs, nearest first; adds to `left_out` those that are not listed.

    The query itself is left out, however its path is written, and so are its copies, unless asked
    for, songs that are excluded, and songs whose files are gone; those of shared songs never were
    here.
    """
    query_file = os.path.realpath(query)
    for value, cosine, row in ranking:
        song = songs[row]
        if song.path in excluded:
            continue
        if os.path.realpath(song.path) == query_file:
            continue
        if song.fingerprint and fingerprint(song.path) is None:
            left_out.gone.add(song.path)
        elif cosine >= COPY_COSINE and not options.copies:
            left_out.copies.setdefault(query, []).append(song.path)
        elif reason := _unlistable(song.path, options):
            left_out.unlistable[song.path] = reason
        else:
            weighted = value if options.similarity else None
            yield Neighbour(query, 0, cosine, song.path, _has_changed(song), weighted)


def _has_changed(song: Song) -> bool:
    """Returns whether the song's file changed since it was indexed."""
    return bool(song.fingerprint) and not song_index.unchanged([song])


def _unlistable(path: Path, options: Options) -> str:
    """Returns why the playlist cannot contain the song; '' where it can, or none is written."""
    if not options.output or options.output.suffix != playlists.SUFFIX:
        return ""
    try:
        playlists.check_listable(path)
    except UserError as error:
        log.warning("failed: %s", escape_controls(error))
        return str(error)
    return ""


def _report(left_out: _LeftOut) -> None:
    """Prints which songs are not listed, and what to do about it."""
    for query, copies in left_out.copies.items():
        names = ", ".join(escape_controls(path) for path in copies[:3])
        more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
        log.info(
            "%s: left out %d copies (cosine %s or more; --copies keeps them): %s%s",
            escape_controls(query.name), len(copies), COPY_COSINE, names, more,
        )  # fmt: skip
    if left_out.gone:
        log.info(
            "left out %d songs whose files are gone; --library=FOLDERS --prune removes them from "
            "the index", len(left_out.gone),
        )  # fmt: skip

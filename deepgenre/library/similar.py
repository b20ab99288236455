"""Mode `similar`: the songs of a library that are most similar to query songs, by embedding."""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import Found, expand
from deepgenre.errors import UserError, look_up
from deepgenre.files import fingerprint, real_paths, stamp, updating
from deepgenre.inference import embed, song_index, song_search, windows
from deepgenre.inference.infer import infer_files
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.inference.song_search import Search
from deepgenre.library import neighbours, playlists
from deepgenre.library.neighbours import Neighbour
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

NAME_BYTES = 120  # of the library's name in that of its index; file systems allow 255 in all
# Songs from this cosine on are copies of the query: re-encodings, or the same audio with other
# tags (cosine 1). BUILD_NOTES.md has the measurements: what it recognises, and what it does not.
COPY_COSINE = 0.995


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a search; `cli.flags` describes each."""

    library: Sequence[str] = ()
    index: Path | None = None
    top_k: int = 10
    output: Path | None = None
    summary: Path | None = None
    copies: bool = False
    prune: bool = False


@dataclasses.dataclass
class _LeftOut:
    """Songs nearer than the last that is listed, and why they are not."""

    copies: dict[Path, list[Path]] = dataclasses.field(default_factory=dict)  # by query
    gone: set[Path] = dataclasses.field(default_factory=set)
    unlistable: dict[Path, str] = dataclasses.field(default_factory=dict)  # why, in a playlist


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Prints and writes the nearest songs of each query; returns 1 if a file failed, else 0.

    With a library, its songs are added to the index or updated first, and only they are searched.
    """
    queries = _check(arguments, options)
    with updating(options.output), summary.batch("similar", options.summary) as counts:
        _search(weights, queries, options, counts)
    return 1 if counts.failures else 0


def _search(weights: Weights, queries: Found, options: Options, counts: Batch) -> None:
    index_path = options.index or default_index(weights, options.library)
    library = None
    if options.library:
        library = expand(options.library)
        embed.update(weights, library, index_path, counts, prune=options.prune)
    index, search = _load(weights, index_path, library.files if library else None)
    vectors = _query_vectors(weights, queries, index, counts)
    left_out = _LeftOut()
    nearest = []
    for path, vector in vectors.items():
        song_index.check_width(index_path, index, vector)
        songs = _neighbours(path, vector, index.songs, search, options, left_out)
        nearest += itertools.islice(songs, options.top_k)
        print(escape_controls(path))
        for neighbour in nearest:
            if neighbour.query == path:
                changed = "  (changed since it was indexed)" if neighbour.changed else ""
                print(f"  {neighbour.cosine:.3f}  {escape_controls(neighbour.path)}{changed}")
    _report(left_out)
    if options.output:
        neighbours.write(options.output, nearest)
        counts.results.append(options.output)
    for path, reason in left_out.unlistable.items():
        counts.add_failure(reason, path)


def _check(arguments: Sequence[str], options: Options) -> Found:
    """Returns the queries; raises UserError where an option is wrong."""
    if options.top_k < 1:
        raise UserError(f"--top_k: must be 1 or more, is {options.top_k}")
    if options.prune and not options.library:
        raise UserError("--prune: needs --library; it removes the songs that are not among those")
    if options.output:
        look_up(neighbours.FORMATS, options.output.suffix, "--output suffix")
    queries = expand(arguments)
    if not queries.files:
        raise UserError("--query: give songs to find similar ones of")
    return queries


def default_index(weights: Weights, library: Sequence[str]) -> Path:
    """Returns the path of a library's index, which is not inside the library."""
    if not library:
        raise UserError("--library: give the songs to search, or an --index that contains them")
    sources = [str(Path(argument).absolute()) for argument in library]
    key = json.dumps([model_digest(weights), *sources])
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    name = os.fsdecode(os.fsencode(Path(sources[0]).name)[:NAME_BYTES])
    return Path("data/index") / f"{name}-{digest}.npz"


def _load(
    weights: Weights, index_path: Path, library: Sequence[Path] | None
) -> tuple[SongIndex, Search]:
    """Returns an index, reduced to the songs of a library if one is given, and its search."""
    version = stamp(index_path)
    index = song_index.read_index(index_path)
    song_index.check_model(index_path, index, model_digest(weights))
    if library is not None:
        part = _only(index, library)
        if len(part.songs) < len(index.songs):
            _check_songs(index_path, part)
            return part, song_search.exact_search(part.matrix())
    _check_songs(index_path, index)
    vectors = index.matrix()
    if len(vectors) <= song_search.EXACT_SONGS:
        return index, song_search.exact_search(vectors)
    if not index.cells:
        index = dataclasses.replace(index, cells=song_search.find_cells(vectors))
        _store(index_path, index, version)
    assert index.cells
    log.info(
        "%s: %d songs, approximate search: %.1f %% of the %d nearest are found",
        index_path, len(index.songs), 100 * index.cells.recall, song_search.RECALL_NEIGHBOURS,
    )  # fmt: skip
    return index, song_search.cell_search(vectors, index.cells)


def _only(index: SongIndex, library: Sequence[Path]) -> SongIndex:
    requested = {*real_paths(library)}
    reals = real_paths(song.path for song in index.songs)
    songs = (song for song, real in zip(index.songs, reals, strict=True) if real in requested)
    return SongIndex(index.model, tuple(songs))


def _check_songs(index_path: Path, index: SongIndex) -> None:
    if not index.songs:
        raise UserError(
            f"{index_path}: contains no songs; see the errors above, or give songs with --library"
        )


def _store(index_path: Path, index: SongIndex, version: object) -> None:
    """Adds the cells of the search to an index file, unless it cannot be written or has changed."""
    try:
        with updating(index_path):
            if stamp(index_path) == version:
                song_index.write_index(index_path, index)
    except (UserError, OSError) as error:
        log.info("the search is not stored and will be built again (%s)", error)


def _query_vectors(
    weights: Weights, inputs: Found, index: SongIndex, counts: Batch
) -> dict[Path, np.ndarray]:
    """Returns the embedding of each query that did not fail, in their order.

    Embeddings of files that are unchanged since they were indexed come from the index.
    """
    queries = [path.absolute() for path in inputs.files]
    reasons = {path.absolute(): reason for path, reason in inputs.failures.items()}
    indexed = {str(song.path): song for song in index.songs}
    vectors = {}
    for path, real in zip(queries, real_paths(queries), strict=True):
        song = indexed.get(str(path)) or indexed.get(real)
        if song and song_index.unchanged([song]):
            vectors[path] = song.vector
    todo = [path for path in queries if path not in vectors]
    for outputs in infer_files(weights, todo, embed=True, read=windows.reader(reasons)):
        try:
            vectors[outputs.path] = embed.song_vector(outputs)
        except UserError as error:
            log.warning("failed: %s", escape_controls(error))
            counts.add_failure(str(error), outputs.path)
    return {path: vectors[path] for path in queries if path in vectors}


def _neighbours(
    query: Path,
    vector: np.ndarray,
    songs: Sequence[Song],
    search: Search,
    options: Options,
    left_out: _LeftOut,
) -> Iterator[Neighbour]:
    """Yields the nearest songs, nearest first; adds to `left_out` those that are not listed.

    The query itself is left out, however its path is written, and so are its copies, unless asked
    for, and songs whose files are gone.
    """
    query_file, rank = os.path.realpath(query), 0
    is_playlist = options.output is not None and options.output.suffix == playlists.SUFFIX
    for cosine, row in song_search.ranking(search, vector):
        song = songs[row]
        found = fingerprint(song.path)
        if os.path.realpath(song.path) == query_file:
            continue
        if found is None:
            left_out.gone.add(song.path)
        elif cosine >= COPY_COSINE and not options.copies:
            left_out.copies.setdefault(query, []).append(song.path)
        elif is_playlist and (reason := _unlistable(song)):
            left_out.unlistable[song.path] = reason
        else:
            rank += 1
            yield Neighbour(query, rank, cosine, song.path, found != song.fingerprint)


def _unlistable(song: Song) -> str:
    """Returns why a playlist cannot contain the song; '' where it can."""
    try:
        playlists.check_listable(song.path)
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

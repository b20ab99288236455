"""The index that mode `similar` searches, and the songs that its queries are."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio.discover import Found, expand
from deepgenre.errors import UserError
from deepgenre.files import real_paths, stamp, updating
from deepgenre.inference import embed, shared_songs, song_index, song_search
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.inference.song_search import Search
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

NAME_BYTES = 120  # of the library's name in that of its index; file systems allow 255 in all


@dataclasses.dataclass(frozen=True)
class Indexed:
    """An index, or the part of it that is searched."""

    path: Path
    index: SongIndex
    version: object = None  # stamp of the file; None for a part

    @property
    def songs(self) -> tuple[Song, ...]:
        """Returns the songs that are searched."""
        return self.index.songs


def load(
    weights: Weights,
    library: Sequence[str],
    index_path: Path | None,
    counts: Batch,
    *,
    prune: bool = False,
    names: Sequence[str] = (),
) -> Indexed:
    """Returns the index, reduced to the songs of a library if one is given, which is updated first.

    Every song has the details of `names`; raises UserError where the index lacks them.
    """
    path = index_path or default_index(weights, library)
    found = expand(library) if library else None
    if found:
        embed.update(weights, found, path, counts, prune=prune, names=names)
    version = stamp(path)
    index = read(path)
    song_index.check_model(path, index, model_digest(weights))
    if found:
        part = song_index.only(index, found.files)
        if len(part.songs) < len(index.songs):
            index, version = part, None
    if not index.songs:
        raise UserError(
            f"{path}: contains no songs; see the errors above, or give songs with --library"
        )
    song_index.check_details(path, index, names)
    return Indexed(path, index, None if path.suffix == shared_songs.SUFFIX else version)


def read(path: Path) -> SongIndex:
    """Returns the songs of an index, or of a file of `shared_songs`, by its suffix."""
    if path.suffix == shared_songs.SUFFIX:
        return shared_songs.read(path)
    return song_index.read_index(path)


def default_index(weights: Weights, library: Sequence[str]) -> Path:
    """Returns the path of a library's index, which is not inside the library."""
    if not library:
        raise UserError("--library: give the songs to search, or an --index that contains them")
    sources = [str(Path(argument).absolute()) for argument in library]
    key = json.dumps([model_digest(weights), *sources])
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    name = os.fsdecode(os.fsencode(Path(sources[0]).name)[:NAME_BYTES])
    return Path("data/index") / f"{name}-{digest}.npz"


def build_search(indexed: Indexed) -> Search:
    """Returns the search by cosine; what takes long to compute is stored in the index."""
    index, vectors = indexed.index, indexed.index.matrix()
    if indexed.version is None or len(vectors) <= song_search.EXACT_SONGS:
        return song_search.exact_search(vectors)
    if not index.cells:
        index = dataclasses.replace(index, cells=song_search.find_cells(vectors))
        _store(indexed.path, index, indexed.version)
    assert index.cells
    log.info(
        "%s: %d songs, approximate search: %.1f %% of the %d nearest are found",
        indexed.path, len(index.songs), 100 * index.cells.recall, song_search.RECALL_NEIGHBOURS,
    )  # fmt: skip
    return song_search.cell_search(vectors, index.cells)


def _store(index_path: Path, index: SongIndex, version: object) -> None:
    """Adds the cells of the search to an index file, unless it cannot be written or has changed."""
    try:
        with updating(index_path):
            if stamp(index_path) == version:
                song_index.write_index(index_path, index)
    except (UserError, OSError) as error:
        log.info("the search is not stored and will be built again (%s)", error)


def query_songs(
    weights: Weights,
    inputs: Found,
    indexed: Indexed | None,
    counts: Batch,
    names: Sequence[str] = (),
) -> dict[Path, Song]:
    """Returns the song of each query that did not fail, with details of `names`, in their order.

    Songs of files that are unchanged since they were indexed come from the index.
    """
    queries = [path.absolute() for path in inputs.files]
    reasons = {path.absolute(): reason for path, reason in inputs.failures.items()}
    every = {str(song.path): song for song in indexed.songs} if indexed else {}
    songs = {}
    for path, real in zip(queries, real_paths(queries), strict=True):
        song = every.get(str(path)) or every.get(real)
        if song and song_index.unchanged([song]) and song.details.computed.issuperset(names):
            songs[path] = song
    todo = [path for path in queries if path not in songs]
    for path, _, song in embed.embed_files(weights, todo, reasons, names):
        if isinstance(song, str):
            log.warning("failed: %s", escape_controls(song))
            counts.add_failure(song, path)
        else:
            songs[path] = song
    for song in songs.values():
        if indexed:
            song_index.check_width(indexed.path, indexed.index, song.vector)
    return {path: songs[path] for path in queries if path in songs}

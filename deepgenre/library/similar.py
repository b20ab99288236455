"""Mode `similar`: the songs of a library that are most similar to query songs, by embedding."""

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError, look_up
from deepgenre.files import replacing
from deepgenre.inference import embed, song_index
from deepgenre.inference.infer import infer_files
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.inference.prediction_files.text import csv_cell
from deepgenre.inference.song_index import SongIndex
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.spec import Weights


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A song of the library and its similarity to a query."""

    query: Path
    rank: int  # from 1
    cosine: float
    path: Path


Write = Callable[[TextIO, Sequence[Neighbour]], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a search; `cli.flags` describes each."""

    library: Sequence[str] = ()
    index: Path | None = None
    top_k: int = 10
    output: Path | None = None
    summary: Path | None = None


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Prints and writes the nearest songs of each query; returns 1 if a file failed, else 0.

    With a library, the index is created or brought up to date first.
    """
    with summary.batch("similar", options.summary) as counts:
        _search(weights, arguments, options, counts)
    return 1 if counts.failures else 0


def _search(weights: Weights, arguments: Sequence[str], options: Options, counts: Batch) -> None:
    if options.top_k < 1:
        raise UserError(f"--top_k: must be 1 or more, is {options.top_k}")
    queries = expand(arguments)
    if not queries:
        raise UserError("--query: give songs to find similar ones of")
    write = look_up(WRITERS, options.output.suffix, "--output suffix") if options.output else None
    index_path = options.index or _default_index(weights, options.library)
    if options.library:
        embed.update(weights, expand(options.library), index_path, counts)
    index, search = _load(weights, index_path)
    vectors = _query_vectors(weights, [path.absolute() for path in queries], index, counts)
    neighbours = {
        path: _neighbours(path, vector, index, search, options.top_k)
        for path, vector in vectors.items()
    }
    for path, nearest in neighbours.items():
        print(escape_controls(path))
        for neighbour in nearest:
            print(f"  {neighbour.cosine:.3f}  {escape_controls(neighbour.path)}")
    if write and options.output:
        rows = [neighbour for nearest in neighbours.values() for neighbour in nearest]
        _write(options.output, write, rows)
        counts.results.append(options.output)


def _default_index(weights: Weights, library: Sequence[str]) -> Path:
    """Returns the path of a library's index, which is not inside the library."""
    if not library:
        raise UserError("--library: give the songs to search, or an --index that contains them")
    sources = [str(Path(argument).absolute()) for argument in library]
    key = json.dumps([embed.model_digest(weights), *sources])
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return Path("data/index") / f"{Path(sources[0]).name[:80]}-{digest}.npz"


def _load(weights: Weights, index_path: Path) -> tuple[SongIndex, song_index.Search]:
    """Returns an index and its search, which is built, and added to the file, if missing."""
    index = song_index.read_index(index_path)
    song_index.check_model(index_path, index, embed.model_digest(weights))
    if not index.songs:
        raise UserError(
            f"{index_path}: contains no songs; see the errors above, or give songs with --library"
        )
    if index.search:
        search = song_index.load_search(index.search)
    else:
        search = song_index.build_search(index.matrix())
        if content := song_index.dump_search(search):
            index = dataclasses.replace(index, search=content)
            song_index.write_index(index_path, index)
    if index.search:
        log.info(
            "%s: %d songs, approximate search: %.1f %% of the %d nearest are found",
            index_path, len(index.songs), 100 * search.recall, song_index.RECALL_NEIGHBOURS,
        )  # fmt: skip
    return index, search


def _query_vectors(
    weights: Weights, queries: Sequence[Path], index: SongIndex, counts: Batch
) -> dict[Path, np.ndarray]:
    """Returns the embedding of each query that did not fail, in their order.

    Embeddings of files that are unchanged since they were indexed come from the index.
    """
    indexed = {song.path: song for song in index.songs}
    unchanged = song_index.unchanged(indexed[path] for path in queries if path in indexed)
    vectors = {song.path: song.vector for song in unchanged}
    for outputs in infer_files(weights, [p for p in queries if p not in vectors], embed=True):
        if outputs.error:
            log.warning("failed: %s", escape_controls(outputs.error))
            counts.add_failure(outputs.error, outputs.path)
        else:
            vectors[outputs.path] = embed.song_vector(outputs)
    return {path: vectors[path] for path in queries if path in vectors}


def _neighbours(
    query: Path, vector: np.ndarray, index: SongIndex, search: song_index.Search, top_k: int
) -> list[Neighbour]:
    """Returns the nearest songs, nearest first, without the query itself."""
    cosines, rows = song_index.nearest_songs(search, vector[None], top_k + 1)
    query_file = query.resolve()
    nearest = [
        (float(cosine), index.songs[row].path)
        for cosine, row in zip(cosines[0], rows[0], strict=True)
        if row >= 0 and index.songs[row].path.resolve() != query_file
    ]
    return [
        Neighbour(query, rank, cosine, path)
        for rank, (cosine, path) in enumerate(nearest[:top_k], 1)
    ]


def _write(path: Path, write: Write, neighbours: Sequence[Neighbour]) -> None:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        write(stream, neighbours)


def _json_lines(stream: TextIO, neighbours: Sequence[Neighbour]) -> None:
    for neighbour in neighbours:
        line = {
            "query": str(neighbour.query),
            "rank": neighbour.rank,
            "cosine": round(neighbour.cosine, 6),
            "path": str(neighbour.path),
        }
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _csv(stream: TextIO, neighbours: Sequence[Neighbour]) -> None:
    rows = csv.writer(stream)
    rows.writerow(["query", "rank", "cosine", "path"])
    for neighbour in neighbours:
        query, path = (csv_cell(encodable(str(p))) for p in (neighbour.query, neighbour.path))
        rows.writerow([query, neighbour.rank, f"{neighbour.cosine:.6f}", path])


WRITERS: Mapping[str, Write] = {".jsonl": _json_lines, ".csv": _csv}

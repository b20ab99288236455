"""Mode `similar`: the songs of a library that are nearest to some others, by their vectors."""

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from deepgenre import log
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError, look_up
from deepgenre.files import replacing
from deepgenre.inference import embed, song_index
from deepgenre.inference.infer import infer_files
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.inference.prediction_files.text import csv_cell
from deepgenre.inference.song_index import Vectors
from deepgenre.log import escape_controls
from deepgenre.weights.spec import Weights


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A song of the library that is near to a question."""

    question: Path
    rank: int  # from 1
    cosine: float
    path: Path


Write = Callable[[TextIO, Sequence[Neighbour]], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked; the flags of main say what each means."""

    library: Sequence[str] = ()
    index: Path | None = None
    top_k: int = 10
    output: Path | None = None


def run(weights: Weights, questions: Sequence[str], options: Options) -> int:
    """Prints, and writes, the nearest songs to each question; returns 1 if a file failed, else 0.

    An index that is missing or out of date is brought up to date with the library first.
    """
    if options.top_k < 1:
        raise UserError(f"--top_k: must be 1 or more, is {options.top_k}")
    asked = expand(questions)
    if not asked:
        raise UserError("--query: give songs to which others are to be found")
    write = look_up(WRITERS, options.output.suffix, "--output suffix") if options.output else None
    index = options.index or _default_index(weights, options.library)
    failures = []
    if options.library:
        failures += embed.update(weights, expand(options.library), index)
    songs, found_by = _ready(weights, index)
    heard, deaf = _vectors_of(weights, [path.absolute() for path in asked], songs)
    answers = {
        path: _neighbours(path, v, songs, found_by, options.top_k) for path, v in heard.items()
    }
    for path, neighbours in answers.items():
        print(escape_controls(path))
        for near in neighbours:
            print(f"  {near.cosine:.3f}  {escape_controls(near.path)}")
    if write and options.output:
        _write(options.output, write, [near for rows in answers.values() for near in rows])
    return 1 if failures or deaf else 0


def _default_index(weights: Weights, library: Sequence[str]) -> Path:
    """Returns where the index of a library lies: never in the library itself."""
    if not library:
        raise UserError("--library: give the songs to look among, or an --index that holds them")
    places = [str(Path(argument).absolute()) for argument in library]
    named = json.dumps([embed.identity(weights), *places])
    digest = hashlib.sha256(named.encode()).hexdigest()[:8]
    return Path("data/index") / f"{Path(places[0]).name[:80]}-{digest}.npz"


def _ready(weights: Weights, index: Path) -> tuple[Vectors, song_index.Search]:
    """Returns the songs of an index and the search among them, which is built if need be."""
    songs = song_index.read(index)
    song_index.check_model(index, songs, embed.identity(weights))
    if not songs.songs:
        raise UserError(f"{index}: holds no song; see above why none could be heard")
    if songs.search:
        found_by = song_index.from_bytes(songs.search)
    else:
        found_by = song_index.build(songs.matrix())
        if kept := song_index.to_bytes(found_by):
            songs = dataclasses.replace(songs, search=kept)
            song_index.write(index, songs)
    if songs.search:
        log.info(
            "%s: %d songs, searched in part: %.1f %% of the %d nearest are found",
            index, len(songs.songs), 100 * found_by.recall, song_index.RECALL_NEIGHBOURS,
        )  # fmt: skip
    return songs, found_by


def _vectors_of(
    weights: Weights, asked: Sequence[Path], songs: Vectors
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Returns the questions' vectors, in their order, and why some have none."""
    held = {song.path: song for song in songs.songs}
    here = {
        song.path for song in song_index.unchanged(held[path] for path in asked if path in held)
    }
    found: dict[Path, np.ndarray] = {path: held[path].vector for path in here}
    failures = []
    for heard in infer_files(weights, [path for path in asked if path not in here], embed=True):
        if heard.error:
            failures.append(escape_controls(heard.error))
            log.info("failed: %s", failures[-1])
        else:
            found[heard.path] = embed.song_vector(heard)
    return {path: found[path] for path in asked if path in found}, failures


def _neighbours(
    question: Path, vector: np.ndarray, songs: Vectors, found_by: song_index.Search, top_k: int
) -> list[Neighbour]:
    """Returns the nearest songs, nearest first, without the question itself."""
    cosines, rows = song_index.nearest(found_by, vector[None], top_k + 1)
    real = question.resolve()
    near = [
        (float(cosine), songs.songs[row].path)
        for cosine, row in zip(cosines[0], rows[0], strict=True)
        if row >= 0 and songs.songs[row].path.resolve() != real
    ]
    return [Neighbour(question, rank, *one) for rank, one in enumerate(near[:top_k], 1)]


def _write(
    path: Path, write: Callable[[TextIO, Sequence[Neighbour]], None], near: Sequence[Neighbour]
) -> None:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        write(stream, near)
    log.info("wrote %s", path)


def _json_lines(stream: TextIO, near: Sequence[Neighbour]) -> None:
    for one in near:
        line = {
            "query": str(one.question),
            "rank": one.rank,
            "cosine": round(one.cosine, 6),
            "path": str(one.path),
        }
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _csv(stream: TextIO, near: Sequence[Neighbour]) -> None:
    rows = csv.writer(stream)
    rows.writerow(["query", "rank", "cosine", "path"])
    for one in near:
        cells = (csv_cell(encodable(str(path))) for path in (one.question, one.path))
        rows.writerow([next(cells), one.rank, f"{one.cosine:.6f}", next(cells)])


WRITERS: Mapping[str, Write] = {".jsonl": _json_lines, ".csv": _csv}

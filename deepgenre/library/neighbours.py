"""Similar songs as files: JSON lines, CSV, or a playlist."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre.files import replacing
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.inference.prediction_files.text import csv_cell
from deepgenre.library import playlists

UNKNOWN_SECONDS = -1  # the length of a playlist's song that is not known


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A song of the library and its similarity to a query."""

    query: Path
    rank: int  # from 1
    cosine: float
    path: Path
    changed: bool = False  # its file changed since it was indexed
    similarity: float | None = None  # weighted, see `similarity`; None: the cosine decides


# Text of the file; of its folder, and the title of a playlist.
Format = Callable[[Sequence[Neighbour], Path, str], str]


def write(path: Path, neighbours: Sequence[Neighbour], title: str = "") -> None:
    """Writes neighbours in the format of the path's suffix, one of FORMATS.

    title: of a playlist; by default it names the queries.
    """
    text = FORMATS[path.suffix](neighbours, path.parent, title)
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def _json_lines(neighbours: Sequence[Neighbour], folder: Path, title: str) -> str:
    lines = [
        {
            "query": str(neighbour.query),
            "rank": neighbour.rank,
            "cosine": round(neighbour.cosine, 6),
            "path": str(neighbour.path),
            "changed": neighbour.changed,
        }
        | ({} if neighbour.similarity is None else {"similarity": round(neighbour.similarity, 6)})
        for neighbour in neighbours
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _csv(neighbours: Sequence[Neighbour], folder: Path, title: str) -> str:
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    weighted = any(neighbour.similarity is not None for neighbour in neighbours)
    rows.writerow(["query", "rank", "cosine", "path", "changed", *["similarity"] * weighted])
    for neighbour in neighbours:
        query, path = (csv_cell(encodable(str(p))) for p in (neighbour.query, neighbour.path))
        changed = "changed" if neighbour.changed else ""
        similarity = [f"{neighbour.similarity:.6f}"] if weighted else []
        row = [query, neighbour.rank, f"{neighbour.cosine:.6f}", path, changed, *similarity]
        rows.writerow(row)
    return text.getvalue()


def _playlist(neighbours: Sequence[Neighbour], folder: Path, title: str) -> str:
    """Returns the playlist of the songs, in their order, each once."""
    queries = dict.fromkeys(neighbour.query.stem for neighbour in neighbours)
    songs = dict.fromkeys(neighbour.path for neighbour in neighbours)
    label = title or f"Similar to {', '.join(queries)}"
    return playlists.to_text(label, [(path, UNKNOWN_SECONDS) for path in songs], folder)


FORMATS: Mapping[str, Format] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    playlists.SUFFIX: _playlist,
}

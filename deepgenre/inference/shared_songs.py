"""Embeddings, scores and fingerprints of a library without its audio, to give to others (Parquet).

Columns, a row per song:

embedding            float32, list of fixed size: the mean over the song's windows
scores               float32, list of fixed size: a score per class
tempo_bpm            float32, null where unknown
key                  string such as 'F# minor', null where unknown
loudness_lufs        float32, null where unknown
acoustic_fingerprint list of uint32, null where not computed: `audio.acoustic_fingerprint`
chromaprint          list of uint32, null where not computed: `audio.chromaprint`
path                 string, null with paths 'none'

Metadata of the schema, texts: `deepgenre.schema` (SCHEMA), `deepgenre.model` (digest of the network
and weights that computed the embeddings), `deepgenre.classes` (JSON list), `deepgenre.computed`
(JSON list of `song_details.NAMES` that every song has), `deepgenre.fingerprint` (FINGERPRINT),
`deepgenre.chromaprint` (CHROMAPRINT). Files of earlier versions have no Chromaprint.

By default rows have no path, and their order is that of a digest of the embedding, which tells
nothing about folders and albums. Sizes and times of the files are never written. A fingerprint
identifies the recording to everybody who has a copy of it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError, one_line
from deepgenre.files import parse_json, replacing
from deepgenre.inference import song_details
from deepgenre.inference.prediction_files.parquet import DAMAGE, load_pyarrow
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.inference.song_details import Details
from deepgenre.inference.song_index import Song, SongIndex

SUFFIX = ".parquet"
SCHEMA = "1"  # changes where a reader of the old schema would misread the new one
FINGERPRINT = "haitsma-kalker-2002; 11025 Hz, frames 4096, hop 512, 33 bands of 300 to 2000 Hz"
CHROMAPRINT = "chromaprint algorithm 1; 11025 Hz, the first 120 s, a frame per 1365 samples"
NONE, FILE_NAMES, FULL = PATHS = ("none", "names", "full")
COLUMNS = (
    "embedding", "scores", "tempo_bpm", "key", "loudness_lufs", "acoustic_fingerprint",
    "chromaprint", "path",
)  # fmt: skip


def check_available(what: str) -> None:
    """Raises UserError, beginning with `what`, where pyarrow is not installed."""
    load_pyarrow(what, "")


def write(path: Path, index: SongIndex, paths: str) -> None:
    """Writes the songs of an index, which have scores. paths: one of PATHS."""
    arrow, parquet = load_pyarrow("--output", "")
    songs = sorted(index.songs, key=_digest) if paths == NONE else index.songs
    details = [song.details for song in songs]
    computed = frozenset(song_details.NAMES).intersection(*(each.computed for each in details))
    arrays = [
        _lists(arrow, np.stack([song.vector for song in songs])),
        _lists(arrow, np.stack([_scores(each) for each in details])),
        arrow.array([each.tempo_bpm for each in details], arrow.float32()),
        arrow.array([each.key for each in details], arrow.string()),
        arrow.array([each.loudness_lufs for each in details], arrow.float32()),
        arrow.array([each.fingerprint for each in details], arrow.list_(arrow.uint32())),
        arrow.array([each.chromaprint for each in details], arrow.list_(arrow.uint32())),
        arrow.array([_shown(song.path, paths) for song in songs], arrow.string()),
    ]
    metadata = {
        "deepgenre.schema": SCHEMA,
        "deepgenre.model": index.model,
        "deepgenre.classes": json.dumps([*index.classes]),
        "deepgenre.computed": json.dumps(sorted(computed)),
        "deepgenre.fingerprint": FINGERPRINT,
        "deepgenre.chromaprint": CHROMAPRINT,
    }
    table = arrow.Table.from_arrays(arrays, names=[*COLUMNS]).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _digest(song: Song) -> bytes:
    return hashlib.sha256(song.vector.tobytes()).digest()


def _lists(arrow: Any, values: np.ndarray) -> Any:
    flat = arrow.array(np.ascontiguousarray(values, np.float32).ravel())
    return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _scores(details: Details) -> np.ndarray:
    assert details.scores is not None
    return details.scores


def _shown(path: Path, paths: str) -> str | None:
    return {NONE: None, FILE_NAMES: encodable(path.name), FULL: encodable(str(path))}[paths]


def read(path: Path) -> SongIndex:
    """Returns the songs of a file, without fingerprints of files.

    A song without a path has the name of the file and the number of its row, from 1, such as
    'theirs.parquet#17'. Raises UserError where the file is missing, damaged, of another schema, or
    no such file.
    """
    _, parquet = load_pyarrow(str(path), "")
    try:
        table = parquet.read_table(path, page_checksum_verification=True)
        return _read(path, table)
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist") from error
    except DAMAGE as error:
        reason = one_line(error)[:200]
        raise UserError(
            f"{path}: is not a file of shared songs, or is damaged ({reason}); ask for it again"
        ) from error


def _read(path: Path, table: Any) -> SongIndex:
    """Returns the index; raises UserError for another schema, and one of DAMAGE for a wrong one."""
    metadata = {
        name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()
    }
    if "deepgenre.schema" not in metadata:
        raise ValueError("has no deepgenre.schema")
    if metadata["deepgenre.schema"] != SCHEMA:
        raise UserError(
            f"{path}: has schema {metadata['deepgenre.schema'][:20]!r}, this version reads "
            f"{SCHEMA!r}; use the version that wrote it"
        )
    classes = tuple(map(str, parse_json(metadata["deepgenre.classes"])))
    computed = frozenset(map(str, parse_json(metadata["deepgenre.computed"])))
    for name, kind in (("fingerprint", FINGERPRINT), ("chromaprint", CHROMAPRINT)):
        if metadata.get(f"deepgenre.{name}") != kind:  # they cannot be compared
            computed -= {name}
    vectors, scores = (_matrix(table, name) for name in ("embedding", "scores"))
    if scores.shape[1] != len(classes):
        raise ValueError(f"scores: are of {scores.shape[1]} classes, not of {len(classes)}")
    columns = [table.column(name).to_pylist() for name in ("tempo_bpm", "key", "loudness_lufs")]
    names = _paths(path, table.column("path").to_pylist())
    prints = [
        _fingerprints(table, column) if name in computed else [None] * len(names)
        for name, column in (
            ("fingerprint", "acoustic_fingerprint"), ("chromaprint", "chromaprint"),
        )
    ]  # fmt: skip
    songs = []
    for row, values in enumerate(zip(*columns, strict=True)):
        tempo, key, loudness = _checked(*values)
        of_song = (column[row] for column in prints)
        details = Details(computed, tempo, key, loudness, scores[row], *of_song)
        songs.append(Song(names[row], None, vectors[row], details))
    return SongIndex(metadata["deepgenre.model"], tuple(songs), classes=classes)


def _matrix(table: Any, name: str) -> np.ndarray:
    """Returns a column of lists of fixed size, float32 (rows, size), finite."""
    column = table.column(name).combine_chunks()
    size = getattr(column.type, "list_size", 0)
    if column.null_count or size < 1 or column.flatten().type != "float":
        raise ValueError(f"{name}: is not a column of lists of float32")
    values = column.flatten().to_numpy().reshape(len(column), size)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: contains NaN or infinity")
    return values


def _fingerprints(table: Any, name: str) -> list[np.ndarray | None]:
    """Returns the fingerprint of each row, uint32 (frames,); None where there is none."""
    column = table.column(name).combine_chunks()
    if getattr(column.type, "value_type", None) != "uint32":
        raise ValueError(f"{name}: is not a column of lists of uint32")
    frames = (each.values for each in column)
    return [np.asarray(f.to_numpy(), np.uint32) if f is not None and len(f) else None
            for f in frames]  # fmt: skip


def _paths(path: Path, names: Iterable[str | None]) -> list[Path]:
    shown = (name or f"{path.name}#{row}" for row, name in enumerate(names, 1))
    return [Path(name) for name in shown]


def _checked(
    tempo: float | None, key: str | None, loudness: float | None
) -> tuple[float | None, str | None, float | None]:
    """Returns the values; raises ValueError where one is impossible."""
    if tempo is not None and not 0 < tempo < float("inf"):
        raise ValueError(f"tempo_bpm: is {tempo}")
    if key is not None and key not in song_details.KEYS:
        raise ValueError(f"key: is {key[:20]!r}")
    if loudness is not None and not abs(loudness) < float("inf"):
        raise ValueError(f"loudness_lufs: is {loudness}")
    return tempo, key, loudness

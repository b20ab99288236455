"""The files that the program writes, with how each is begun, written and read: for `file_faults`.

Contents are small and *synthetic*; writing and reading is that of the program. What is read is a
dictionary of items, of which a part must be there whatever happens.
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tag_files  # noqa: E402  # pyright: ignore[reportMissingImports]
import tiny  # noqa: E402  # pyright: ignore[reportMissingImports]

from deepgenre import log  # noqa: E402
from deepgenre.audio.discover import Found  # noqa: E402
from deepgenre.data import prepare, store  # noqa: E402
from deepgenre.errors import UserError  # noqa: E402
from deepgenre.evaluation import ledger  # noqa: E402
from deepgenre.files import fingerprint, record_retagged  # noqa: E402
from deepgenre.inference import embed, shared_songs, song_index, song_search  # noqa: E402
from deepgenre.inference.prediction_files import writer  # noqa: E402
from deepgenre.inference.prediction_files.rows import (  # noqa: E402
    Layout,
    Prediction,
    Result,
)
from deepgenre.inference.song_details import Details  # noqa: E402
from deepgenre.inference.song_index import Song, SongIndex  # noqa: E402
from deepgenre.library import journal, playlists, tag_writer  # noqa: E402
from deepgenre.library import undo as undo_files  # noqa: E402
from deepgenre.library.remembered import Entry, Remembered  # noqa: E402
from deepgenre.summary import Batch  # noqa: E402
from deepgenre.weights import run_record, weight_file  # noqa: E402
from deepgenre.weights.spec import Weights  # noqa: E402

Items = dict[str, Any]
CLASSES = ("low", "mid", "high")
LAYOUT = Layout({"": CLASSES})
MADE_WITH = {"weights": "x", "aggregate": "mean"}


@dataclasses.dataclass(frozen=True)
class Artefact:
    """Files that one writer writes.

    begin: fills a folder with what is there before; write: writes the files, and continues where
    it was stopped; read: returns the items. files: kinds of files by pattern, of which the first
    that matches counts. is_source: faults at rest damage what `begin` made, before `write`; what
    they must not change then is as they left it. is_checked: `read` is the program's own; else it
    is called after `write` only, which checks.
    """

    begin: Callable[[Path], None]
    write: Callable[[Path], None]
    read: Callable[[Path], Items]
    files: Mapping[str, str]
    weight: float = 1.0
    is_source: bool = False
    is_checked: bool = True


def _nothing(folder: Path) -> None:
    """Nothing is there before."""


def _values(name: str, count: int) -> np.ndarray:
    """Returns numbers that depend on a name only, float32 (count,)."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return np.random.default_rng(seed).uniform(0.01, 1, count).astype(np.float32)


def _songs(folder: Path, count: int = 12) -> list[Path]:
    return [folder / "songs" / f"{number:02d}.mp3" for number in range(count)]


def _begin_songs(folder: Path) -> None:
    (folder / "songs").mkdir()
    for number, path in enumerate(_songs(folder)):
        path.write_bytes(bytes(number + 1))
        os.utime(path, ns=(10**18 + number, 10**18 + number))


# The store.


def _begin_store(folder: Path) -> None:
    for number in range(10):
        path = folder / "music" / CLASSES[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number + 1))
        os.utime(path, ns=(10**18 + number, 10**18 + number))


def _levels(clip: Any, frontend: Any, scale: str) -> np.ndarray:
    return (255 * _values(clip.key, 20 * 16)).astype(np.uint8).reshape(20, 16)


def _prepare(folder: Path) -> prepare.Prepared:
    prepare.clip_levels, prepare.CLIPS_PER_SHARD = _levels, 4
    config = tiny.defaults.get_config()
    config.dataset, config.store_dir, config.prepare_workers = "folder", str(folder / "store"), 1
    return prepare.prepare(config, folder / "music", verify=True)


def _write_store(folder: Path) -> None:
    _prepare(folder)


def _read_store(folder: Path) -> Items:
    """Returns what a training reads, after the checks before it: every record and its row."""
    place = next((folder / "store").glob("*"), None)
    if place is None:
        return {}
    contents = store.read_contents(place)
    for error in contents.damaged.values():
        raise error
    index = place / "index.jsonl"
    rows = store.read_index(place) if index.exists() else []
    if not rows:
        return {}
    records = store.Records(place, rows, np.uint8)
    items: Items = {row.key: (row.labels, records[i].tobytes()) for i, row in enumerate(rows)}
    known = {key: found[-1] for key, found in contents.measured.items()}
    for row in rows:
        if known.get(row.key) != row.measured:
            raise UserError(f"{index}: row {row.key} is not that of its shard")
    return items


# Weights and checkpoints.


def _variables(step: int) -> dict[str, Any]:
    kernel, bias = _values(f"kernel {step}", 600).reshape(20, 30), _values(f"bias {step}", 30)
    return {"params": {"dense": {"kernel": kernel, "bias": bias}}, "batch_stats": {}}


def _write_weights(folder: Path) -> None:
    weights = Weights(tiny.spec(), _variables(1), 1, {"merit": 0.5})
    weight_file.write(folder / "w.safetensors", weights, dtype="float16")


def _read_weights(folder: Path) -> Items:
    if not (folder / "w.safetensors").exists():
        return {}
    weights = weight_file.read(folder / "w.safetensors")
    tensors = {name: leaf.tobytes() for name, leaf in weights.variables["params"]["dense"].items()}
    about = (repr(weights.spec), weights.step, dict(weights.metrics), weights.licence)
    return {"weights": (tensors, about)}


def _state(step: int) -> Any:
    from deepgenre.weights.state import State

    parts = _variables(step)
    return State(np.int32(step), parts["params"], {}, {"count": np.int32(step)}, {})  # pyright: ignore[reportArgumentType]


def _write_checkpoints(folder: Path) -> None:
    from deepgenre.weights.checkpoint import Checkpoints

    with Checkpoints(folder) as checkpoints:
        first = 1 + (checkpoints.latest_step() or 0)
        if first > 1:
            _check_state(folder, checkpoints.restore_latest(_state(0)))
            checkpoints.latest_spec()
        for step in range(first, 4):  # the best one is the second
            metrics = {"merit": 0.9 if step == 2 else 0.5}
            checkpoints.save(_state(step), tiny.spec(), metrics)


def _check_state(folder: Path, state: Any) -> None:
    """Raises where a restored state is not the one that was saved at this step."""
    expected = _state(int(state.step))
    for name, leaf in expected.params["dense"].items():
        np.testing.assert_array_equal(np.asarray(state.params["dense"][name]), leaf)


def _read_checkpoints(folder: Path) -> Items:
    """Returns the weights of each step that is there, and the step of the best."""
    from deepgenre.weights import checkpoint

    steps = sorted(p.name for p in (folder / "checkpoints").glob("*") if p.name.isdigit())
    items: Items = {}
    for step in steps:
        found = checkpoint.restore(folder / "checkpoints" / step)
        leaves = {k: np.asarray(v).tobytes() for k, v in found.variables["params"]["dense"].items()}
        expected = {k: v.tobytes() for k, v in _variables(int(step))["params"]["dense"].items()}
        if leaves != expected:
            raise AssertionError(f"step {step} has other weights")
        if step != "1":  # is removed in the end
            items[f"step {step}"] = (leaves, dict(found.metrics), repr(found.spec))
    if steps and checkpoint.restore(folder).step != int("2" if "2" in steps else steps[-1]):
        raise AssertionError("another step is the best")
    return items


# What a run writes beside its checkpoints.


def _write_metrics(folder: Path) -> None:
    known = [line["step"] for line in _metrics(folder)]
    last = max(known, default=0) // 2 * 2  # of the last checkpoint
    metrics = log.MetricsLog(folder / "run", step=last)
    for step in range(last + 1, 9):
        loss, accuracy = map(float, _values(f"metrics {step}", 2))
        metrics.write(step, "train", {"epoch": step // 2, "loss": loss, "accuracy": accuracy})
    metrics.close()


def _metrics(folder: Path) -> list[dict[str, Any]]:
    return log.read_metrics(folder / "run") if (folder / "run" / "metrics.jsonl").exists() else []


def _read_metrics(folder: Path) -> Items:
    return {f"{n} {line['step']}": line for n, line in enumerate(_metrics(folder))}


def _write_config(folder: Path) -> None:
    run_record.write(folder, tiny.spec(), folder / "music")


def _read_config(folder: Path) -> Items:
    spec = run_record.read(folder)
    return {"spec": repr(spec), "at": run_record.locations(folder)} if spec else {}


def _write_ledger(folder: Path) -> None:
    done = {entry.weights for entry in ledger.consultations(folder)}
    for number in range(6):
        if f"weights {number}" not in done:
            ledger.record(folder, "test", f"weights {number}", "gtzan fault_filtered 0")


def _read_ledger(folder: Path) -> Items:
    found = ledger.consultations(folder)
    return {entry.weights: (entry.part, entry.data) for entry in found}


# Predictions.


def _predictions(name: str) -> tuple[Callable[[Path], None], Callable[[Path], Items]]:
    def write(folder: Path) -> None:
        files = {path: fingerprint(path) for path in _songs(folder)}
        with writer.open_resumed(folder / name, LAYOUT, MADE_WITH, files) as (todo, add):
            for path in todo:
                result = Result(_values(path.name, 3), ("low",))
                add(Prediction(path, files[path], (result,), seconds=1.5))

    def read(folder: Path) -> Items:
        """Returns the rows as another program reads them."""
        path = folder / name
        if not path.exists():
            return {}
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [*csv.DictReader(stream)]
        elif path.suffix == ".jsonl":
            lines = path.read_bytes().split(b"\n")[:-1]  # without an incomplete last one
            rows = [json.loads(line) for line in lines]
        else:
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(path).to_pylist()
        items: Items = {row["path"]: row for row in rows}
        if len(items) != len(rows):
            raise AssertionError("a song has two rows")
        return items

    return write, read


def _remembered(folder: Path) -> Remembered:
    return Remembered(folder / "songs.jsonl", Layout({"": CLASSES}))


def _write_remembered(folder: Path) -> None:
    known = _remembered(folder)
    for path in _songs(folder):
        state = fingerprint(path)
        if known.get(path, state) is None:
            scores, names = _values(path.name, 3), {"genre": ("Low",)}
            results = (Result(scores, ("low",)),)
            known.append(Entry(path, state, results, seconds=1.5, written=names))


def _read_remembered(folder: Path) -> Items:
    known = _remembered(folder)
    found = [known.last(path) for path in known.paths()]
    return {
        str(one.path): (one.fingerprint, repr(one.results), one.written, one.seconds)
        for one in found
    }


# Embeddings.


def _weights() -> Weights:
    return Weights(tiny.spec(classes=CLASSES), _variables(1), 1, {})


def _song(path: Path) -> Song:
    names = frozenset(("tempo", "key", "loudness", "fingerprint", "tags"))
    details = Details(
        names, 120.0, "A minor", -9.5, _values(f"scores {path.name}", 3), np.arange(9, dtype="u4")
    )
    return Song(path, fingerprint(path), _values(path.name, 8), details)


def _write_embeddings(folder: Path) -> None:
    def embedded(weights: Weights, files: Any, failures: Any, names: Any):
        for path in files:
            yield path, 1.5, _song(path)

    found = Found(_songs(folder, 5))
    embed.SAVE_EVERY_SECONDS = 0.0  # an index is written after each song
    names = ("tempo", "key", "loudness", "fingerprint", "tags")
    counts = Batch("embed")
    embed.update(_weights(), found, folder / "songs.npz", counts, names=names, embed=embedded)


def _items_of(index: SongIndex) -> Items:
    items: Items = {}
    for song in index.songs:
        one, sound = song.details, song.details.fingerprint
        details = (sorted(one.computed), one.tempo_bpm, one.key, one.loudness_lufs)
        about = (repr(one.scores), None if sound is None else sound.tolist())
        items[str(song.path)] = (song.vector.tolist(), song.fingerprint, details, about)
    return items | ({"model": (index.model, index.classes)} if index.songs else {})


def _read_embeddings(folder: Path) -> Items:
    path = folder / "songs.npz"
    return _items_of(song_index.read_index(path)) if path.exists() else {}


def _write_cells(folder: Path) -> None:
    """Writes an index with the cells of the search for similar songs."""
    songs = tuple(_song(path) for path in _songs(folder))
    vectors = np.stack([song.vector for song in songs])
    cells = song_search.Cells(vectors[:3], np.arange(12, dtype=np.int32) % 3, 2, 0.9)
    index = SongIndex("model", songs, cells, CLASSES)
    song_index.write_index(folder / "songs.npz", index)


def _read_cells(folder: Path) -> Items:
    path = folder / "songs.npz"
    if not path.exists():
        return {}
    index = song_index.read_index(path)
    vectors = index.matrix()
    search = song_search.exact_search(vectors)
    if index.cells:
        search = song_search.cell_search(vectors, index.cells)
    similar = [row for _, row in song_search.ranking(search, vectors[0])]
    return _items_of(index) | {"similar": similar}


def _write_shared(folder: Path) -> None:
    index = SongIndex("model", tuple(_song(path) for path in _songs(folder)), None, CLASSES)
    shared_songs.write(folder / "songs.parquet", index, shared_songs.FULL)


def _read_shared(folder: Path) -> Items:
    path = folder / "songs.parquet"
    return _items_of(shared_songs.read(path)) if path.exists() else {}


# Playlists.


def _write_playlists(folder: Path) -> None:
    songs = {name: [(p, 2.0) for p in _songs(folder)[n::3]] for n, name in enumerate(CLASSES)}
    playlists.write(folder / "lists", CLASSES, songs)


def _read_playlists(folder: Path) -> Items:
    """Returns the playlists, by label, that the record lists as they are."""
    record = folder / "lists" / "playlists.json"
    try:
        listed = json.loads(record.read_bytes()) if record.exists() else {}
    except ValueError as error:
        raise UserError(f"{record}: is damaged") from error
    return {
        content.splitlines()[1].decode(): content
        for path in (folder / "lists").glob("*.m3u8")
        if hashlib.sha256(content := path.read_bytes()).hexdigest() in listed.get(path.name, ())
    }


def _write_retagged(folder: Path) -> None:
    record = folder / "retagged.jsonl"
    os.environ["DEEPGENRE_RETAGGED"] = str(record)
    for number, path in enumerate(_songs(folder)):
        before = (number + 100, number)
        now = fingerprint(path)
        if now and now != before:
            record_retagged(path, before, now)


def _read_retagged(folder: Path) -> Items:
    os.environ["DEEPGENRE_RETAGGED"] = str(folder / "retagged.jsonl")
    found = {str(path): fingerprint(path) for path in _songs(folder)}
    return {
        name: size_and_time
        for number, (name, size_and_time) in enumerate(found.items())
        if size_and_time == (number + 100, number)
    }


# Tags in audio files, and their undo.


def _begin_audio(suffix: str) -> Callable[[Path], None]:
    def begin(folder: Path) -> None:
        song = tag_files.write_tone(folder / f"song{suffix}", seconds=0.3)
        tag_files.add_user_tags(song)
        os.utime(song, ns=(10**18, 10**18))

    return begin


def _song_in(folder: Path) -> Path:
    return next(folder.glob("song.*"))


def _write_tags(folder: Path) -> None:
    song = _song_in(folder)
    os.environ["DEEPGENRE_RETAGGED"] = str(folder / "retagged.jsonl")
    tag_writer.remove_stale_copies({folder})
    with journal.appending(folder / "journal.jsonl") as record:
        if changes := tag_files.changes(song):
            tag_writer.rewrite(song, changes, record)


def _undo(folder: Path) -> None:
    os.environ["DEEPGENRE_RETAGGED"] = str(folder / "retagged.jsonl")
    path = folder / "journal.jsonl"
    if path.exists():
        outcomes = undo_files.run(path)
        if errors := [one.error for one in outcomes if one.error]:
            raise UserError("; ".join(errors))


def _begin_undo(suffix: str) -> Callable[[Path], None]:
    def begin(folder: Path) -> None:
        _begin_audio(suffix)(folder)
        _write_tags(folder)

    return begin


def pcm(path: Path) -> str:
    """Returns a digest of the decoded samples of a song; the error where there is one."""
    try:
        return hashlib.sha256(tag_files.samples_of(path).tobytes()).hexdigest()
    except Exception as error:  # the song itself was damaged
        return type(error).__name__


def _read_tags(folder: Path) -> Items:
    song = _song_in(folder)
    found: Items = {"pcm": pcm(song)}
    with contextlib.suppress(Exception):  # of a song that was damaged
        found["tags"] = tag_files.written(song)
    return found


def _read_undone(folder: Path) -> Items:
    song = _song_in(folder)
    content = hashlib.sha256(song.read_bytes()).hexdigest()
    return {"pcm": pcm(song), "bytes": content, "time": song.stat().st_mtime_ns}


def _tagged() -> dict[str, Artefact]:
    artefacts = {}
    for suffix in tag_files.SUFFIXES:
        files = {f"{suffix} file": "*song.*", f"{suffix} file (copy)": ".deepgenre-*"}
        others = {"undo journal": "*journal*", "retagged.jsonl": "*retagged*"}
        weight = 0.5 if suffix in (".mp3", ".flac", ".ogg", ".m4a", ".wav", ".opus") else 0.15
        artefacts[f"tags {suffix}"] = Artefact(
            _begin_audio(suffix), _write_tags, _read_tags, files | others, weight, is_source=True
        )
        artefacts[f"undo {suffix}"] = Artefact(
            _begin_undo(suffix), _undo, _read_undone, others | files, weight, is_source=True
        )
    return artefacts


EVENTS = {"TensorBoard events": "*tfevents*"}
ARTEFACTS: dict[str, Artefact] = {
    "store": Artefact(
        _begin_store, _write_store, _read_store,
        {"store: records": "*.arrayrecord*", "store: rows of shards": "*shards/*.jsonl*",
         "store: index of clips": "*index.jsonl*"}, 3,
    ),
    "checkpoints": Artefact(
        _nothing, _write_checkpoints, _read_checkpoints, {"checkpoint": "*checkpoints*"}, 1.5
    ),
    "weights": Artefact(_nothing, _write_weights, _read_weights, {"weight file": "*w.safe*"}),
    "metrics": Artefact(
        _nothing, _write_metrics, _read_metrics, {"metrics.jsonl": "*metrics.jsonl*", **EVENTS}
    ),
    "config": Artefact(_nothing, _write_config, _read_config, {"config.json": "*config.json*"}),
    "ledger": Artefact(_nothing, _write_ledger, _read_ledger, {"ledger": "*consultations*"}),
    **{
        f"predictions{suffix}": Artefact(
            _begin_songs, *_predictions(f"songs{suffix}"),
            {"predictions: identity": "*.meta.json*", f"predictions{suffix}": "*songs.*"},
            is_checked=False,
        )
        for suffix in writer.FORMATS
    },
    "remembered": Artefact(
        _begin_songs, _write_remembered, _read_remembered, {"songs of watch": "*songs.jsonl*"}
    ),
    "embeddings": Artefact(
        _begin_songs, _write_embeddings, _read_embeddings, {"embeddings.npz": "*songs.npz*"}
    ),
    "similar songs": Artefact(
        _begin_songs, _write_cells, _read_cells, {"index of similar songs": "*songs.npz*"}
    ),
    "shared songs": Artefact(
        _begin_songs, _write_shared, _read_shared, {"embeddings.parquet": "*songs.parquet*"}
    ),
    "playlists": Artefact(
        _begin_songs, _write_playlists, _read_playlists,
        {"playlists": "*.m3u8*", "playlists.json": "*playlists.json*"}, is_checked=False,
    ),
    "retagged": Artefact(
        _begin_songs, _write_retagged, _read_retagged, {"retagged.jsonl": "*retagged*"}
    ),
    **_tagged(),
}  # fmt: skip

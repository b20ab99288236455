"""Readers of damaged files: a result or one line (UserError), within bounds of time and memory.

DEEPGENRE_FUZZ sets the number of inputs per reader; more of them: `./launch.sh test -m drill`.
"""

import contextlib
import dataclasses
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tag_files
import tf_files
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import bounded, mutated
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from deepgenre import log
from deepgenre.audio import song_lists
from deepgenre.data import shards, store
from deepgenre.data.datasets import million_song
from deepgenre.data.datasets.manifest import read_manifest
from deepgenre.errors import UserError
from deepgenre.inference import song_index, song_search
from deepgenre.inference.prediction_files import identity, writer
from deepgenre.inference.prediction_files.rows import Layout, Prediction, Result
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.library import mapping, playlists, tag_writer
from deepgenre.library import undo as undo_files
from deepgenre.library.remembered import Remembered
from deepgenre.weights import loading, tf_checkpoint, weight_file
from deepgenre.weights.tf_checkpoint import read_checkpoint

EXAMPLES = int(os.environ.get("DEEPGENRE_FUZZ", "25"))
SECONDS, MORE_BYTES = 10.0, 1 << 30
CLASSES = ("rock", "jazz")
LAYOUT = Layout({"": CLASSES})
MADE_WITH = {"weights": "x"}

Make = Callable[[Path], Path]  # writes whole files into a folder; returns the one to damage
Read = Callable[[Path], object]


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader, and how to make a file for it."""

    make: Make
    read: Read


def _predictions(suffix: str) -> Make:
    def make(folder: Path) -> Path:
        output = folder / f"songs{suffix}"
        fingerprints = {Path(f"{n}.mp3"): (n, n) for n in range(4)}
        with writer.open_new(output, LAYOUT, MADE_WITH, fingerprints) as (todo, add):
            for path in todo:
                result = Result(np.array([0.75, 0.25], np.float32), ("rock",))
                results, error = ((result,), "") if path != todo[-1] else ((), "broken")
                add(Prediction(path, fingerprints[path], results, error))
        return output

    return make


def _resume(output: Path) -> None:
    fingerprints = {Path(f"{n}.mp3"): (n, n) for n in range(5)}
    with writer.open_resumed(output, LAYOUT, MADE_WITH, fingerprints) as (todo, add):
        for path in todo:
            add(Prediction(path, (1, 1), (), "x"))


def _identity(folder: Path) -> Path:
    return identity.path_of(_predictions(".jsonl")(folder))


def _check_identity(path: Path) -> None:
    identity.check(path.with_name("songs.jsonl"), MADE_WITH)


WATCHED = Layout({"": CLASSES, "moods": ("happy",)}, ("tempo_bpm", "key", "energy"))


def _watched(folder: Path) -> Path:
    path = folder / "songs.jsonl"
    lines = [
        {"path": "/a.mp3", "bytes": 1, "mtime_ns": 2, "tags": ["rock"],
         "scores": {"rock": 0.5, "jazz": 0.5}, "seconds": 1.5, "written": {"genre": ["Rock"]},
         "stamp": [1, 3], "tempo_bpm": 99.5, "key": "F# minor", "energy": 0.5,
         "moods:tags": ["happy"], "moods:scores": {"happy": 0.75}},
        {"path": "/b.mp3", "bytes": 1, "mtime_ns": 2, "error": "is empty"},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _journal(folder: Path) -> Path:
    songs = [tag_files.write_tone(folder / name, seconds=0.2) for name in ("a.flac", "b.wav")]
    for song in songs:
        tag_files.add_user_tags(song)
    tag_files.write(folder, *songs)
    return folder / "journal.jsonl"


def _undo(path: Path) -> None:
    for outcome in undo_files.run(path):
        log.warning("%s %s", outcome.error, outcome.note)


def _shard(folder: Path) -> Path:
    (folder / "source").touch()
    clips = []
    for number in range(3):
        levels = np.random.default_rng(number).integers(0, 255, (20, 16)).astype(np.uint8)
        clips.append((shards.measure(f"c{number}", levels, folder / "source"), levels))
    shards.write(folder, "s", clips)
    return folder / "shards" / "s.jsonl"


def _records(folder: Path) -> Path:
    return _shard(folder).with_suffix(".arrayrecord")


def _read_store(path: Path) -> None:
    folder = path.parents[1]
    rows = [store.Row(m.key, (), "", "", m) for m in store.read_measured(folder).values()]
    if rows:
        records = store.Records(folder, rows, np.uint8)
        with contextlib.suppress(UserError):
            for index in range(len(records)):
                expected = np.random.default_rng(int(rows[index].key[1])).integers(0, 255, (20, 16))
                np.testing.assert_array_equal(records[index], expected)
    store.repair(folder, np.uint8, store.verify(folder))
    assert not store.read_contents(folder).damaged


def _index_of_clips(folder: Path) -> Path:
    path = _shard(folder)
    store.write_index(
        folder, [store.Row(m.key, ("x",), "g", "", m) for m in shards.read(folder, "s").rows]
    )
    return path.parents[1] / "index.jsonl"


def _song_index(folder: Path) -> Path:
    vectors = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    songs = [Song(Path(f"/{n}.mp3"), (n, n), vector) for n, vector in enumerate(vectors)]
    cells = song_search.Cells(vectors[:2], np.zeros(5, np.int32), 1, 0.5)
    song_index.write_index(folder / "songs.npz", SongIndex("model", tuple(songs), cells))
    return folder / "songs.npz"


def _search(path: Path) -> None:
    index = song_index.read_index(path)
    if index.songs:
        vectors = index.matrix()
        searches = [song_search.exact_search(vectors)]
        searches += [song_search.cell_search(vectors, index.cells)] if index.cells else []
        for search in searches:
            list(song_search.ranking(search, vectors[0]))


def _weights(folder: Path) -> Path:
    weight_file.write(folder / "w.safetensors", tiny.untrained(tiny.spec()), dtype="float16")
    return folder / "w.safetensors"


def _weights_header(folder: Path) -> Path:
    with safe_open(_weights(folder), framework="numpy") as stream:
        (folder / "header.json").write_text(stream.metadata()["deepgenre"])
    return folder / "header.json"


def _load_with_header(path: Path) -> None:
    """Loads weights with this header, whose digest is right: no accident, but somebody's work."""
    about = path.read_bytes().decode("utf-8", "replace")
    tensors = load_file(path.with_name("w.safetensors"))
    header = {"deepgenre": about, "digest": weight_file._digest(about, tensors)}
    save_file(tensors, path.with_name("changed.safetensors"), metadata=header)
    loading.load(str(path.with_name("changed.safetensors")))


def _tensorflow(name: str) -> Make:
    def make(folder: Path) -> Path:
        tensors = {"kernel": np.ones((3, 2), np.float32), "step": np.asarray(7, np.int64)}
        index, data = tf_files.write(tensors)
        (folder / "index").write_bytes(index)
        (folder / "data").write_bytes(data)
        (folder / "entry").write_bytes(tf_files.entry(tensors["kernel"], 0))
        (folder / "block").write_bytes(tf_files.block([(b"a", b"1"), (b"ab", b"2")]))
        return folder / name

    return make


def _read_tensorflow(path: Path) -> None:
    index, data = (path.with_name(name).read_bytes() for name in ("index", "data"))
    read_checkpoint(index, data, str(path))


def _read_tensorflow_entry(path: Path) -> None:
    """Reads a checkpoint with this entry, whose checksums are right."""
    index = tf_files.table([(b"", tf_files.field(1, 1)), (b"kernel", path.read_bytes())])
    read_checkpoint(index, path.with_name("data").read_bytes(), str(path))


def _read_tensorflow_block(path: Path) -> None:
    try:
        list(tf_checkpoint._block_entries(path.read_bytes()))
    except tf_checkpoint.DAMAGE as error:
        raise UserError(str(error)) from error


def _metadata(folder: Path) -> Path:
    path = folder / "track_metadata.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE songs (track_id TEXT, artist_name TEXT, title TEXT)")
        rows = [(f"TRMMMYQ128F932D90{n}", f"artist {n}", "title") for n in range(9)]
        database.executemany("INSERT INTO songs VALUES (?, ?, ?)", rows)
    return path


def _unique_tracks(folder: Path) -> Path:
    path = folder / "unique_tracks.txt"
    path.write_text("TRMMMYQ128F932D901<SEP>SOQM<SEP>Beyoncé<SEP>Déjà Vu\n" * 3, encoding="utf-8")
    return path


def _read_songs(path: Path) -> None:
    million_song.match([Path("TRMMMYQ128F932D901.mp3")], million_song.read_songs(path))


def _tags_database(folder: Path) -> Path:
    path = folder / "lastfm_tags.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE tids (tid TEXT)")
        database.execute("CREATE TABLE tags (tag TEXT)")
        database.execute("CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT)")
        database.execute("INSERT INTO tids VALUES ('TRMMMYQ128F932D901')")
        database.execute("INSERT INTO tags VALUES ('rock')")
        database.execute("INSERT INTO tid_tag VALUES (1, 1, 100)")
    return path


def _tags_zip(folder: Path) -> Path:
    path = folder / "tags.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            entry = {"track_id": f"T{number}", "tags": [["rock", "100"], ["jazz", "3"]]}
            archive.writestr(f"A/{number}.json", json.dumps(entry))
    return path


def _tags_json(folder: Path) -> Path:
    (folder / "tags").mkdir()
    path = folder / "tags" / "a.json"
    path.write_text(json.dumps({"track_id": "T1", "tags": [["rock", "100"], ["jazz", "3"]]}))
    return path


def _read_tags(path: Path) -> None:
    source = path.parent if path.suffix == ".json" else path
    million_song.choose_tags(million_song.read_tags(source, 1), {"T1"}, 5)


def _text(name: str, text: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "a.mp3").touch()
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return make


def _read_manifest(path: Path) -> None:
    read_manifest(path, multi_label=True)


def _read_list(path: Path) -> None:
    for entry in song_lists.read(path):
        song_lists.locate(entry, [path.parent])


def _read_playlists(path: Path) -> None:
    playlists.write(path.parent, ["rock"], {"rock": [(path.parent / "a.mp3", 1.0)]})


def _tagged(suffix: str) -> Make:
    def make(folder: Path) -> Path:
        path = tag_files.write_tone(folder / f"song{suffix}", seconds=0.3)
        tag_files.add_user_tags(path)
        return path

    return make


def _write_tags(path: Path) -> None:
    before = path.read_bytes()
    changes = tag_files.changes(path)
    try:
        tag_writer.rewrite(path, changes, lambda line: None)
    except UserError:
        assert path.read_bytes() == before
        raise


CSV = "path,labels,group,split\na.mp3,rock|pop,x,train\nb.mp3,jazz,,test\n"
JSONL = '{"path": "a.mp3", "labels": ["rock"], "group": "x"}\n{"path": "b.mp3", "labels": "jazz"}\n'
XSPF = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">'
    "<trackList><track><location>a%20b.mp3</location></track></trackList></playlist>\n"
)
READERS = {
    **{f"resume{s}": Reader(_predictions(s), _resume) for s in writer.FORMATS},
    "identity": Reader(_identity, _check_identity),
    "watched_songs": Reader(_watched, lambda path: Remembered(path, WATCHED)),
    "journal": Reader(_journal, _undo),
    "shard_index": Reader(_shard, _read_store),
    "shard_records": Reader(_records, _read_store),
    "index_of_clips": Reader(_index_of_clips, lambda path: store.read_index(path.parent)),
    "song_index": Reader(_song_index, _search),
    "weights": Reader(_weights, lambda path: loading.load(str(path))),
    "weights_header": Reader(_weights_header, _load_with_header),
    "tensorflow_index": Reader(_tensorflow("index"), _read_tensorflow),
    "tensorflow_data": Reader(_tensorflow("data"), _read_tensorflow),
    "tensorflow_entry": Reader(_tensorflow("entry"), _read_tensorflow_entry),
    "tensorflow_block": Reader(_tensorflow("block"), _read_tensorflow_block),
    "track_metadata": Reader(_metadata, _read_songs),
    "unique_tracks": Reader(_unique_tracks, _read_songs),
    "lastfm_tags": Reader(_tags_database, _read_tags),
    "tags_zip": Reader(_tags_zip, _read_tags),
    "tags_json": Reader(_tags_json, _read_tags),
    "manifest.csv": Reader(_text("m.csv", CSV), _read_manifest),
    "manifest.tsv": Reader(_text("m.tsv", CSV.replace(",", "\t")), _read_manifest),
    "manifest.jsonl": Reader(_text("m.jsonl", JSONL), _read_manifest),
    "m3u8": Reader(_text("l.m3u8", "#EXTM3U\n#EXTINF:1,a\na.mp3\nfile:///b%20c.mp3\n"), _read_list),
    "pls": Reader(_text("l.pls", "[playlist]\nFile1=a.mp3\nTitle1=x\nVersion=2\n"), _read_list),
    "xspf": Reader(_text("l.xspf", XSPF), _read_list),
    "playlists.json": Reader(_text("playlists.json", '{"rock.m3u8": ["00"]}'), _read_playlists),
    "mapping.json": Reader(
        _text("map.json", '{"rock": "Rock & Roll", "jazz": ""}'),
        lambda path: mapping.read(path, CLASSES),
    ),
    "mapping.txt": Reader(
        _text("map.txt", "# names\nrock = Rock\njazz =\n"), lambda path: mapping.read(path, CLASSES)
    ),
    "metrics.jsonl": Reader(
        _text("metrics.jsonl", '{"step": 1, "split": "train", "loss": 0.5}\n' * 3),
        lambda path: log.MetricsLog(path.parent, step=2).close(),
    ),
    **{f"tags{suffix}": Reader(_tagged(suffix), _write_tags) for suffix in tag_files.SUFFIXES},
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A reader with a whole file for it, and the content of all files beside it."""

    reader: Reader
    path: Path
    contents: dict[Path, bytes]

    def check(self, content: bytes) -> None:
        """Raises where the reader does not take this content, or refuse it in one line."""
        for other in self.path.parent.rglob("*"):
            if other.is_file() and other not in self.contents:
                other.unlink()
        for other, whole in self.contents.items():
            other.parent.mkdir(exist_ok=True)
            other.write_bytes(whole)
        self.path.write_bytes(content)
        with bounded(seconds=SECONDS, more_bytes=MORE_BYTES):
            try:
                self.reader.read(self.path)
            except UserError as error:
                message = log.escape_controls(error)
                assert "Traceback" not in message
                assert "\n" not in message
                assert "allow_pickle" not in message


def make(name: str, folder: Path) -> Made:
    """Returns a reader of READERS with a file in an empty folder."""
    reader = READERS[name]
    path = reader.make(folder)
    with contextlib.suppress(UserError):
        reader.read(path)  # what is imported on the way takes no time later
    for other in folder.rglob("*"):
        if other.is_file():
            other.unlink()
    for other in sorted(folder.rglob("*"), reverse=True):
        other.rmdir()
    path = reader.make(folder)
    return Made(reader, path, {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()})


@pytest.fixture(params=READERS, scope="module")
def made(request, tmp_path_factory) -> Made:
    return make(request.param, tmp_path_factory.mktemp("fuzz"))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 1 << 62))
def test_damaged_file_gives_a_result_or_one_line(made, seed):
    made.check(mutated(made.contents[made.path], seed))

"""Mode `embed`: an embedding per song, the mean input of the network's last layer."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio import decoding, describe
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import fingerprint, real_paths, updating
from deepgenre.inference import aggregation, shared_songs, song_details, song_index, windows
from deepgenre.inference.infer import FileOutputs, InferBatch, infer_files
from deepgenre.inference.song_details import NO_DETAILS
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.interrupt import stop_requests
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

Embedded = tuple[Path, float, Song | str]  # file, its seconds, its song or why it has none
# (weights, files, reasons why files cannot be used, names of details) -> songs, in order
EmbedFiles = Callable[
    [Weights, Sequence[Path], Mapping[Path, str], Collection[str]], Generator[Embedded]
]
SAVE_EVERY_SECONDS = 60.0  # the most work that a killed run loses


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the mode; `cli.flags` describes each."""

    output: Path | None = None
    index: Path | None = None  # with a .parquet output, the index that it is written from
    describe: Sequence[str] = ()  # of `song_details.NAMES`
    paths: str = shared_songs.NONE  # of `shared_songs.PATHS`
    summary: Path | None = None
    prune: bool = False


def run(weights: Weights, inputs: Found, options: Options, embed: EmbedFiles | None = None) -> int:
    """Writes an embedding per file (see `song_index`); returns 1 if a file failed, else 0.

    An existing output is updated; see `update`. Where the output is a .parquet, the index is
    updated, and then the given songs, or all of the index, are written as `shared_songs`. embed: in
    place of `embed_files`, elsewhere.
    """
    output = options.output
    if output is None or output.suffix not in (".npz", shared_songs.SUFFIX):
        raise UserError("--output: give the name of the file to write, ending in .npz or .parquet")
    song_details.check(options.describe)
    is_shared = output.suffix == shared_songs.SUFFIX
    if not is_shared and (options.index or options.paths != shared_songs.NONE):
        flag = "--index" if options.index else "--paths"
        raise UserError(f"{flag}: is for an --output that ends in .parquet")
    index_path = (options.index or output.with_suffix(".npz")) if is_shared else output
    if not inputs.files and not (is_shared and options.index):
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    names = [*options.describe, "tags"] if is_shared else options.describe
    if is_shared:
        shared_songs.check_available("--output")
    with updating(output if is_shared else None), summary.batch("embed", options.summary) as counts:
        if inputs.files:
            update(
                weights, inputs, index_path, counts,
                prune=options.prune, names=names, embed=embed,
            )  # fmt: skip
        if is_shared:
            _share(weights, inputs, output, index_path, names, options.paths)
            counts.results.append(output)
    return 1 if counts.failures else 0


def _share(
    weights: Weights,
    inputs: Found,
    output: Path,
    index_path: Path,
    names: Sequence[str],
    paths: str,
) -> None:
    """Writes the given songs of an index, or all where none are given, as `shared_songs`."""
    index = song_index.read_index(index_path)
    song_index.check_model(index_path, index, model_digest(weights))
    if inputs.files:
        index = song_index.only(index, inputs.files)
    if not index.songs:
        raise UserError(f"{index_path}: contains none of the songs; see the errors above")
    song_index.check_details(index_path, index, names)
    shared_songs.write(output, index, paths)


def update(
    weights: Weights,
    inputs: Found,
    index_path: Path,
    counts: Batch,
    *,
    prune: bool = False,
    names: Sequence[str] = (),
    embed: EmbedFiles | None = None,
) -> None:
    """Adds files to an index or updates them, and counts them.

    Files that it contains and that are unchanged are not processed again, whichever path leads to
    them, unless they lack the details of `names` (see `song_details`). Files that are processed
    get these and those that other songs of the index have. Other songs of the index are kept, with
    `prune` removed. The index is saved every SAVE_EVERY_SECONDS, and when the run is asked to stop.
    Raises UserError where another process is updating it.
    """
    with updating(index_path):
        needed = frozenset(names)
        _update(
            weights, inputs, index_path, counts, embed or embed_files, prune=prune, needed=needed
        )


def _update(
    weights: Weights,
    inputs: Found,
    index_path: Path,
    counts: Batch,
    embed: EmbedFiles,
    *,
    prune: bool,
    needed: frozenset[str],
) -> None:
    model = model_digest(weights)
    old = song_index.read_index(index_path) if index_path.exists() else SongIndex(model, ())
    song_index.check_model(index_path, old, model)
    classes = song_index.common_classes(index_path, old, weights.spec.classes)
    files = inputs.files
    requested = dict(zip(real_paths(files), (path.absolute() for path in files), strict=True))
    reasons = {path.absolute(): reason for path, reason in inputs.failures.items()}
    songs = dict(zip(real_paths(song.path for song in old.songs), old.songs, strict=True))
    num_others = len(songs.keys() - requested.keys())
    if prune:
        songs = {real: song for real, song in songs.items() if real in requested}
    names = needed.union(*(song.details.computed for song in old.songs))
    complete = (songs[real] for real in requested if real in songs)
    current = song_index.unchanged(song for song in complete if needed <= song.details.computed)
    done = set(real_paths(song.path for song in current))
    todo = {path: real for real, path in requested.items() if real not in done}
    if todo:  # what other songs have may need a library that is not installed here
        song_details.check(sorted(names))
    log.info(
        "%s: %d of %d files unchanged, %d to process; %d other songs %s",
        index_path, len(done), len(requested), len(todo), num_others,
        "removed" if prune else "kept",
    )  # fmt: skip
    counts.files, counts.kept = len(requested), len(done)
    num_saved = -1 if len(songs) < len(old.songs) or not index_path.exists() else 0
    added: dict[str, Song] = {}

    def save() -> None:
        nonlocal num_saved
        if len(added) > num_saved:
            every = tuple((songs | added).values())
            song_index.write_index(index_path, SongIndex(model, every, classes=classes))
            num_saved = len(added)

    def add(song: Song) -> None:
        song_index.check_width(index_path, old, song.vector)
        added[todo[song.path]] = song

    embedded = embed(weights, [*todo], reasons, names)
    steps = _add_songs(embedded, len(todo), add, counts)
    with stop_requests() as stopped, contextlib.closing(embedded), contextlib.closing(steps):
        _save_periodically(steps, save, stopped)
    counts.results.append(index_path)
    if counts.processed < len(todo):
        raise InterruptedRunError(
            f"stopped with {len(done) + len(added)} of {len(requested)} songs in {index_path}; "
            "repeat the command to continue"
        )


def _add_songs(
    embedded: Iterator[Embedded], num_files: int, add: Callable[[Song], None], counts: Batch
) -> Generator[None]:
    """Adds each song, or counts the failure of its file; yields after each."""
    with log.progress(None, total=num_files, unit="song", title="embed") as bar:
        for path, seconds, song in embedded:
            bar.update()
            if isinstance(song, str):
                counts.failed(song, path)
            else:
                counts.succeeded(seconds)
                add(song)
            yield


def embed_files(
    weights: Weights,
    files: Sequence[Path],
    failures: Mapping[Path, str],
    names: Collection[str] = (),
    infer_batch: InferBatch | None = None,
) -> Generator[Embedded]:
    """Yields the song of each file, or the reason why it has none, in order.

    failures: by path, why a file cannot be used, where that is known already. names: the details
    of the songs, of `song_details.NAMES`; those of the audio are computed from the same decoding.
    infer_batch: of `compile_infer_batch`, to reuse it between calls.
    """
    fingerprints = {path: fingerprint(path) for path in files}
    of_audio = [name for name in song_details.OF_AUDIO if name in names]
    describers: dict[Path, describe.Describer] = {}

    def observer(path: Path) -> decoding.Observe:
        describers[path] = describe.Describer(of_audio)
        return describers[path].observe

    read = windows.reader(failures, observer if of_audio else None)
    for outputs in infer_files(weights, files, embed=True, infer_batch=infer_batch, read=read):
        path, describer = outputs.path, describers.pop(outputs.path, None)
        try:
            vector = song_vector(outputs)
        except UserError as error:
            yield path, outputs.seconds, str(error)
            continue
        details = NO_DETAILS
        if names:
            scores = aggregation.song_scores(outputs, weights.spec, "mean")
            details = song_details.of_song(names, describer.values() if describer else {}, scores)
        # A file that was created during the run is processed again by the next one.
        song = Song(path, fingerprints[path] or (0, 0), vector, details)
        yield path, outputs.seconds, song


def _save_periodically(
    steps: Iterator[None], save: Callable[[], None], stop_requested: Callable[[], int]
) -> None:
    """Runs the steps until the last or a stop request; saves periodically and at the end."""
    last_saved = time.monotonic()
    for _ in steps:
        if stop_requested():
            break
        if time.monotonic() - last_saved > SAVE_EVERY_SECONDS:
            save()
            last_saved = time.monotonic()
    save()


def song_vector(outputs: FileOutputs) -> np.ndarray:
    """Returns the embedding of a song, float32 (features,): the mean over its windows.

    Raises UserError where the file could not be processed, or its embedding is not finite.
    """
    if outputs.error:
        raise UserError(outputs.error)
    assert outputs.embeddings is not None
    vector = outputs.embeddings.mean(axis=0)
    if not np.isfinite(vector).all():
        raise UserError(
            f"{outputs.path}: its embedding contains NaN or infinity; check file and weights"
        )
    return vector

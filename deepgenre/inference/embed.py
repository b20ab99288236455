"""Mode `embed`: an embedding per song, the mean input of the network's last layer."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import fingerprint, real_paths, updating
from deepgenre.inference import song_index, windows
from deepgenre.inference.infer import FileOutputs, InferBatch, infer_files
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.interrupt import stop_requests
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

Embedded = tuple[Path, float, np.ndarray | str]  # file, its seconds, its vector or an error
EmbedFiles = Callable[[Weights, Sequence[Path], Mapping[Path, str]], Generator[Embedded]]
SAVE_EVERY_SECONDS = 60.0  # the most work that a killed run loses


def run(
    weights: Weights,
    inputs: Found,
    output: Path | None,
    summary_path: Path | None = None,
    *,
    prune: bool,
    embed: EmbedFiles | None = None,
) -> int:
    """Writes an embedding per file (see `song_index`); returns 1 if a file failed, else 0.

    An existing output is updated; see `update`.
    """
    if output is None or output.suffix != ".npz":
        raise UserError("--output: give the name of the file to write, ending in .npz")
    if not inputs.files:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    with summary.batch("embed", summary_path) as counts:
        update(weights, inputs, output, counts, prune=prune, embed=embed)
    return 1 if counts.failures else 0


def update(
    weights: Weights,
    inputs: Found,
    index_path: Path,
    counts: Batch,
    *,
    prune: bool = False,
    embed: EmbedFiles | None = None,
) -> None:
    """Adds files to an index or updates them, and counts them.

    Files that it contains and that are unchanged are not processed again, whichever path leads to
    them. Other songs of the index are kept, with `prune` removed. The index is saved every
    SAVE_EVERY_SECONDS, and when the run is asked to stop. Raises UserError where another process
    is updating it. embed: in place of `embed_files`, elsewhere.
    """
    with updating(index_path):
        _update(weights, inputs, index_path, counts, embed or embed_files, prune=prune)


def _update(
    weights: Weights,
    inputs: Found,
    index_path: Path,
    counts: Batch,
    embed: EmbedFiles,
    *,
    prune: bool,
) -> None:
    model = model_digest(weights)
    old = song_index.read_index(index_path) if index_path.exists() else SongIndex(model, ())
    song_index.check_model(index_path, old, model)
    files = inputs.files
    requested = dict(zip(real_paths(files), (path.absolute() for path in files), strict=True))
    reasons = {path.absolute(): reason for path, reason in inputs.failures.items()}
    songs = dict(zip(real_paths(song.path for song in old.songs), old.songs, strict=True))
    num_others = len(songs.keys() - requested.keys())
    if prune:
        songs = {real: song for real, song in songs.items() if real in requested}
    current = song_index.unchanged(songs[real] for real in requested if real in songs)
    done = set(real_paths(song.path for song in current))
    todo = {path: real for real, path in requested.items() if real not in done}
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
            song_index.write_index(index_path, SongIndex(model, tuple((songs | added).values())))
            num_saved = len(added)

    def add(song: Song) -> None:
        song_index.check_width(index_path, old, song.vector)
        added[todo[song.path]] = song

    embedded = embed(weights, [*todo], reasons)
    steps = _add_songs(embedded, [*todo], add, counts)
    with stop_requests() as stop_requested, contextlib.closing(embedded):
        _save_periodically(steps, save, stop_requested)
    counts.results.append(index_path)
    if counts.processed < len(todo):
        raise InterruptedRunError(
            f"stopped with {len(done) + len(added)} of {len(requested)} songs in {index_path}; "
            "repeat the command to continue"
        )


def embed_files(
    weights: Weights,
    files: Sequence[Path],
    failures: Mapping[Path, str],
    infer_batch: InferBatch | None = None,
) -> Generator[Embedded]:
    """Yields the embedding of each file, in their order, or the error why it has none.

    failures: by path, why a file cannot be used, where that is known already.
    infer_batch: of `compile_infer_batch`, to reuse it between calls.
    """
    read = windows.reader(failures)
    for outputs in infer_files(weights, files, embed=True, infer_batch=infer_batch, read=read):
        try:
            yield outputs.path, outputs.seconds, song_vector(outputs)
        except UserError as error:
            yield outputs.path, outputs.seconds, str(error)


def _add_songs(
    embedded: Iterator[Embedded],
    files: Sequence[Path],
    add: Callable[[Song], None],
    counts: Batch,
) -> Iterator[None]:
    """Adds the song of each file, or counts its failure; yields after each."""
    fingerprints = {path: fingerprint(path) for path in files}
    with log.progress(embedded, total=len(files), unit="song", title="embed") as bar:
        for path, seconds, found in bar:
            if isinstance(found, str):
                counts.failed(found, path)
            else:
                counts.succeeded(seconds)
                # A file that was created during the run is processed again by the next one.
                add(Song(path, fingerprints[path] or (0, 0), found))
            yield


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

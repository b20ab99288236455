"""Mode `embed`: an embedding per song, the mean input of the network's last layer."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import fingerprint
from deepgenre.inference import song_index
from deepgenre.inference.infer import FileOutputs, infer_files
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.interrupt import stop_requests
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

SAVE_EVERY_SECONDS = 60.0  # the most work that a killed run loses


def run(
    weights: Weights,
    arguments: Sequence[str],
    output: Path | None,
    summary_path: Path | None = None,
) -> int:
    """Writes an embedding per file (see `song_index`); returns 1 if a file failed, else 0.

    An existing output is updated.
    """
    if output is None or output.suffix != ".npz":
        raise UserError("--output: give the name of the file to write, ending in .npz")
    files = expand(arguments)
    if not files:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    with summary.batch("embed", summary_path) as counts:
        update(weights, files, output, counts)
    return 1 if counts.failures else 0


def update(weights: Weights, files: Sequence[Path], index_path: Path, counts: Batch) -> None:
    """Makes an index contain exactly these files, and counts them.

    Files that it contains and that are unchanged are not processed again. The index is saved every
    SAVE_EVERY_SECONDS, and when the run is asked to stop.
    """
    model = model_digest(weights)
    old = song_index.read_index(index_path) if index_path.exists() else SongIndex(model, ())
    song_index.check_model(index_path, old, model)
    requested = [path.absolute() for path in files]
    unchanged = {song.path: song for song in song_index.unchanged(old.songs)}
    kept = {path: unchanged[path] for path in requested if path in unchanged}
    todo = [path for path in requested if path not in kept]
    num_dropped = len(old.songs) - len(kept)
    log.info(
        "%s: %d songs kept, %d dropped, %d to process",
        index_path, len(kept), num_dropped, len(todo),
    )  # fmt: skip
    counts.files, counts.kept = len(requested), len(kept)
    songs = dict(kept)

    def save() -> None:
        if len(songs) > len(kept) or num_dropped or not index_path.exists():
            in_order = tuple(songs[path] for path in requested if path in songs)
            song_index.write_index(index_path, SongIndex(model, in_order))

    steps = _embed_files(weights, todo, songs, counts)
    with stop_requests() as stop_requested, contextlib.closing(steps):
        _save_periodically(steps, save, stop_requested)
    counts.results.append(index_path)
    if counts.processed < len(todo):
        raise InterruptedRunError(
            f"stopped with {len(songs)} of {len(requested)} songs in {index_path}; "
            "repeat the command to continue"
        )


def _embed_files(
    weights: Weights, todo: Sequence[Path], songs: dict[Path, Song], counts: Batch
) -> Generator[None]:
    """Adds each file to the songs or counts its failure; yields after each."""
    fingerprints = {path: fingerprint(path) for path in todo}
    with log.progress(None, total=len(todo), unit="song", title="embed") as bar:
        for outputs in infer_files(weights, todo, embed=True):
            bar.update()
            if outputs.error:
                counts.failed(outputs.error, outputs.path)
            else:
                counts.succeeded(outputs.seconds)
                # A file that was created during the run is processed again by the next one.
                before = fingerprints[outputs.path] or (0, 0)
                songs[outputs.path] = Song(outputs.path, before, song_vector(outputs))
            yield


def _save_periodically(
    steps: Iterator[None], save: Callable[[], None], stop_requested: Callable[[], bool]
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
    """Returns the embedding of a song, float32 (features,): the mean over its windows."""
    assert outputs.embeddings is not None
    return outputs.embeddings.mean(axis=0)

"""Mode `embed`: an embedding per song, the mean input of the network's last layer."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from flax import traverse_util

from deepgenre import log
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import fingerprint
from deepgenre.inference import song_index, windows
from deepgenre.inference.infer import FileOutputs, Reader, infer_files
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

SAVE_EVERY_SECONDS = 60.0  # the most work that a killed run loses
# Fields of a spec that do not affect embeddings.
IGNORED_FIELDS = ("classes", "multi_label", "config", "temperature")


def run(weights: Weights, inputs: Found, output: Path | None) -> int:
    """Writes an embedding per file (see `song_index`); returns 1 if a file failed, else 0.

    An existing output is updated.
    """
    if output is None or output.suffix != ".npz":
        raise UserError("--output: give the name of the file to write, ending in .npz")
    if not inputs.files:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    failures = update(weights, inputs, output)
    log.info("wrote %s", output)
    return 1 if failures else 0


def update(weights: Weights, inputs: Found, index_path: Path) -> list[str]:
    """Makes an index contain exactly these files; returns the errors of files that failed.

    Files that it contains and that are unchanged are not processed again. The index is saved every
    SAVE_EVERY_SECONDS, and when the run is asked to stop.
    """
    model = model_digest(weights)
    old = song_index.read_index(index_path) if index_path.exists() else SongIndex(model, ())
    song_index.check_model(index_path, old, model)
    requested = [path.absolute() for path in inputs.files]
    reasons = {path.absolute(): reason for path, reason in inputs.failures.items()}
    unchanged = {song.path: song for song in song_index.unchanged(old.songs)}
    kept = {path: unchanged[path] for path in requested if path in unchanged}
    todo = [path for path in requested if path not in kept]
    num_dropped = len(old.songs) - len(kept)
    log.info(
        "%s: %d songs kept, %d dropped, %d to process",
        index_path, len(kept), num_dropped, len(todo),
    )  # fmt: skip
    failures: list[str] = []
    songs = dict(kept)

    def save() -> None:
        if len(songs) > len(kept) or num_dropped or not index_path.exists():
            in_order = tuple(songs[path] for path in requested if path in songs)
            song_index.write_index(index_path, SongIndex(model, in_order))

    steps = _embed_files(weights, todo, windows.reader(reasons), songs, failures)
    with stop_requests() as stop_requested, contextlib.closing(steps):
        _save_periodically(steps, save, stop_requested)
    if len(songs) + len(failures) < len(requested):
        raise InterruptedRunError(
            f"stopped with {len(songs)} of {len(requested)} songs in {index_path}; "
            "repeat the command to continue"
        )
    return failures


def _embed_files(
    weights: Weights,
    todo: Sequence[Path],
    read: Reader,
    songs: dict[Path, Song],
    failures: list[str],
) -> Generator[None]:
    """Adds each file to the songs or the failures; yields after each."""
    fingerprints = {path: fingerprint(path) for path in todo}
    with log.progress(None, total=len(todo), unit="song", title="embed") as bar:
        for outputs in infer_files(weights, todo, embed=True, read=read):
            bar.update()
            if outputs.error:
                failures.append(escape_controls(outputs.error))
                log.warning("failed: %s", failures[-1])
            else:
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


def model_digest(weights: Weights) -> str:
    """Returns a digest of everything except the audio that determines an embedding."""
    fields = {k: v for k, v in specs.to_json(weights.spec).items() if k not in IGNORED_FIELDS}
    fields["dtype"] = weights.spec.config["dtype"]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    tensors = traverse_util.flatten_dict(weights.variables, sep="/")
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name])
        digest.update(f"{name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()

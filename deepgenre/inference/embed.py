"""Mode `embed`: a vector a song, of what a network makes of it on its way to the classes."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from flax import traverse_util

from deepgenre import log
from deepgenre.audio.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import fingerprint
from deepgenre.inference import song_index
from deepgenre.inference.infer import FileOutputs, infer_files
from deepgenre.inference.song_index import Song, Vectors
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

SAVE_EVERY_SECONDS = 60.0  # a killed run loses no more work
# Of a spec, what does not change a song's vector.
WITHOUT_EFFECT = ("classes", "multi_label", "config", "temperature")


def run(weights: Weights, arguments: Sequence[str], output: Path | None) -> int:
    """Writes a vector a file (see `vectors`); returns 1 if a file failed, else 0.

    An output that is there is gone on with.
    """
    if output is None or output.suffix != ".npz":
        raise UserError("--output: give the name of the file to write, ending in .npz")
    files = expand(arguments)
    if not files:
        raise UserError("--files: give files, folders, globs or a list.txt of what to hear")
    failures = update(weights, files, output)
    log.info("wrote %s", output)
    return 1 if failures else 0


def update(weights: Weights, files: Sequence[Path], index: Path) -> list[str]:
    """Makes an index hold these files and no others; returns why files could not be heard.

    Files that it holds and that did not change are not heard again. When the run is asked to stop,
    or is killed, what was heard stays.
    """
    model = identity(weights)
    old = song_index.read(index) if index.exists() else Vectors(model, ())
    song_index.check_model(index, old, model)
    wanted = [path.absolute() for path in files]
    held = {song.path: song for song in song_index.unchanged(old.songs)}
    kept = {path: held[path] for path in wanted if path in held}
    todo = [path for path in wanted if path not in kept]
    num_dropped = len(old.songs) - len(kept)
    log.info("%s: %d songs kept, %d dropped, %d to hear", index, len(kept), num_dropped, len(todo))
    failures: list[str] = []
    songs = dict(kept)

    def save() -> None:
        if len(songs) > len(kept) or num_dropped or not index.exists():
            whole = tuple(songs[path] for path in wanted if path in songs)
            song_index.write(index, Vectors(model, whole))

    steps = _hear(weights, todo, songs, failures)
    with stop_requests() as stop_requested, contextlib.closing(steps):
        _save_now_and_then(steps, save, stop_requested)
    if len(songs) + len(failures) < len(wanted):
        raise InterruptedRunError(
            f"stopped with {len(songs)} of {len(wanted)} songs in {index}; the same command goes on"
        )
    return failures


def _hear(
    weights: Weights, todo: Sequence[Path], songs: dict[Path, Song], failures: list[str]
) -> Generator[None]:
    """Adds each file to the songs or the failures; yields after each."""
    fingerprints = {path: fingerprint(path) for path in todo}
    with log.progress(None, total=len(todo), unit="song", title="embed") as bar:
        for heard in infer_files(weights, todo, embed=True):
            bar.update()
            if heard.error:
                failures.append(escape_controls(heard.error))
                log.info("failed: %s", failures[-1])
            else:
                # A file that only just came is heard again next time.
                before = fingerprints[heard.path] or (0, 0)
                songs[heard.path] = Song(heard.path, before, song_vector(heard))
            yield


def _save_now_and_then(
    steps: Iterator[None], save: Callable[[], None], stop_requested: Callable[[], bool]
) -> None:
    """Takes the steps until the last, or until asked to stop; saves in between and at the end."""
    saved = time.monotonic()
    for _ in steps:
        if stop_requested():
            break
        if time.monotonic() - saved > SAVE_EVERY_SECONDS:
            save()
            saved = time.monotonic()
    save()


def song_vector(heard: FileOutputs) -> np.ndarray:
    """Returns float32 (features,): the mean of a song's embeddings over its windows."""
    assert heard.embeddings is not None
    return heard.embeddings.mean(axis=0)


def identity(weights: Weights) -> str:
    """Returns a digest of all that a song's vector depends on but the song: weights and input."""
    about = {k: v for k, v in specs.to_json(weights.spec).items() if k not in WITHOUT_EFFECT}
    about["dtype"] = weights.spec.config["dtype"]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    tensors = traverse_util.flatten_dict(weights.variables, sep="/")
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name])
        digest.update(f"{name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()

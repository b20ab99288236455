"""The windows, of many songs, to which each channel of a convolution responds most."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.data.sampling import window, window_starts
from deepgenre.data.store import Records, Row
from deepgenre.inference.read_ahead import read_ahead
from deepgenre.inference.windows import Reader
from deepgenre.synthesis.differentiable import maps_of
from deepgenre.weights.spec import Spec, Weights

BATCH_WINDOWS = 16


@dataclasses.dataclass(frozen=True)
class Item:
    """A window of a song."""

    name: str  # of the song
    path: Path | None  # of its audio; None for clips of a store
    start_seconds: float
    levels: np.ndarray  # (window_frames, stored_bands)


@dataclasses.dataclass
class Top:
    """The strongest responses of each channel, at most one a song, and their statistics."""

    num_kept: int
    count: int = 0  # of windows
    sums: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1))  # (channels,)
    squares: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1))
    best: list[list[tuple[float, Item]]] = dataclasses.field(default_factory=list)  # by channel
    # float64 (stored_bands,): of the windows' mean levels
    level_sum: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1))

    def add(self, responses: np.ndarray, items: Sequence[Item]) -> None:
        """Adds windows, with the largest response of each channel, float32 (windows, channels)."""
        if not self.best:
            self.best = [[] for _ in range(responses.shape[1])]
        self.count += len(items)
        self.sums = self.sums + responses.sum(axis=0, dtype=np.float64)
        self.squares = self.squares + np.square(responses, dtype=np.float64).sum(axis=0)
        mean_levels = np.stack([item.levels.mean(axis=0, dtype=np.float64) for item in items])
        self.level_sum = self.level_sum + mean_levels.sum(axis=0)
        for item, row in zip(items, responses, strict=True):
            for channel, response in enumerate(row.tolist()):
                self._offer(self.best[channel], response, item)

    def _offer(self, best: list[tuple[float, Item]], response: float, item: Item) -> None:
        if len(best) == self.num_kept and response <= best[-1][0]:
            return
        same = next((i for i, (_, other) in enumerate(best) if other.name == item.name), None)
        if same is not None:
            if response <= best[same][0]:
                return
            del best[same]
        best.append((response, item))
        best.sort(key=lambda pair: -pair[0])
        del best[self.num_kept :]

    def mean(self) -> np.ndarray:
        """Returns the mean over windows of each channel's largest response, float64 (channels,)."""
        return self.sums / max(self.count, 1)

    def deviation(self) -> np.ndarray:
        """Returns their standard deviation, float64 (channels,)."""
        variance = self.squares / max(self.count, 1) - np.square(self.mean())
        return np.sqrt(np.maximum(variance, 0))


def strongest(weights: Weights, layer: str, items: Iterable[Item], num_kept: int) -> Top:
    """Returns the windows to which the channels of a layer respond most."""
    respond = jax.jit(of_layer(weights.spec, layer))
    variables, top, batch = jax.device_put(weights.variables), Top(num_kept), list[Item]()

    def flush() -> None:
        levels = np.stack([item.levels for item in batch])
        padded = np.pad(levels, ((0, BATCH_WINDOWS - len(batch)), (0, 0), (0, 0)))
        top.add(np.asarray(respond(variables, padded))[: len(batch)], batch)
        batch.clear()

    for item in items:
        batch.append(item)
        if len(batch) == BATCH_WINDOWS:
            flush()
    if batch:
        flush()
    return top


def of_layer(spec: Spec, layer: str) -> Callable[[Any, jax.Array], jax.Array]:
    """Returns the function of variables and levels to the responses, (windows, channels).

    A response is the largest output of the convolution over time, and over bands. A network that
    cuts its input into shorter windows has several maps per window.
    """
    maps = maps_of(spec)

    def respond(variables: Any, levels: jax.Array) -> jax.Array:
        map_ = maps(variables, levels).maps[layer]
        return map_.reshape(levels.shape[0], -1, map_.shape[-1]).max(axis=1)

    return respond


def compile_span(spec: Spec, layer: str) -> Callable[[Any, np.ndarray, int], np.ndarray]:
    """Returns the function of variables, levels of a window and channel to what it responds to.

    That is where the gradient of the response is not 0, see `span_of`.
    """
    respond = of_layer(spec, layer)

    @jax.jit
    def gradient(variables: Any, levels: jax.Array, channel: jax.Array | int) -> jax.Array:
        def response(levels: jax.Array) -> jax.Array:
            return respond(variables, levels[None])[0, channel]

        return jax.grad(response)(levels.astype(jnp.float32))

    def span(variables: Any, levels: np.ndarray, channel: int) -> np.ndarray:
        return span_of(np.asarray(gradient(variables, levels, channel)))

    return span


def span_of(gradient: np.ndarray) -> np.ndarray:
    """Returns where a gradient (frames, bands) is not 0, int64 (4,).

    The first frame and the one after the last, and likewise of bands; all of them where it is 0
    everywhere.
    """
    used = gradient != 0
    used = used if used.any() else np.ones_like(used)
    frames, bands = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    return np.array([frames[0], frames[-1] + 1, bands[0], bands[-1] + 1])


def windows_of_files(
    files: Sequence[Path],
    spec: Spec,
    read: Reader,
    failed: Callable[[str, Path], None],
    succeeded: Callable[[float], None],
) -> Iterator[Item]:
    """Yields the windows of audio files; `failed` gets the message of each that fails."""
    seconds = 0.0
    with read_ahead(files, [spec], read) as pieces:
        for path, piece in pieces:
            if isinstance(piece, str):
                failed(piece, path) if piece else succeeded(seconds)
                seconds = 0.0
                continue
            _, found = piece
            seconds += found.piece_seconds
            for start, levels in zip(found.starts, found.levels, strict=True):
                yield Item(path.name, path, float(start), levels)


def windows_of_store(store: Path, rows: Sequence[Row], spec: Spec) -> Iterator[Item]:
    """Yields the windows of clips in a store."""
    records = Records(store, rows, spec.frontend.stored_dtype)
    for index, row in enumerate(rows):
        levels = records[index]
        for start in window_starts(len(levels), spec.window_frames, spec.hop_frames):
            cut = window(levels, start, spec.window_frames)
            yield Item(row.key, None, start / spec.frontend.frames_per_second, cut)

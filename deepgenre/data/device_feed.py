"""Training batches on the device: cut from clips held there where they fit, else sent there."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from deepgenre import devices
from deepgenre.data.pipeline import Element, Read, ReadWindows
from deepgenre.data.store import Records

Feed = Callable[[Element], dict[str, Any]]  # what was read to a training step's batch
MAX_OFFSET = 1 << 31  # frames that an int32 can tell apart


def make_feed(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """Returns how a batch is read on the host, and how the step's batch is made of that.

    Either way the step sees the same numbers.
    """
    num_frames = int(_laid_frames(records, window_frames).sum())
    fits = num_frames < MAX_OFFSET and num_frames * records[0][:1].nbytes <= available_bytes()
    return (held if fits else streamed)(records, window_frames)


def available_bytes() -> int:
    """Returns how much of the device's memory training clips may take.

    A quarter of what is free. None on a CPU, whose memory has the pages of the store anyway, nor
    with several devices, each of which would hold every clip.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats is None or jax.device_count() > 1:
        return 0
    return (stats["bytes_limit"] - stats["bytes_in_use"]) // 4


def streamed(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """Batches are read from the store, and laid over this process's devices if several."""
    if jax.device_count() == 1:
        return ReadWindows(records, window_frames), dict
    shard = functools.partial(devices.shard, num_local_devices=jax.local_device_count())
    return ReadWindows(records, window_frames), shard


def held(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """All clips are put on the device, one after another; a batch is where its windows begin."""
    laid_frames = _laid_frames(records, window_frames)
    first = np.cumsum(laid_frames) - laid_frames
    whole = np.zeros((laid_frames.sum(), *records[0].shape[1:]), records[0].dtype)
    for clip, frame in enumerate(first):
        whole[frame : frame + records.frames[clip]] = records[clip]
    levels = jax.device_put(whole)

    def feed(batch: Element) -> dict[str, Any]:
        return {"levels": _cut(levels, batch["places"], window_frames), "labels": batch["labels"]}

    return ReadOffsets(first), feed


@dataclasses.dataclass(frozen=True, eq=False)
class ReadOffsets:
    """Reads nothing: {'places': int32 (clips,)}, where windows begin in clips laid end to end."""

    first: np.ndarray  # int64 (clips,): where each clip begins

    def __call__(self, clips: np.ndarray, starts: np.ndarray) -> Element:
        """Returns the places of windows that begin at `starts` of `clips`."""
        return {"places": (self.first[clips] + starts).astype(np.int32)}


def _laid_frames(records: Records, window_frames: int) -> np.ndarray:
    """Returns the frames that each clip takes: a window at least, filled up with the floor."""
    return np.maximum(records.frames, window_frames)


@functools.partial(jax.jit, static_argnums=2)
def _cut(levels: jax.Array, places: jax.Array, window_frames: int) -> jax.Array:
    """Returns (windows, window_frames, bands) from `places` of (frames, bands) on."""
    cut = functools.partial(jax.lax.dynamic_slice_in_dim, levels, slice_size=window_frames)
    return jax.vmap(cut)(places)

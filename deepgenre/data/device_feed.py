"""Training batches on the device: windows of clips that are resident there, or streamed to it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from deepgenre import devices
from deepgenre.data.pipeline import Element, Read, ReadWindows
from deepgenre.data.store import Records

Feed = Callable[[Element], dict[str, Any]]  # host element -> batch of a training step
MAX_OFFSET = 1 << 31  # frame offsets are int32


def choose_feed(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """Returns a function that reads a batch on the host, and one that moves it to the device.

    Clips are resident on the device if they fit, else batches are streamed. The resulting batches
    are identical.
    """
    num_frames = int(_padded_frames(records, window_frames).sum())
    fits = num_frames < MAX_OFFSET and num_frames * records[0][:1].nbytes <= available_bytes()
    return (resident_feed if fits else streamed_feed)(records, window_frames)


def available_bytes() -> int:
    """Returns how much device memory resident clips may use: a quarter of the free memory.

    0 on a CPU, where the page cache already holds the store, and with several devices, each of
    which needs a copy of all clips.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats is None or jax.device_count() > 1:
        return 0
    return (stats["bytes_limit"] - stats["bytes_in_use"]) // 4


def streamed_feed(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """Returns functions that read windows from the store, and shard them over local devices."""
    return ReadWindows(records, window_frames), host_feed()


def host_feed() -> Feed:
    """Returns a function that shards arrays of the host over local devices, if there are several.

    One device takes them as they are.
    """
    if jax.device_count() == 1:
        return dict
    return functools.partial(devices.shard, num_local_devices=jax.local_device_count())


def resident_feed(records: Records, window_frames: int) -> tuple[Read, Feed]:
    """Copies all clips to the device, concatenated; the host only reads offsets of windows."""
    padded_frames = _padded_frames(records, window_frames)
    clip_offsets = np.cumsum(padded_frames) - padded_frames
    shape = (padded_frames.sum(), *records[0].shape[1:])
    concatenated = np.zeros(shape, records[0].dtype)
    for clip, offset in enumerate(clip_offsets):
        concatenated[offset : offset + records.frames[clip]] = records[clip]
    levels = jax.device_put(concatenated)

    def feed(batch: Element) -> dict[str, Any]:
        windows = _cut_windows(levels, batch["offsets"], window_frames)
        return {"levels": windows, "labels": batch["labels"]}

    return ReadOffsets(clip_offsets), feed


@dataclasses.dataclass(frozen=True, eq=False)
class ReadOffsets:
    """Computes {'offsets': int32 (clips,)}, the first frames of windows in concatenated clips."""

    clip_offsets: np.ndarray  # int64 (clips,): first frame of each clip

    def __call__(self, clips: np.ndarray, starts: np.ndarray) -> Element:
        """Returns the offsets of the windows that begin at frames `starts` of `clips`."""
        return {"offsets": (self.clip_offsets[clips] + starts).astype(np.int32)}


def _padded_frames(records: Records, window_frames: int) -> np.ndarray:
    """Returns the frames per clip, int64 (clips,), at least one window: short clips are padded."""
    return np.maximum(records.frames, window_frames)


@functools.partial(jax.jit, static_argnums=2)
def _cut_windows(levels: jax.Array, offsets: jax.Array, window_frames: int) -> jax.Array:
    """Returns (windows, window_frames, bands) from `offsets` of levels (frames, bands)."""
    cut = functools.partial(jax.lax.dynamic_slice_in_dim, levels, slice_size=window_frames)
    return jax.vmap(cut)(offsets)

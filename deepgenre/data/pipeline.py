"""Grain pipelines from the store to batches of stored levels; numpy only, no JAX.

A training pipeline is a pure function of the index of a batch: `batches[step:]` resumes exactly
where a run stopped, for any number of workers and processes.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np
from absl import flags

from deepgenre.data.classes import encode
from deepgenre.data.sampling import Order, window, window_starts
from deepgenre.data.store import Records, Row
from deepgenre.interrupt import end_with_parent

Element = dict[str, np.ndarray]
Read = Callable[[np.ndarray, np.ndarray], Element]  # (clip indices, first frames) -> element
PAD_CLIP = -1
ENDLESS = 1 << 48  # batches
READ_THREADS = min(8, os.cpu_count() or 1)  # one batch each; twice as many batches are buffered


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Random access to one process's share of each batch of an order.

    Of n processes, each takes every n-th clip of the global batch, which therefore does not depend
    on n.
    """

    order: Order
    labels: np.ndarray  # int32 (clips,) or uint8 (clips, classes)
    read: Read
    process_index: int
    process_count: int

    def __len__(self) -> int:
        """Returns a number of batches larger than any run takes."""
        return ENDLESS

    def __getitem__(self, index: int) -> Element:
        """Returns the element from `read`, with 'labels' added."""
        share = slice(self.process_index, None, self.process_count)
        clips, starts = (drawn[share] for drawn in self.order.batch(index))
        return {**self.read(clips, starts), "labels": self.labels[clips]}


@dataclasses.dataclass(frozen=True)
class ReadWindows:
    """Reads windows from the store: {'levels': (clips, num_frames, bands)}."""

    records: Records
    num_frames: int

    def __call__(self, clips: np.ndarray, starts: np.ndarray) -> Element:
        """Returns the windows that begin at frames `starts` of `clips`."""
        pairs = zip(clips, starts, strict=True)
        windows = [window(self.records[clip], start, self.num_frames) for clip, start in pairs]
        return {"levels": np.stack(windows)}


def encode_labels(rows: Sequence[Row], classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """Returns int32 (clips,) class indices, or uint8 (clips, classes) multi-hot rows."""
    return np.stack([encode(row.labels, classes, multi_label) for row in rows])


def training_batches(
    order: Order,
    labels: np.ndarray,
    read: Read,
    *,
    first_batch: int = 0,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Returns an endless iterator of this process's share of batches; close it after use.

    A batch is an element from `read` with 'labels'. Threads read ahead, in each of `num_workers`
    processes or, with 0, in this one.
    """
    batches = grain.MapDataset.source(
        TrainingBatches(order, labels, read, process_index, process_count)
    )
    ahead = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=2 * READ_THREADS)
    stream = batches[first_batch:].to_iter_dataset(ahead)
    if num_workers:
        if not flags.FLAGS.is_parsed():  # called from Python; Grain's processes read its flags
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=num_workers)
        stream = stream.mp_prefetch(options, worker_init_fn=_start_worker)
    return iter(stream)


def _start_worker(index: int, count: int) -> None:
    del index, count
    end_with_parent()


def scoring_batches(
    records: Records,
    rows: Sequence[Row],
    *,
    window_frames: int,
    hop_frames: int,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (levels (batch_size, window_frames, bands), clips int32 (batch_size,)).

    Every window of every row, in order; `clips` contains the row index of each window. The last
    batch is padded with zeros and clip PAD_CLIP, so that only one shape is compiled.
    """
    windows = [
        (clip, start)
        for clip, row in enumerate(rows)
        for start in window_starts(row.measured.frames, window_frames, hop_frames)
    ]
    source = grain.MapDataset.source(windows).map(
        lambda clip_start: {
            "levels": window(records[clip_start[0]], clip_start[1], window_frames),
            "clip": np.int32(clip_start[0]),
        }
    )
    for batch in source.batch(batch_size).to_iter_dataset():
        missing = batch_size - batch["clip"].shape[0]
        yield (
            np.pad(batch["levels"], ((0, missing), (0, 0), (0, 0))),
            np.pad(batch["clip"], (0, missing), constant_values=PAD_CLIP),
        )

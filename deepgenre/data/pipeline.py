"""Grain pipelines from the store to batches of levels as stored; numpy only, no JAX.

A training pipeline is a pure function of the batch's index: `batches[step:]` goes on exactly
where a run stopped, for any number of workers and processes.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from deepgenre.data.classes import encode
from deepgenre.data.sampling import Order, window, window_starts
from deepgenre.data.store import Records, Row
from deepgenre.interrupt import end_with_parent

Element = dict[str, np.ndarray]
PAD_CLIP = -1
ENDLESS = 1 << 48  # batches
READ_THREADS = min(8, os.cpu_count() or 1)  # each a batch; memory holds twice as many, not hundreds


Read = Callable[[np.ndarray, np.ndarray], Element]  # of clips and of frames where windows begin


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Random access to one process's share of each batch of an order.

    Processes take every n-th clip after all are drawn, so the global batch does not depend on how
    many they are.
    """

    order: Order
    labels: np.ndarray  # int32 (clips,) or uint8 (clips, classes)
    read: Read
    process_index: int
    process_count: int

    def __len__(self) -> int:
        """Returns a number of batches that no run comes to."""
        return ENDLESS

    def __getitem__(self, index: int) -> Element:
        """Returns what `read` gives, and 'labels'."""
        share = slice(self.process_index, None, self.process_count)
        clips, starts = (drawn[share] for drawn in self.order.batch(index))
        return {**self.read(clips, starts), "labels": self.labels[clips]}


@dataclasses.dataclass(frozen=True)
class ReadWindows:
    """Reads from the store: {'levels': (clips, num_frames, bands)}."""

    records: Records
    num_frames: int

    def __call__(self, clips: np.ndarray, starts: np.ndarray) -> Element:
        """Returns the windows that begin at `starts` of `clips`."""
        places = zip(clips, starts, strict=True)
        cut = [window(self.records[clip], start, self.num_frames) for clip, start in places]
        return {"levels": np.stack(cut)}


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

    A batch is what `read` makes of clips and their first frames, and 'labels'. It is read ahead by
    threads, in each of `num_workers` processes or, with 0, in this one.
    """
    batches = grain.MapDataset.source(
        TrainingBatches(order, labels, read, process_index, process_count)
    )
    ahead = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=2 * READ_THREADS)
    stream = batches[first_batch:].to_iter_dataset(ahead)
    if num_workers:
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

    Every window of every row, in order; `clips` says whose window it is. The last batch is filled
    up with zeros, whose clip is PAD_CLIP, so that one shape is compiled.
    """
    places = [
        (clip, start)
        for clip, row in enumerate(rows)
        for start in window_starts(row.measured.frames, window_frames, hop_frames)
    ]
    source = grain.MapDataset.source(places).map(
        lambda place: {
            "levels": window(records[place[0]], place[1], window_frames),
            "clip": np.int32(place[0]),
        }
    )
    for batch in source.batch(batch_size).to_iter_dataset():
        missing = batch_size - batch["clip"].shape[0]
        yield (
            np.pad(batch["levels"], ((0, missing), (0, 0), (0, 0))),
            np.pad(batch["clip"], (0, missing), constant_values=PAD_CLIP),
        )

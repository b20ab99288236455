"""Grain pipelines from the store to batches of levels as stored; numpy only, no JAX.

A training pipeline is a pure function of the batch's index: `batches[step:]` goes on exactly
where a run stopped, for any number of workers and processes.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from deepgenre.classes import encode
from deepgenre.interrupt import end_with_parent
from deepgenre.store import Records, Row
from deepgenre.windowing import window, window_starts

Element = dict[str, np.ndarray]
PAD_CLIP = -1


@dataclasses.dataclass(frozen=True)
class LabelledRecords:
    """Random access to {'levels': (frames, bands), 'labels': encoded} of a split's rows."""

    records: Records
    labels: np.ndarray  # int32 (clips,) or uint8 (clips, classes)

    def __len__(self) -> int:
        """Returns the number of clips."""
        return len(self.records)

    def __getitem__(self, index: int) -> Element:
        """Returns one clip, whole."""
        return {"levels": self.records[index], "labels": self.labels[index]}


def encode_labels(rows: Sequence[Row], classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """Returns int32 (clips,) class indices, or uint8 (clips, classes) multi-hot rows."""
    return np.stack([encode(row.labels, classes, multi_label) for row in rows])


@dataclasses.dataclass(frozen=True)
class RandomWindow(grain.transforms.RandomMap):
    """Cuts `num_frames` at a random place; a shorter clip is padded with level 0, the floor."""

    num_frames: int

    def random_map(self, element: Element, rng: np.random.Generator) -> Element:
        """Returns the element with levels of exactly `num_frames`."""
        spare = element["levels"].shape[0] - self.num_frames
        start = int(rng.integers(0, spare + 1)) if spare > 0 else 0
        return {**element, "levels": window(element["levels"], start, self.num_frames)}


def training_batches(
    records: Records,
    labels: np.ndarray,
    *,
    num_frames: int,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Returns an endless iterator of this process's share of shuffled batches; close it after use.

    Batches are {'levels': (batch_size / process_count, num_frames, bands), 'labels'}.
    Every epoch is a new permutation of the clips. Processes take every n-th element after crops
    are drawn, so the global batch does not depend on how many they are.
    """
    clips = grain.MapDataset.source(LabelledRecords(records, labels))
    elements = clips.seed(seed).shuffle().repeat().random_map(RandomWindow(num_frames))
    share = elements[process_index::process_count]
    batches = share.batch(batch_size // process_count, drop_remainder=True)
    stream = batches[first_batch:].to_iter_dataset()
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

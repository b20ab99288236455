"""The table of datasets by name: the reader and the splits of each."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import folder, gtzan, mtat, spectrograms, synthetic
from deepgenre.data.splits import SplitFunction, as_given, group_random
from deepgenre.errors import UserError, look_up


@dataclasses.dataclass(frozen=True)
class DatasetKind:
    """Reader, splits by name, and properties of a dataset."""

    read: Callable[..., Dataset]  # (data_dir, *, multi_label) -> Dataset
    splits: Mapping[str, SplitFunction]
    multi_label: bool | None = False  # None: set by the config
    clip_seconds: float = 0.0  # length of every clip; 0: lengths differ
    # (data_dir, *, executor, progress) -> number of files: generates a dataset, no download needed
    compose: Callable[..., int] | None = None
    # (dataset, folder) -> dataset, with groups that a table beside an .npz of spectrograms states
    regroup: Callable[[Dataset, Path], Dataset] | None = None


OWN_SPLITS: Mapping[str, SplitFunction] = {"group_random": group_random, "as_given": as_given}

DATASETS: Mapping[str, DatasetKind] = {
    "gtzan": DatasetKind(gtzan.read, gtzan.SPLITS, clip_seconds=30.0, regroup=gtzan.with_artists),
    "mtat": DatasetKind(mtat.read, mtat.SPLITS, multi_label=True, clip_seconds=29.12),
    "folder": DatasetKind(folder.read, OWN_SPLITS, multi_label=None),
    "synthetic": DatasetKind(synthetic.read, OWN_SPLITS, compose=synthetic.compose_corpus),
}


def dataset_kind(name: str) -> DatasetKind:
    """Returns the row of a dataset; raises UserError, with the closest name, if it is unknown."""
    return look_up(DATASETS, name, "config.dataset")


def read_dataset(name: str, data_dir: Path, *, multi_label: bool) -> Dataset:
    """Returns the clips in `data_dir`: the dataset's own layout, or an .npz of spectrograms."""
    kind = dataset_kind(name)
    if data_dir.suffix.lower() == ".npz":
        if not data_dir.is_file():
            raise UserError(f"{data_dir}: no such file; give an .npz of spectrograms as --data_dir")
        dataset = spectrograms.read_npz(data_dir)
        return kind.regroup(dataset, data_dir.parent) if kind.regroup else dataset
    if kind.multi_label is not None:
        multi_label = kind.multi_label
    return kind.read(data_dir, multi_label=multi_label)

"""The table of datasets by name: the reader and the splits of each."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import (
    ballroom,
    emotify,
    fma,
    folder,
    gtzan,
    homburg,
    ismir04,
    mirdata_reader,
    mtat,
    mtg_jamendo,
    spectrograms,
    synthetic,
)
from deepgenre.data.datasets.source import Source
from deepgenre.data.settings import DataSettings
from deepgenre.data.splits import SplitFunction, as_given, given_or_random, group_random
from deepgenre.errors import UserError, look_up


@dataclasses.dataclass(frozen=True)
class DatasetKind:
    """Reader, splits by name, and properties of a dataset."""

    read: Callable[..., Dataset]  # (data_dir, *, multi_label) -> Dataset
    splits: Mapping[str, SplitFunction]
    multi_label: bool | None = False  # None: set by the config
    clip_seconds: float = 0.0  # length of every clip; 0: lengths differ
    # data_dir -> labels of each clip by key, also where the audio is missing
    annotations: Callable[[Path], Mapping[str, tuple[str, ...]]] | None = None
    settings: tuple[str, ...] = ()  # config fields that `read` takes as well
    subsets: tuple[str, ...] = ()  # values of config.subset beside ''; (): not checked here
    source: Source | None = None
    # (data_dir, *, executor, progress) -> number of files: generates a dataset, no download needed
    compose: Callable[..., int] | None = None
    # (dataset, folder) -> dataset, with groups that a table beside an .npz of spectrograms states
    regroup: Callable[[Dataset, Path], Dataset] | None = None


OWN_SPLITS: Mapping[str, SplitFunction] = {
    "given_or_random": given_or_random,
    "group_random": group_random,
    "as_given": as_given,
}

DATASETS: Mapping[str, DatasetKind] = {
    "gtzan": DatasetKind(
        gtzan.read,
        gtzan.SPLITS,
        clip_seconds=30.0,
        regroup=gtzan.with_artists,
        source=gtzan.SOURCE,
    ),
    "mtat": DatasetKind(
        mtat.read,
        mtat.SPLITS,
        multi_label=True,
        clip_seconds=29.12,
        annotations=mtat.annotations,
        source=mtat.SOURCE,
    ),
    "mtg_jamendo": DatasetKind(
        mtg_jamendo.read,
        mtg_jamendo.SPLITS,
        multi_label=True,
        settings=("subset", "split"),
        subsets=tuple(mtg_jamendo.SUBSETS),
        source=mtg_jamendo.SOURCE,
    ),
    "fma": DatasetKind(
        fma.read,
        fma.SPLITS,
        multi_label=None,
        settings=("subset",),
        subsets=tuple(fma.SUBSETS),
        source=fma.SOURCE,
    ),
    "ballroom": DatasetKind(ballroom.read, OWN_SPLITS, source=ballroom.SOURCE),
    "homburg": DatasetKind(homburg.read, OWN_SPLITS, clip_seconds=10.0, source=homburg.SOURCE),
    "ismir04": DatasetKind(ismir04.read, ismir04.SPLITS, source=ismir04.SOURCE),
    "emotify": DatasetKind(
        emotify.read, OWN_SPLITS, multi_label=True, clip_seconds=60.0, source=emotify.SOURCE
    ),
    "mirdata": DatasetKind(
        mirdata_reader.read,
        OWN_SPLITS,
        multi_label=None,
        settings=("subset",),
        source=mirdata_reader.SOURCE,
    ),
    "folder": DatasetKind(folder.read, OWN_SPLITS, multi_label=None, settings=("label_separator",)),
    "synthetic": DatasetKind(synthetic.read, OWN_SPLITS, compose=synthetic.compose_corpus),
}


def dataset_kind(name: str) -> DatasetKind:
    """Returns the row of a dataset; raises UserError, with the closest name, if it is unknown."""
    return look_up(DATASETS, name, "config.dataset")


def read_labels(config: DataSettings, data_dir: Path) -> Mapping[str, tuple[str, ...]]:
    """Returns the labels of each clip in `data_dir` by key, where possible without the audio."""
    kind = dataset_kind(config.dataset)
    if kind.annotations and data_dir.is_dir():
        return kind.annotations(data_dir)
    return {clip.key: clip.labels for clip in read_dataset(config, data_dir).clips}


def read_dataset(config: DataSettings, data_dir: Path) -> Dataset:
    """Returns the clips in `data_dir`: the dataset's own layout, or an .npz of spectrograms."""
    kind = dataset_kind(config.dataset)
    multi_label = config.multi_label if kind.multi_label is None else kind.multi_label
    if data_dir.suffix.lower() == ".npz":
        if not data_dir.is_file():
            raise UserError(f"{data_dir}: no such file; give an .npz of spectrograms as --data_dir")
        num_bands = config.frontend["n_mels"]
        dataset = spectrograms.read_npz(data_dir, multi_label=multi_label, num_bands=num_bands)
        dataset = kind.regroup(dataset, data_dir.parent) if kind.regroup else dataset
    else:
        settings = {name: getattr(config, name) for name in kind.settings}
        dataset = kind.read(data_dir, multi_label=multi_label, **settings)
    if not dataset.precomputed:
        return dataset
    stated = spectrograms.stated_in_sidecar(data_dir if data_dir.is_dir() else data_dir.parent)
    return dataclasses.replace(dataset, frontend={**stated, **dataset.frontend})

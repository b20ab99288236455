"""Config fields that the data package reads.

Data functions accept any object with these fields: the config of a run or of a checkpoint. The
protocol keeps this package independent of `deepgenre.config`, which imports it.
"""

from typing import Any, Protocol


class DataSettings(Protocol):
    """Settings to read, prepare and split a dataset; `deepgenre.config` documents each field."""

    dataset: str
    split: str
    seed: int
    folds: int
    fold: int
    multi_label: bool
    label_separator: str
    subset: str
    spectrogram_scale: str
    top_tags: int
    keep_untagged: bool
    frontend: Any
    store_dir: str
    prepare_workers: int

"""The fields of a config that select, split and prepare data.

Data functions take any object that has them: `deepgenre.config`, which stands above this package,
or a checkpoint's.
"""

from typing import Any, Protocol


class DataSettings(Protocol):
    """See `deepgenre.config` for what each field means."""

    dataset: str
    split: str
    seed: int
    multi_label: bool
    top_tags: int
    keep_untagged: bool
    frontend: Any
    store_dir: str
    prepare_workers: int

"""Any dataset of the table by its name, with settings that fit most of them.

    python -m deepgenre.main --config=configs/collection.py:fma,small --data_dir=FOLDER
    python -m deepgenre.main --config=configs/collection.py:ballroom --data_dir=FOLDER
    python -m deepgenre.main --config=configs/collection.py:mirdata,groove_midi --data_dir=FOLDER

The argument is `DATASET` or `DATASET,SUBSET`; docs/datasets.md lists them. The split is the first
of the dataset's own; `--config.folds=10` cross-validates where a dataset has none.
"""

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.data.datasets import dataset_kind


def get_config(name: str = "fma,small") -> Config:
    """Returns the config of 'DATASET' or 'DATASET,SUBSET'."""
    config = defaults.get_config()
    config.dataset, _, config.subset = name.partition(",")
    kind = dataset_kind(config.dataset)
    config.split = next(iter(kind.splits))
    config.top_tags = 0
    config.model = "short_chunk"
    config.window_seconds = 10.0
    config.window_hop_seconds = 5.0
    config.num_epochs = 60
    config.schedule = "cosine"
    config.weight_decay = 0.02
    return config

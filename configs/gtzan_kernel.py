"""Kernel ridge regression on fourteen groups of features, for GTZAN: the shipped `gtzan`.

    python -m deepgenre.main --config=configs/gtzan_kernel.py --data_dir=FILE.npz

Filters are learnt from the training clips without labels; one solve gives the rest. The run also
reports the accuracy out of fold, artist-disjoint where a table of artists is beside the data (see
`data/datasets/gtzan.py`). `--config.network.feature_set=small` is the variant with twelve groups,
`--config.network.rank=0` the exact one, of more than twice the size. The shipped weights are
trained on the training and validation parts together: `--config.split=fault_filtered_all`. Scores
and seeds: the model card, and docs/results.md.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "gtzan"
    config.split = "fault_filtered"
    config.frontend.hop_length = 1712
    config.model = "kernel_ridge"
    config.network.rank = 128
    config.pretrain_epochs = 12
    config.num_epochs = 1
    return config

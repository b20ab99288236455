"""Logistic regression on k-means features for GTZAN's 442 fault-filtered training clips.

    python -m deepgenre.main --config=configs/gtzan_kmeans.py --data_dir=FILE.npz

Filters are learnt from the training clips without labels; then only the head is trained, to the
minimum of a convex loss: whole clips without augmentation, plain weight decay. Together with the
networks of configs/gtzan_best.py it formed the ensemble shipped as `gtzan` before. Scores and
seeds: docs/results.md.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "gtzan"
    config.split = "fault_filtered"
    config.frontend.hop_length = 1712
    config.model = "spherical_kmeans"
    config.pretrain_epochs = 12
    config.num_epochs = 30
    config.eval_every_epochs = 10
    config.batch_size = 32
    config.optimizer = "sgd"
    config.learning_rate = 1.0
    config.schedule = "cosine"
    config.weight_decay = 3e-4
    return config

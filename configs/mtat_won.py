"""MagnaTagATune as Won et al. (2020) trained their taggers: Adam, then SGD three times slower.

    R='python -m deepgenre.main --data_dir=FOLDER_WITH_ANNOTATIONS_AND_MP3 --workdir=runs'
    $R/won-1 --config=configs/mtat_won.py
    $R/won-2 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-1
    $R/won-3 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-2 \
        --config.learning_rate=1e-4
    $R/won-4 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-3 \
        --config.learning_rate=1e-5 --config.num_epochs=80

(Each $R/... above is one word: `--workdir=runs/won-1`.) Each run starts from the best weights of
the one before: 80 epochs of Adam, then 20, 20 and 80 of SGD with Nesterov momentum. On the split of
the literature, folders 0-b/c/d-f, they report ROC-AUC 0.9129 and PR-AUC 0.4614 for this network.
Any other: `--config.model=NAME`, with the window that the table in deepgenre/models gives.

Different from the original: mel filters are Slaney's, not HTK's; levels are re the clip's maximum;
weight decay is decoupled; an epoch hears one random window a clip, a test clip eight evenly spread.
"""

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.errors import look_up

# Optimiser, learning rate and epochs.
STAGES = {"adam": ("adam", 1e-4, 80), "sgd": ("sgd", 1e-3, 20)}


def get_config(stage: str = "adam") -> Config:
    """Returns the config of a stage: 'adam', or 'sgd', of which there are three in a row."""
    config = defaults.get_config()
    config.dataset = "mtat"
    config.split = "folders"
    config.frontend.sample_rate_hz = 16_000
    config.frontend.n_fft = 512
    config.frontend.hop_length = 256
    config.model = "short_chunk_res"
    config.window_seconds = 3.69
    config.batch_size = 16
    config.optimizer, config.learning_rate, config.num_epochs = look_up(STAGES, stage, "stage")
    config.schedule = "constant"
    config.weight_decay = 1e-4
    config.select_by = "loss"
    return config

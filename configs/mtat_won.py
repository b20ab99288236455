"""MagnaTagATune with the recipe of Won et al. (2020): Adam, then SGD at three learning rates.

    R='python -m deepgenre.main --data_dir=FOLDER_WITH_ANNOTATIONS_AND_MP3 --workdir=runs'
    $R/won-1 --config=configs/mtat_won.py
    $R/won-2 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-1
    $R/won-3 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-2 \
        --config.learning_rate=1e-4
    $R/won-4 --config=configs/mtat_won.py:sgd --config.init_from=runs/won-3 \
        --config.learning_rate=1e-5 --config.num_epochs=80

($R/won-1 is the command with `--workdir=runs/won-1`.) Each run starts from the best weights of the
previous one: 80 epochs of Adam, then 20, 20 and 80 of SGD with Nesterov momentum. On the split
of the literature, folders 0-b/c/d-f, they report ROC-AUC 0.9129 and PR-AUC 0.4614 for this network.
For another network use `--config.model=NAME` and the window in the table of deepgenre/models.

Differences from the original: mel filters are Slaney's, not HTK's; levels are relative to the
clip's maximum; weight decay is decoupled; an epoch uses one random window per clip, a test clip
eight evenly spaced ones.
"""

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.errors import look_up

# Optimiser, learning rate and epochs.
STAGES = {"adam": ("adam", 1e-4, 80), "sgd": ("sgd", 1e-3, 20)}


def get_config(stage: str = "adam") -> Config:
    """Returns the config of a stage: 'adam', or 'sgd' (three runs in succession)."""
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

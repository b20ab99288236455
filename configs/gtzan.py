"""The paper's 1D network on GTZAN, with the paper's settings.

    python -m deepgenre.main --config=configs/gtzan.py --data_dir=FOLDER_WITH_GENRES

The paper holds a random third out and reports 58.79 %. Such a split leaks recordings and artists
(see BUILD_NOTES.md); `--config.split=fault_filtered` is the honest one, 443/197/290 clips.
An .npz of spectrograms does as data too: `--data_dir=FILE.npz`.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "gtzan"
    config.split = "paper_random"
    config.model = "paper_1d"
    config.num_epochs = 30
    config.batch_size = 32
    config.learning_rate = 1e-3
    config.schedule = "inverse_time"
    config.decay = 0.01
    return config

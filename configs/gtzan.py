"""The paper's 1D network on GTZAN, with the paper's settings.

    python -m deepgenre.main --config=configs/gtzan.py --data_dir=FOLDER_WITH_GENRES

The paper tests on a random third and reports 58.79 %. Such a split leaks recordings and artists
(see BUILD_NOTES.md); `--config.split=fault_filtered` does not, with 443/197/290 clips.
The data may also be an .npz of spectrograms: `--data_dir=FILE.npz`.
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

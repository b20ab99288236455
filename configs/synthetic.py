"""The main job on an embedded *synthetic* corpus: ten styles composed by the program itself.

    ./launch.sh

Its score says that the whole way from audio files to predictions works, nothing about real music.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "synthetic"
    config.split = "group_random"
    config.model = "paper_1d"
    config.frontend.hop_length = 512  # 10 s clips then have the frames that the network needs
    config.num_epochs = 20
    config.learning_rate = 1e-3
    return config

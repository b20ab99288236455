"""Training on the built-in *synthetic* corpus: ten styles composed by the program itself.

    ./launch.sh

The score shows that the pipeline from audio files to predictions works, not how accurate
predictions on real music are.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "synthetic"
    config.split = "group_random"
    config.model = "paper_1d"
    config.frontend.hop_length = 512  # gives 10 s clips the frames that the network requires
    config.num_epochs = 20
    config.learning_rate = 1e-3
    return config

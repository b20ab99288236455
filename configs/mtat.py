"""The paper's 2D network on MagnaTagATune, with the paper's settings.

    python -m deepgenre.main --config=configs/mtat.py --data_dir=FOLDER_WITH_ANNOTATIONS_AND_MP3

The paper splits the 21,111 clips that have one of the top 50 tags at random, 80/20 and 80/20 again,
and reports 46.96 %, probably the metric `argmax_accuracy`. Nine in ten test clips then share their
song with a training clip; `--config.split=folders` is the split of the literature,
`artist_disjoint` the strictest.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "mtat"
    config.split = "paper_random"
    config.top_tags = 50
    config.model = "paper_2d"
    config.num_epochs = 20
    config.batch_size = 32
    config.learning_rate = 1e-4
    config.schedule = "exponential"
    config.decay_rate = 0.9  # per epoch; the paper does not give the rate
    return config

"""MagnaTagATune with musicnn's recipe (Pons and Serra, 2019): Adam, halved at plateaus.

    python -m deepgenre.main --config=configs/mtat_musicnn.py --data_dir=FOLDER

One random window of 3 s per clip and epoch, 600 epochs; the learning rate is halved after 75 epochs
without a better validation loss. Split: folders 0-b/c/d-f, on which the weights of the musicnn
package reach ROC-AUC 0.9067. `--config.model=musicnn_vgg` is its baseline.

Difference from the original: weight decay is decoupled, not an L2 term of the loss.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "mtat"
    config.split = "folders"
    config.frontend.kind = "musicnn"
    config.frontend.sample_rate_hz = 16_000
    config.frontend.n_fft = 512
    config.frontend.hop_length = 256
    config.frontend.n_mels = 96
    config.model = "musicnn"
    config.window_seconds = 2.992  # 187 frames
    config.num_epochs = 600
    config.batch_size = 32
    config.learning_rate = 1e-3
    config.schedule = "constant"
    config.plateau_epochs = 75
    config.weight_decay = 1e-5
    config.select_by = "loss"
    return config

"""The best network for GTZAN trained only on its 442 fault-filtered training clips.

    python -m deepgenre.main --config=configs/gtzan_best.py --data_dir=FILE.npz

A small short-chunk network on 10 s windows, with strong augmentation and averaged weights. Scores
and seeds: README.md. The hop of 77.6 ms is that of the stored spectrograms used for training, so
the same weights work on audio files too.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = defaults.get_config()
    config.dataset = "gtzan"
    config.split = "fault_filtered"
    config.frontend.hop_length = 1712
    config.model = "short_chunk"
    config.network.width = 0.125
    config.network.dropout = 0.3
    config.window_seconds = 10.0
    config.window_hop_seconds = 5.0
    config.num_epochs = 200
    config.eval_every_epochs = 10
    config.batch_size = 32
    config.learning_rate = 3e-3
    config.schedule = "cosine"
    config.warmup_epochs = 5.0
    config.weight_decay = 0.02
    config.label_smoothing = 0.1
    config.ema_decay = 0.995
    config.augment.time_stretch = 0.25
    config.augment.pitch_shift_bands = 4.0
    config.augment.gain_db = 3.0
    config.augment.equaliser_db = 4.0
    config.augment.num_masks = 2
    config.augment.mixup_alpha = 0.3
    return config

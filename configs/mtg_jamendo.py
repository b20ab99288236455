"""MTG-Jamendo: tags of full songs, from audio or from the published mel spectrograms.

    python -m deepgenre.main --config=configs/mtg_jamendo.py --data_dir=FOLDER
    python -m deepgenre.main --config=configs/mtg_jamendo.py:moodtheme --data_dir=FOLDER \
        --config.split=split_1

The argument is the subset: top50tags (default), genre, instrument, moodtheme or all; `split_0` to
`split_4` are the authors' splits, over which scores are averaged. The front end is that of the
published spectrograms (12 kHz, 512 samples per frame, hop 256, 96 bands). The network is the
short-chunk one of Won et al. (2020) on 3.69 s; no score has been measured with this config yet.
"""

from deepgenre import config as defaults
from deepgenre.config import Config


def get_config(subset: str = "top50tags") -> Config:
    """Returns the config of a subset."""
    config = defaults.get_config()
    config.dataset = "mtg_jamendo"
    config.subset = subset
    config.split = "split_0"
    config.top_tags = 0  # the subset's own tags
    config.frontend.sample_rate_hz = 12_000
    config.frontend.n_fft = 512
    config.frontend.hop_length = 256
    config.frontend.n_mels = 96
    config.model = "short_chunk_res"
    config.window_seconds = 3.69
    config.window_hop_seconds = 15.0  # songs are minutes long
    config.num_epochs = 80
    config.batch_size = 32
    config.learning_rate = 1e-4
    config.schedule = "constant"
    config.weight_decay = 1e-4
    config.select_by = "loss"
    return config

"""Your own genres or tags from the networks of the musicnn package, trained further.

    deepgenre train --config=finetune --data_dir=FOLDER --config.freeze=True --workdir=runs/head
    deepgenre train --config=finetune --data_dir=FOLDER --config.init_from=runs/head
    deepgenre train --config=finetune:msd_musicnn --data_dir=FOLDER

The first trains the last layer alone (the network stays as it is), the second then all layers; the
third all layers at once. `--config.init_from=mine.safetensors`, of mode `fewshot`, has the last
layer already. Data as in `folder.py`; with tags, `--config.multi_label=True`. The learning rate is
a tenth of that of training from scratch, so that the start is not lost at once.
"""

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.errors import unknown_name

NETWORKS = {
    "mtt_musicnn": "musicnn",
    "msd_musicnn": "musicnn",
    "mtt_vgg": "musicnn_vgg",
    "msd_vgg": "musicnn_vgg",
}


def get_config(start: str = "mtt_musicnn") -> Config:
    """Returns the config that starts from imported weights of this name."""
    if start not in NETWORKS:
        raise unknown_name(f"configs/finetune.py:{start}", start, NETWORKS)
    config = defaults.get_config()
    config.dataset = "folder"
    config.split = "given_or_random"
    config.frontend.kind = "musicnn"
    config.frontend.sample_rate_hz = 16_000
    config.frontend.n_fft = 512
    config.frontend.hop_length = 256
    config.frontend.n_mels = 96
    config.model = NETWORKS[start]
    config.init_from = start
    config.window_seconds = 2.992  # 187 frames
    config.num_epochs = 20
    config.batch_size = 16
    config.learning_rate = 1e-4
    config.schedule = "cosine"
    return config

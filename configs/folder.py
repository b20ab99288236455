"""Your own music: one folder per genre, or a manifest (CSV, TSV or JSON lines).

    python -m deepgenre.main --config=configs/folder.py --data_dir=FOLDER
    python -m deepgenre.main --config=configs/folder.py:tags --data_dir=manifest.csv

`:tags` is for clips with any number of labels. Where a manifest has a column `split`, it is used;
else no artist or album is in more than one part of the split. Training uses short random crops, so
songs may have any duration.
"""

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.errors import UserError


def get_config(task: str = "genre") -> Config:
    """Returns the config of task 'genre' (one label per clip) or 'tags' (any number)."""
    if task not in ("genre", "tags"):
        raise UserError(f"configs/folder.py:{task}: the task is 'genre' or 'tags'")
    config = defaults.get_config()
    config.dataset = "folder"
    config.split = "given_or_random"
    config.multi_label = task == "tags"
    config.model = "paper_1d_norm"
    config.window_seconds = 20.0
    config.num_epochs = 40
    config.schedule = "cosine"
    return config

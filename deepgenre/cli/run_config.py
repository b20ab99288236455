"""The config file behind `--config=RUN/config.json`: the config of a run, by its record."""

from pathlib import Path

from ml_collections import ConfigDict

from deepgenre import config as defaults
from deepgenre.config import Config
from deepgenre.weights import run_record


def get_config(path: str) -> Config:
    """Returns the config of the run whose record is at `path`.

    Fields that an earlier version did not have are at their defaults. Raises UserError where the
    file is no record, or has fields that this version lacks.
    """
    saved = {name: _with_tuples(value) for name, value in run_record.config(Path(path)).items()}
    config = defaults.get_config()
    defaults.check_fields(ConfigDict(defaults.merged(config.to_dict(), saved)))
    config.update(saved)
    return config


def _with_tuples(value: object) -> object:
    """Returns the value with tuples in place of lists, which JSON makes of them."""
    if isinstance(value, dict):
        return {name: _with_tuples(entry) for name, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value

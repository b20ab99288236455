"""The check, before any data is read, of the names in a config that only training uses."""

import numpy as np

from deepgenre.config import Config
from deepgenre.data.balance import SAMPLINGS
from deepgenre.data.datasets import dataset_kind
from deepgenre.errors import UserError, look_up, unknown_name
from deepgenre.evaluation import metrics
from deepgenre.training import loggers
from deepgenre.training.losses import CLASS_WEIGHTS, LOSSES, TAGS_ONLY
from deepgenre.training.optimizer import OPTIMIZERS, SCHEDULES
from deepgenre.weights import loading


def check(config: Config) -> None:
    """Raises UserError naming a field whose name, metric or weights do not exist."""
    look_up(SCHEDULES, config.schedule, "config.schedule")
    look_up(OPTIMIZERS, config.optimizer, "config.optimizer")
    look_up(LOSSES, config.loss, "config.loss")
    loggers.chosen(config.loggers)
    for field, known in (("class_weights", CLASS_WEIGHTS), ("sampling", SAMPLINGS)):
        if config[field] not in known:
            raise unknown_name(f"config.{field}", config[field], known)
    given = dataset_kind(config.dataset).multi_label
    multi_label = config.multi_label if given is None else given
    if config.loss in TAGS_ONLY and not multi_label:
        raise UserError(f"config.loss: {config.loss!r} is for tags; use 'focal' for genres")
    known = metric_names(multi_label=multi_label)
    if config.select_by and config.select_by not in known:
        raise unknown_name("config.select_by", config.select_by, known)
    if config.init_from:
        loading.load(config.init_from)


def metric_names(*, multi_label: bool) -> list[str]:
    """Returns the names of the metrics of validation, as `metrics.evaluate` gives them."""
    scores = np.array([[0.6, 0.4], [0.4, 0.6]], np.float32)
    labels = np.eye(2, dtype=np.uint8) if multi_label else np.arange(2)
    return list(metrics.evaluate(scores, labels, multi_label=multi_label))

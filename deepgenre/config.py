"""Every default of deepgenre, in one place: unit, range and meaning of each field.

A file in `configs/` calls `get_config()` and changes a few lines; the command line overrides with
`--config.FIELD=VALUE`. The config is locked from the start (a misspelt field is an error, also in a
config file) and travels with every checkpoint.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.augmentation import Augmentation
from deepgenre.errors import UserError, look_up, unknown_name

# A locked ConfigDict. ml_collections types every field as a union of all types, which is useless
# to a type checker; `get_config` below defines the types.
Config = Any


MAX_SECONDS = 3600  # longest window: anything above is a mistake
# Minimum and maximum. `frontend` and `augment` check their own fields, the tables check names.
RANGES = {
    "clip_seconds": (0, MAX_SECONDS),
    "top_tags": (0, math.inf),
    "seed": (0, 2**32 - 1),
    "seeds": (0, math.inf),
    "folds": (0, math.inf),
    "fold": (-1, math.inf),
    "network.dropout": (0, 1),
    "num_epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "batch_shares": (0, math.inf),
    "learning_rate": (0, math.inf),
    "decay": (0, math.inf),
    "decay_rate": (0, math.inf),
    "warmup_epochs": (0, math.inf),
    "plateau_epochs": (0, math.inf),
    "plateau_factor": (0, 1),
    "momentum": (0, 1),
    "pretrain_epochs": (0, math.inf),
    "weight_decay": (0, math.inf),
    "clip_norm": (0, math.inf),
    "focal_gamma": (0, math.inf),
    "asymmetric_gamma_present": (0, math.inf),
    "asymmetric_gamma_absent": (0, math.inf),
    "asymmetric_margin": (0, 1),
    "label_smoothing": (0, 1),
    "ema_decay": (0, 1),
    "early_stop_epochs": (0, math.inf),
    "window_seconds": (0, MAX_SECONDS),
    "window_hop_seconds": (0, MAX_SECONDS),
    "num_workers": (0, math.inf),
    "eval_every_epochs": (1, math.inf),
    "log_every_steps": (1, math.inf),
}
DTYPES = {"float32", "bfloat16"}


def check_fields(config: Config) -> None:
    """Raises UserError naming a field that `get_config` lacks, or that is missing.

    A config file may have unlocked its config, or written one of its own.
    """
    known, given = leaves(get_config().to_dict()), leaves(config.to_dict())
    for name in given:
        if name not in known:
            raise unknown_name("config", name, known)
    for name in known:
        if name not in given:
            raise UserError(
                f"config.{name}: is missing; begin with deepgenre.config.get_config() and change "
                "its fields"
            )


def complete(saved: Mapping[str, Any]) -> Config:
    """Returns a config that was saved, also by an earlier version: defaults for fields it lacks."""
    return ConfigDict(merged(get_config().to_dict(), saved))


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults with the given values, field by field at every level."""
    both = dict(defaults)
    for name, value in given.items():
        old = both.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(old, value)
        both[name] = value
    return both


def leaves(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the fields by their full names, as 'augment.mixup'."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        nested = isinstance(value, Mapping)
        found |= leaves(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def check(config: Config) -> None:
    """Raises UserError naming a field that is out of range, or a name that no table has."""
    from deepgenre.data.datasets import dataset_kind  # slow to import, not needed for predictions
    from deepgenre.data.datasets.spectrogram_levels import SCALES

    for name, (least, most) in RANGES.items():
        value = functools.reduce(getattr, name.split("."), config)
        if value is not None and not least <= value <= most:  # not: NaN is out of range too
            allowed = f"{least} to {most}" if math.isfinite(most) else f"{least} or more"
            raise UserError(f"config.{name}: must be {allowed}, is {value}")
    if config.folds == 1 or config.fold >= config.folds > 0:
        raise UserError(
            f"config.folds: must be 0 or 2 or more, and config.fold below it, are {config.folds} "
            f"and {config.fold}"
        )
    if config.fold >= 0 and not config.folds:
        raise UserError(f"config.fold: {config.fold} needs --config.folds, the number of folds")
    if config.dtype not in DTYPES:
        raise unknown_name("config.dtype", config.dtype, DTYPES)
    Augmentation(**config.augment).check_kind(FrontEnd(**config.frontend).kind)
    look_up(SCALES, config.spectrogram_scale, "config.spectrogram_scale")
    kind = dataset_kind(config.dataset)
    look_up(kind.splits, config.split, "config.split")
    if config.subset and "subset" not in kind.settings:
        raise UserError(f"config.subset: dataset {config.dataset!r} has no subsets; leave it empty")
    if config.subset and kind.subsets and config.subset not in kind.subsets:
        raise unknown_name("config.subset", config.subset, kind.subsets)
    models.build(config.model, 2, config.network.to_dict())


def get_config() -> Config:
    """Returns the defaults, locked: the paper's 1D network and settings on GTZAN."""
    config = ConfigDict()

    # Data
    config.dataset = "gtzan"  # a name in deepgenre/data/datasets
    config.split = "paper_random"  # a name in the dataset's table of splits
    # Of 'mtg_jamendo' or 'fma' by name ('': the whole, or what there is); 'mirdata': its dataset.
    config.subset = ""
    # 'folder', 'fma', 'mirdata': True where a clip has a set of tags; others are one or the other.
    config.multi_label = False
    config.label_separator = ""  # 'folder': between labels in a manifest; '': '|', others are asked
    # Of precomputed spectrograms in floats: 'db', 'power', 'natural_log' (of power) or 'double_db'
    # (20 log10 of power). '': as the dataset publishes them, else dB, and refused if it cannot be.
    config.spectrogram_scale = ""
    config.clip_seconds = 0.0  # length of each precomputed spectrogram; 0: as its file states
    config.top_tags = 50  # multi-label: classes are the most frequent tags; 0: all tags
    config.keep_untagged = False  # multi-label: keep clips that carry none of the classes
    config.folds = 0  # cross-validation in this number of folds, see data/parts.py; 0: none
    config.fold = -1  # with folds: train only this one, from 0; -1: all of them
    config.seed = 0  # split, initial weights, order, crops, dropout
    config.seeds = 0  # train this number of networks, with seeds from `seed` on; 0: one

    # Network
    config.model = "paper_1d"  # a name in deepgenre/models
    # Options of the network, documented there; None: the network's own default. The options of all
    # networks are listed: setting one that the chosen network lacks is an error.
    config.network = ConfigDict(
        {
            option: config_dict.placeholder(kind)
            for name in models.MODELS
            for option, kind in models.options(name).items()
        }
    )
    config.init_from = ""  # weights to start from: a workdir, a .safetensors file or a name
    config.freeze = False  # True: parameters taken from init_from are not trained further
    config.pretrain_epochs = 0  # of unsupervised pretraining: 'dbn' and 'spherical_kmeans'
    config.dtype = "float32"  # or 'bfloat16': type of activations; weights stay float32

    # Optimisation
    config.num_epochs = 30
    config.batch_size = 32  # clips, over all devices and processes together
    # Parts of a batch with random numbers and batch statistics of their own. A device computes one
    # at a time, and the results do not depend on the number of devices. 0: one part per device,
    # with the batch statistics of all.
    config.batch_shares = 0
    config.optimizer = "adam"  # 'adam' (AdamW when weight_decay > 0) or 'sgd' (Nesterov)
    config.learning_rate = 1e-3  # peak
    config.schedule = "inverse_time"  # 'inverse_time', 'exponential', 'cosine' or 'constant'
    config.decay = 0.01  # inverse_time: learning_rate / (1 + decay * step), as in Keras
    config.decay_rate = 0.9  # exponential: factor per epoch
    config.warmup_epochs = 0.0  # linear rise from 0 before the schedule
    config.plateau_epochs = 0  # after this many epochs without a better loss (0: never) ...
    config.plateau_factor = 0.5  # ... the learning rate is multiplied by this
    config.momentum = 0.9  # sgd
    config.weight_decay = 0.0  # decoupled, on kernels only
    config.clip_norm = 0.0  # largest norm of the gradient; 0: no clipping

    config.loss = "cross_entropy"  # 'cross_entropy', 'focal' or, for tags, 'asymmetric'
    config.focal_gamma = 2.0  # focal: exponent of what is missing to a certain prediction
    config.asymmetric_gamma_present = 1.0  # asymmetric: likewise, of tags that a clip has
    config.asymmetric_gamma_absent = 4.0  # of tags that it lacks
    config.asymmetric_margin = 0.05  # scores of tags that a clip lacks count above this only
    config.class_weights = "none"  # or 'balanced': each class has the same weight in the loss
    config.sampling = "uniform"  # or 'balanced': each class is drawn as often
    config.label_smoothing = 0.0  # share of a target that is spread over all classes
    config.ema_decay = 0.0  # decay of the running mean of weights that is used; 0: the last weights
    config.early_stop_epochs = 0  # stop after this many epochs without a better loss; 0: never
    config.augment = ConfigDict(dataclasses.asdict(Augmentation()))

    # Input
    config.frontend = ConfigDict(dataclasses.asdict(FrontEnd()))
    config.window_seconds = 0.0  # length of the random training crop; 0: whole clips
    config.window_hop_seconds = 0.0  # hop of windows in evaluation; 0: the window's length
    config.store_dir = ""  # folder of the prepared store; '': data/store/<dataset>-<id of data_dir>
    config.num_workers = 0  # Grain worker processes; 0: read in this process, with threads
    config.prepare_workers = -1  # processes that prepare audio; -1: one per core
    config.max_unreadable_fraction = 0.1  # training stops when a larger share of the clips fails

    # The run
    config.select_by = ""  # validation metric of the best checkpoint; '': accuracy or roc_auc
    config.eval_every_epochs = 1  # validate and checkpoint
    config.loggers = ""  # also send metrics to 'wandb' or 'mlflow'; several with commas in between
    config.log_every_steps = 20  # steps between two log lines of the training loss
    return config.lock()

"""deepgenre: genre classification and tagging of recorded music.

    tagger = deepgenre.load("gtzan")     scores and embeddings of songs; a scikit-learn transformer
    deepgenre.train(config, data_dir, workdir)     and get_config, prepare, evaluate, sweep,
                                                   cross_validate

The names below are imported at their first use: JAX takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepgenre.api.functions import (
        cross_validate,
        evaluate,
        get_config,
        prepare,
        sweep,
        train,
    )
    from deepgenre.inference.tagger import Tagger, load

__version__ = "0.2.0"

__all__ = [
    "Tagger",
    "cross_validate",
    "evaluate",
    "get_config",
    "load",
    "prepare",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Returns a function or class of the Python interface."""
    if name not in __all__:
        raise AttributeError(f"module 'deepgenre' has no attribute {name!r}")
    module = "inference.tagger" if name in ("Tagger", "load") else "api.functions"
    return getattr(importlib.import_module(f"deepgenre.{module}"), name)


def __dir__() -> list[str]:
    """Returns the names of the Python interface as well."""
    return sorted({*globals(), *__all__})

"""Aggregates the scores of windows to the scores of a song."""

import numpy as np
import scipy.special

from deepgenre import models
from deepgenre.errors import UserError
from deepgenre.evaluation.calibration import calibrate
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights.spec import Spec

UNFAMILIAR_BELOW = 0.05  # of a linear head: 95 % of its examples are more familiar


def check(aggregation: str, spec: Spec) -> None:
    """Raises UserError for 'attention' where the network has no attention over windows."""
    supported = [name for name, row in models.MODELS.items() if row.window_attention]
    if aggregation == "attention" and spec.model not in supported:
        raise UserError(
            f"--aggregate: {spec.model!r} has no attention over windows, only "
            f"{', '.join(supported)} has; use 'mean' or 'max'"
        )


def check_familiarity(spec: Spec) -> None:
    """Raises UserError where the network does not compare a song with its training clips."""
    solved = [name for name, row in models.MODELS.items() if row.solved]
    supported = [*solved, models.LINEAR_HEAD]
    if spec.model not in supported:
        raise UserError(
            f"--unfamiliar_below: {spec.model!r} does not compare songs with its training clips, "
            f"only {', '.join(supported)} does; use --unknown_below"
        )


def familiarity_limit(given: float | None, spec: Spec) -> float:
    """Returns the limit of `is_unfamiliar` where one is given, else the default of the weights.

    Few examples say little about music outside their classes: a linear head has a default limit.
    """
    if given is not None:
        return given
    return UNFAMILIAR_BELOW if spec.model == models.LINEAR_HEAD else 0.0


def is_unfamiliar(outputs: FileOutputs, spec: Spec, below: float) -> bool:
    """Returns whether the song's familiarity is below the limit; 0: never.

    It is the mean over windows; of a linear head, this is a cosine, of which the rank counts among
    those of the examples, each compared with the other artists' examples.
    """
    if not below:
        return False
    assert outputs.familiarity is not None
    value = float(outputs.familiarity.mean())
    if spec.model == models.LINEAR_HEAD:
        quantiles = spec.network["familiarity"]
        value = float(np.interp(value, quantiles, np.linspace(0, 1, len(quantiles))))
    return value < below


def song_scores(outputs: FileOutputs, spec: Spec, aggregation: str) -> np.ndarray:
    """Returns the scores of a song, float32 (classes,), calibrated by the spec's temperature.

    'mean': the mean over windows. 'max': the maximum per class; for genres rescaled to a sum of 1.
    'attention': the mean over windows, weighted by `window_weights`.
    """
    if aggregation == "max":
        scores = outputs.scores.max(axis=0)
        scores = scores if spec.multi_label else scores / scores.sum()
    elif aggregation == "attention":
        scores = window_weights(outputs) @ outputs.scores
    else:
        scores = outputs.scores.mean(axis=0)
    return calibrate(scores, spec.temperature, multi_label=spec.multi_label)


def window_weights(outputs: FileOutputs) -> np.ndarray:
    """Returns the share of the attention per window, float32 (windows,), with a sum of 1."""
    assert outputs.attention is not None
    return np.asarray(scipy.special.softmax(outputs.attention, axis=0).mean(axis=1), np.float32)

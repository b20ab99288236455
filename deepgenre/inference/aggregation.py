"""From the scores of windows to those of a song."""

import numpy as np
import scipy.special

from deepgenre import models
from deepgenre.errors import UserError
from deepgenre.evaluation.calibration import calibrate
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights.spec import Spec

AGGREGATIONS = ("mean", "max", "attention")


def check(aggregation: str, spec: Spec) -> None:
    """Raises UserError where the network says not how much attention a window deserves."""
    attentive = [name for name, row in models.MODELS.items() if row.weighs_windows]
    if aggregation == "attention" and spec.model not in attentive:
        raise UserError(
            f"--aggregate: {spec.model!r} has no attention over windows, only "
            f"{', '.join(attentive)} has; take 'mean' or 'max'"
        )


def song_scores(heard: FileOutputs, spec: Spec, aggregation: str) -> np.ndarray:
    """Returns the scores of a song, float32 (classes,), calibrated where the weights are.

    'mean': the mean over its windows. 'max': of each class, the highest; for genres scaled to a sum
    of 1 again. 'attention': a mean in which a window counts by the attention that it draws.
    """
    if aggregation == "max":
        scores = heard.scores.max(axis=0)
        scores = scores if spec.multi_label else scores / scores.sum()
    elif aggregation == "attention":
        scores = window_weights(heard) @ heard.scores
    else:
        scores = heard.scores.mean(axis=0)
    return calibrate(scores, spec.temperature, multi_label=spec.multi_label)


def window_weights(heard: FileOutputs) -> np.ndarray:
    """Returns float32 (windows,), of sum 1: the share of the attention that each window draws."""
    assert heard.attention is not None
    return np.asarray(scipy.special.softmax(heard.attention, axis=0).mean(axis=1), np.float32)

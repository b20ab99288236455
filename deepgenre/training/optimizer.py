"""Learning-rate schedules and optimisers, by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from deepgenre.config import Config
from deepgenre.errors import look_up

# From the number of finished steps (an int, or a traced scalar in a step) to the learning rate.
Schedule = Callable[[Any], Any]
ScheduleMaker = Callable[[Config, int, int], Schedule]


def _inverse_time(config: Config, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Returns Keras' `decay`: learning_rate / (1 + decay * step)."""
    del steps_per_epoch, total_steps
    return lambda step: config.learning_rate / (1.0 + config.decay * step)


def _exponential(config: Config, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Returns exponential decay: by the factor decay_rate over each epoch, in small steps."""
    del total_steps
    return optax.exponential_decay(config.learning_rate, steps_per_epoch, config.decay_rate)


def _cosine(config: Config, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Returns half a cosine, from learning_rate to 0, over the steps after the warm-up."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    return optax.cosine_decay_schedule(config.learning_rate, max(1, total_steps - warmup_steps))


def _constant(config: Config, steps_per_epoch: int, total_steps: int) -> Schedule:
    del steps_per_epoch, total_steps
    return optax.constant_schedule(config.learning_rate)


SCHEDULES: Mapping[str, ScheduleMaker] = {
    "inverse_time": _inverse_time,
    "exponential": _exponential,
    "cosine": _cosine,
    "constant": _constant,
}

OPTIMIZERS: Mapping[str, Callable[[Config], optax.GradientTransformation]] = {
    "adam": lambda config: optax.scale_by_adam(),
    "sgd": lambda config: optax.trace(config.momentum, nesterov=True),
}


def make_schedule(config: Config, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Returns the learning rate as a function of the number of finished steps."""
    make_base = look_up(SCHEDULES, config.schedule, "config.schedule")
    schedule = make_base(config, steps_per_epoch, total_steps)
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if not warmup_steps:
        return schedule
    rise = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
    return optax.join_schedules([rise, schedule], [warmup_steps])


def plateau_scale(losses: Sequence[float], patience: int, factor: float) -> float:
    """Returns the factor on the learning rate after these validation losses.

    Every `patience` consecutive validations without a new best loss multiply it by `factor`;
    patience 0: never. The count restarts after a reduction, as in J. Pons' training of musicnn.
    """
    best, stale, scale = math.inf, 0, 1.0
    for loss in losses if patience else ():
        stale = 0 if loss < best else stale + 1
        best = min(best, loss)
        if stale == patience:
            stale, scale = 0, scale * factor
    return scale


def make_optimizer(config: Config, schedule: Schedule) -> optax.GradientTransformation:
    """Returns the chain of clipping, optimiser, decoupled weight decay of kernels, and schedule."""
    scale_gradients = look_up(OPTIMIZERS, config.optimizer, "config.optimizer")
    chain = []
    if config.clip_norm > 0:
        chain.append(optax.clip_by_global_norm(config.clip_norm))
    chain.append(scale_gradients(config))
    if config.weight_decay > 0:
        chain.append(optax.add_decayed_weights(config.weight_decay, mask=_kernels))
    chain.append(optax.scale_by_learning_rate(schedule))
    return optax.chain(*chain)


def _kernels(params: optax.Params) -> optax.Params:
    """Returns True for matrices and convolution kernels, False for biases and norm scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

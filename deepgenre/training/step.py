"""The training step, a pure function, and its compilation."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from deepgenre.data.augmentation import Augmentation, augment
from deepgenre.devices import AXIS, share_of_batch
from deepgenre.training import losses
from deepgenre.training.losses import ClassWeights, Focus
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, features_of
from deepgenre.weights.state import State

Batch = Mapping[
    str, Any
]  # 'levels' (batch, frames, stored bands) or 'features', 'labels' (batch, ...)
TrainStep = Callable[..., tuple[State, dict[str, jax.Array]]]  # (state, batch, rate=1.0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Options of the training step, apart from the optimiser."""

    seed: int = 0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0  # 0: no running means of the weights
    focus: Focus = dataclasses.field(default_factory=Focus)
    class_weights: ClassWeights | None = None
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    # Parts of a batch that have batch statistics and random numbers of their own; 0: one for each
    # device, with common batch statistics.
    batch_shares: int = 0


class ShareResult(NamedTuple):
    """What one share of a batch contributes to a step."""

    loss: jax.Array  # float32 scalar: mean over its clips
    gradients: Any
    batch_stats: Any
    hits: jax.Array
    evaluated: jax.Array


def train_step(
    state: State,
    batch: Batch,
    rate: jax.Array | float,
    *,
    module: nn.Module,
    tx: optax.GradientTransformation,
    spec: Spec,
    recipe: Recipe,
    axis_name: str | None,
) -> tuple[State, dict[str, jax.Array]]:
    """Returns the state after one step, and its scalars.

    'loss' and 'gradient_norm'; 'evaluated', the number of clips with a class, and 'hits', those
    of them whose highest score is that class, for tags the first one. Loss and gradients are
    averaged over the devices of `axis_name`. rate: factor on the learning rate of the schedule.
    """
    share = share_of_batch(jax.lax.axis_index(axis_name)) if axis_name else 0
    key = jax.random.fold_in(jax.random.key(recipe.seed), state.step)
    of_share = functools.partial(_of_share, state, module=module, spec=spec, recipe=recipe)
    if recipe.batch_shares:
        result = _over_shares(of_share, batch, key, share, recipe.batch_shares, axis_name)
    else:
        result = _over_devices(of_share(batch, jax.random.fold_in(key, share)), axis_name)
    updates, opt_state = tx.update(result.gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, optax.tree.scale(rate, updates))
    new_state = State(
        step=state.step + 1,
        params=params,
        batch_stats=result.batch_stats,
        opt_state=opt_state,
        averages=_averages(state, {"params": params, "batch_stats": result.batch_stats}, recipe),
    )
    scalars = {"loss": result.loss, "gradient_norm": optax.tree.norm(result.gradients)}
    return new_state, {**scalars, "hits": result.hits, "evaluated": result.evaluated}


def _of_share(
    state: State, batch: Batch, key: jax.Array, *, module: nn.Module, spec: Spec, recipe: Recipe
) -> ShareResult:
    """Returns loss and gradients of clips; `key` determines their augmentation and dropout."""
    augment_key, dropout_key = jax.random.split(key)
    targets = losses.targets(
        batch["labels"],
        len(spec.classes),
        multi_label=spec.multi_label,
        smoothing=recipe.label_smoothing,
    )
    inputs, targets = _inputs(batch, targets, augment_key, recipe, spec)

    def loss_of(params: Any) -> tuple[jax.Array, Any]:
        logits, updates = module.apply(
            {"params": params, "batch_stats": state.batch_stats},
            inputs,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        loss = losses.loss_per_clip(
            logits,
            targets,
            multi_label=spec.multi_label,
            focus=recipe.focus,
            weights=recipe.class_weights,
        )
        return loss.mean(), (updates.get("batch_stats", {}), losses.hits(logits, targets))

    (loss, (batch_stats, (hits, evaluated))), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.params
    )
    return ShareResult(loss, gradients, batch_stats, hits, evaluated)


def _over_devices(result: ShareResult, axis_name: str | None) -> ShareResult:
    """Returns mean loss and gradients of the devices; their batch statistics are the same."""
    if axis_name is None:
        return result
    loss, gradients = jax.lax.pmean((result.loss, result.gradients), axis_name)
    hits, evaluated = jax.lax.psum((result.hits, result.evaluated), axis_name)
    return ShareResult(loss, gradients, result.batch_stats, hits, evaluated)


def _over_shares(
    of_share: Callable[[Batch, jax.Array], ShareResult],
    batch: Batch,
    key: jax.Array,
    first_share: jax.Array | int,
    num_shares: int,
    axis_name: str | None,
) -> ShareResult:
    """Returns the mean over all shares of the batch; a device computes one of its own at a time.

    Share s is every num_shares-th clip from s on. The sums have one order, which does not depend
    on the number of devices.
    """
    num_devices = jax.device_count() if axis_name else 1
    per_device = num_shares // num_devices
    numbers = first_share + num_devices * jnp.arange(per_device)
    parts = jax.tree.map(lambda a: a.reshape(-1, per_device, *a.shape[1:]).swapaxes(0, 1), batch)
    results = jax.lax.map(
        lambda part: of_share(part[0], jax.random.fold_in(key, part[1])), (parts, numbers)
    )
    if axis_name:
        of_positions = [share_of_batch(position) for position in range(num_devices)]
        positions = np.argsort(np.array(of_positions))
        results = jax.tree.map(
            lambda a: a[positions].swapaxes(0, 1).reshape(num_shares, *a.shape[2:]),
            jax.lax.all_gather(results, axis_name),
        )
    # Without barriers the compiler merges sums with what surrounds them, which changes rounding.
    results = jax.lax.optimization_barrier(results)
    means = jax.tree.map(lambda a: a.mean(axis=0), results)
    sums = {"hits": results.hits.sum(), "evaluated": results.evaluated.sum()}
    return jax.lax.optimization_barrier(means._replace(**sums))


def _inputs(
    batch: Batch, targets: jax.Array, key: jax.Array, recipe: Recipe, spec: Spec
) -> tuple[jax.Array, jax.Array]:
    """Returns the network's input and the targets, augmented unless features are given."""
    if "features" in batch:  # see `fixed_features`
        return batch["features"], targets
    levels = batch["levels"].astype(jnp.float32)
    levels, targets = augment(levels, targets, key, recipe.augmentation, spec.window_frames)
    return features_of(levels, spec), targets


def _averages(state: State, newest: dict[str, Any], recipe: Recipe) -> Any:
    """Returns the running means; the decay is smaller in the first steps."""
    if not state.averages:
        return {}
    decay = jnp.minimum(recipe.ema_decay, (1.0 + state.step) / (10.0 + state.step))
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.averages, newest)


def compile_train_step(
    spec: Spec, tx: optax.GradientTransformation, recipe: Recipe, *, num_devices: int
) -> TrainStep:
    """Returns the step: `jit` on one device, `pmap` on several. It donates the state's buffers.

    For several devices the batch, but not the state, has a leading axis of local devices.
    """
    axis_name = AXIS if num_devices > 1 else None
    module = specs.build(spec, axis_name=None if recipe.batch_shares else axis_name)

    step = functools.partial(
        train_step, module=module, tx=tx, spec=spec, recipe=recipe, axis_name=axis_name
    )
    if axis_name is None:
        compiled = jax.jit(step, donate_argnums=0)
    else:
        axes = (None, 0, None)
        compiled = jax.pmap(step, AXIS, in_axes=axes, out_axes=None, donate_argnums=0)
    return lambda state, batch, rate=1.0: compiled(state, batch, rate)

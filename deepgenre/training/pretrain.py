"""Weights that are learnt without labels, before training starts."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data import sampling
from deepgenre.data.store import Records
from deepgenre.errors import look_up
from deepgenre.models.dbn import pooled_bands, with_pretrained
from deepgenre.models.spherical_kmeans import BANKS, Bank, describe
from deepgenre.training import kmeans, rbm
from deepgenre.training.plan import Plan
from deepgenre.weights.spec import features_of
from deepgenre.weights.state import State, with_weights

PATCHES_A_CLIP = 60
LEAST_DEVIATION = 1e-3  # added to a deviation, so that what never changes stays small


def without_labels(state: State, plan: Plan, config: Config) -> State:
    """Returns the state with what its network learns from the training clips without labels.

    It hears one window of each, at a random place. Raises UserError where the network has nothing
    that is learnt so.
    """
    pretrain = look_up(PRETRAINED, config.model, "config.pretrain_epochs: config.model")
    log.info("learning without labels, %d epochs", config.pretrain_epochs)
    return pretrain(state, features_of(_windows(plan, config.seed), plan.spec), config)


def with_rbm(state: State, windows: jax.Array, config: Config) -> State:
    """Returns the state with hidden layers that restricted Boltzmann machines learnt."""
    sizes = [
        state.params[f"hidden_{index}"]["bias"].size
        for index in range(sum(name.startswith("hidden_") for name in state.params))
    ]
    layers = rbm.pretrain(
        pooled_bands(windows),
        sizes,
        jax.random.key(config.seed),
        rbm.CdOptions(num_epochs=config.pretrain_epochs),
    )
    return with_weights(state, with_pretrained(state.params, layers), state.batch_stats)


def with_kmeans(state: State, windows: jax.Array, config: Config) -> State:
    """Returns the state with filters that spherical k-means learnt from patches at random places,
    and with the mean and deviation over the windows of every number that describes one."""
    rng = np.random.default_rng(config.seed)
    learnt = {}
    for bank in BANKS:
        rows = _patches(bank, windows, rng)
        mean, matrix = kmeans.whitening(rows, bank.components)
        centroids = kmeans.spherical_kmeans(
            (rows - mean) @ matrix, bank.filters, rng, config.pretrain_epochs
        )
        learnt[f"{bank.name}_mean"] = mean
        learnt[f"{bank.name}_whitening"] = matrix
        learnt[f"{bank.name}_centroids"] = centroids.T
    describing = jax.jit(describe)
    groups = [jax.device_get(describing(window[None], learnt)) for window in windows]
    for name in groups[0]:
        values = np.concatenate([group[name] for group in groups])
        learnt[f"mean_of_{name}"] = values.mean(axis=0)
        learnt[f"deviation_of_{name}"] = values.std(axis=0) + LEAST_DEVIATION
    arrays = jax.tree.map(jnp.asarray, learnt)
    return with_weights(state, state.params, {**state.batch_stats, **arrays})


def _patches(bank: Bank, windows: jax.Array, rng: np.random.Generator) -> np.ndarray:
    """Returns some patches of each window, float32 (patches, values)."""
    cut = jax.jit(bank.patches)
    chosen = []
    for window in windows:
        found = np.asarray(cut(window[None])[0])
        found = found.reshape(-1, found.shape[-1])
        chosen.append(found[rng.integers(len(found), size=PATCHES_A_CLIP)])
    return np.concatenate(chosen)


def _windows(plan: Plan, seed: int) -> jax.Array:
    """Returns levels (clips, window_frames, stored_bands): of each training clip a window."""
    random = np.random.default_rng(seed)
    records = Records(plan.store, plan.parts["train"], plan.spec.frontend.stored_dtype)
    cut = []
    for index in range(len(records)):
        levels = records[index]
        start = random.integers(max(1, levels.shape[0] - plan.spec.window_frames + 1))
        cut.append(sampling.window(levels, int(start), plan.spec.window_frames))
    return jnp.asarray(np.stack(cut))


PRETRAINED: Mapping[str, Callable[[State, jax.Array, Config], State]] = {  # of windows
    "dbn": with_rbm,
    "spherical_kmeans": with_kmeans,
}

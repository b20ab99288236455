"""Unsupervised pretraining: weights learnt without labels before training."""

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

PATCHES_PER_CLIP = 60
DEVIATION_EPSILON = 1e-3  # added to deviations: constant values are not scaled up


def pretrain(state: State, plan: Plan, config: Config) -> State:
    """Returns the state with weights learnt from the training clips without labels.

    The input is one window per clip, at a random offset. Raises UserError if the network supports
    no pretraining.
    """
    method = look_up(PRETRAINED, config.model, "config.pretrain_epochs: config.model")
    log.info("pretraining without labels, %d epochs", config.pretrain_epochs)
    return method(state, features_of(_windows(plan, config.seed), plan.spec), config)


def with_rbm(state: State, windows: jax.Array, config: Config) -> State:
    """Returns the state with hidden layers learnt by restricted Boltzmann machines."""
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
    """Returns the state with filters learnt by spherical k-means on patches at random offsets.

    The mean and deviation over windows of each feature are stored with them.
    """
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
        learnt[f"deviation_of_{name}"] = values.std(axis=0) + DEVIATION_EPSILON
    arrays = jax.tree.map(jnp.asarray, learnt)
    return with_weights(state, state.params, {**state.batch_stats, **arrays})


def _patches(bank: Bank, windows: jax.Array, rng: np.random.Generator) -> np.ndarray:
    """Returns PATCHES_PER_CLIP random patches per window, float32 (patches, values)."""
    cut = jax.jit(bank.patches)
    sampled = []
    for window in windows:
        patches = np.asarray(cut(window[None])[0])
        patches = patches.reshape(-1, patches.shape[-1])
        sampled.append(patches[rng.integers(len(patches), size=PATCHES_PER_CLIP)])
    return np.concatenate(sampled)


def _windows(plan: Plan, seed: int) -> jax.Array:
    """Returns levels (clips, window_frames, stored_bands): one window per training clip."""
    random = np.random.default_rng(seed)
    records = Records(plan.store, plan.parts["train"], plan.spec.frontend.stored_dtype)
    windows = []
    for index in range(len(records)):
        levels = records[index]
        start = random.integers(max(1, levels.shape[0] - plan.spec.window_frames + 1))
        windows.append(sampling.window(levels, int(start), plan.spec.window_frames))
    return jnp.asarray(np.stack(windows))


PRETRAINED: Mapping[str, Callable[[State, jax.Array, Config], State]] = {  # by network
    "dbn": with_rbm,
    "spherical_kmeans": with_kmeans,
}

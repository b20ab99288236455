"""Unsupervised pretraining: weights learnt without labels before training."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data import sampling
from deepgenre.data.store import Records
from deepgenre.errors import UserError, look_up
from deepgenre.models import feature_groups
from deepgenre.models.dbn import pooled_bands, with_pretrained
from deepgenre.models.filter_banks import Bank
from deepgenre.models.kernel_ridge import KernelRidge
from deepgenre.models.spherical_kmeans import FEATURE_SET
from deepgenre.training import kmeans, rbm
from deepgenre.training.plan import Plan
from deepgenre.weights.spec import features_of
from deepgenre.weights.state import State, with_weights

DESCRIBED_TOGETHER = 8  # clips
DEVIATION_EPSILON = 1e-3  # added to deviations: constant values are not scaled up


def pretrain(state: State, plan: Plan, config: Config) -> State:
    """Returns the state with weights learnt from the training clips without labels.

    The input is one window per clip, at a random offset. Raises UserError if the network supports
    no pretraining.
    """
    method = look_up(PRETRAINED, config.model, "config.pretrain_epochs: config.model")
    log.info("pretraining without labels, %d epochs", config.pretrain_epochs)
    return method(state, features_of(training_windows(plan, config.seed), plan.spec), config)


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
    learnt = learn_banks(feature_groups.banks_of(FEATURE_SET), windows, config)
    for name, values in describe_clips(windows, learnt, FEATURE_SET).items():
        learnt[f"mean_of_{name}"] = values.mean(axis=0)
        learnt[f"deviation_of_{name}"] = values.std(axis=0) + DEVIATION_EPSILON
    return _with_statistics(state, learnt)


def with_banks(state: State, windows: jax.Array, config: Config) -> State:
    """Returns the state with the filters of the network's feature set."""
    feature_set = config.network.feature_set or KernelRidge.feature_set
    return _with_statistics(
        state, learn_banks(feature_groups.banks_of(feature_set), windows, config)
    )


def _with_statistics(state: State, learnt: Mapping[str, np.ndarray]) -> State:
    arrays = {name: jnp.asarray(array) for name, array in learnt.items()}
    return with_weights(state, state.params, {**state.batch_stats, **arrays})


def learn_banks(banks: Sequence[Bank], windows: jax.Array, config: Config) -> dict[str, np.ndarray]:
    """Returns the arrays of the banks, learnt from features (clips, frames, bands)."""
    rng = np.random.default_rng(config.seed)
    learnt = {}
    for bank in banks:
        rows = _patches(bank, windows, rng)
        if len(rows) < bank.filters:
            raise UserError(
                f"config.pretrain_epochs: {len(windows)} training clips give {len(rows)} patches, "
                f"too few for {bank.filters} filters; add clips"
            )
        mean, matrix = kmeans.whitening(rows, bank.components)
        centroids = kmeans.spherical_kmeans(
            (rows - mean) @ matrix, bank.filters, rng, config.pretrain_epochs
        )
        learnt[f"{bank.name}_mean"] = mean
        learnt[f"{bank.name}_whitening"] = matrix
        learnt[f"{bank.name}_centroids"] = centroids.T
    return learnt


def describe_clips(
    windows: jax.Array,
    learnt: Mapping[str, np.ndarray],
    feature_set: str,
    sample_rate_hz: int = 22_050,
) -> dict[str, np.ndarray]:
    """Returns the groups of features, float32 (clips, features), of (clips, frames, bands)."""
    arrays = {name: jnp.asarray(array) for name, array in learnt.items()}
    describing = jax.jit(lambda x: feature_groups.describe(x, arrays, feature_set, sample_rate_hz))
    described: list[dict[str, np.ndarray]] = []
    with log.progress(None, total=len(windows), unit="clip", title="describe") as bar:
        for start in range(0, len(windows), DESCRIBED_TOGETHER):
            batch = windows[start : start + DESCRIBED_TOGETHER]
            padding = DESCRIBED_TOGETHER - len(batch)  # one shape, so one compilation
            padded = jnp.pad(batch, ((0, padding), (0, 0), (0, 0)), mode="edge")
            groups = jax.device_get(describing(padded))
            described.append({name: values[: len(batch)] for name, values in groups.items()})
            bar.update(len(batch))
    return {name: np.concatenate([one[name] for one in described]) for name in described[0]}


def _patches(bank: Bank, windows: jax.Array, rng: np.random.Generator) -> np.ndarray:
    """Returns random patches of random registers of the windows, float32 (patches, values)."""
    cut = jax.jit(bank.patches)
    registers_of = jax.jit(bank.registers)
    count = registers_of(windows[:1]).shape[1]
    chosen = np.arange(len(windows) * count)
    if bank.max_registers:
        chosen = np.sort(rng.permutation(chosen)[: bank.max_registers])
    sampled = []
    for clip, register in np.stack(np.divmod(chosen, count), axis=1):
        registers = registers_of(windows[clip][None])[0]
        patches = np.asarray(cut(registers[register][None])[0])
        sampled.append(patches[rng.integers(len(patches), size=bank.patches_per_register)])
    return np.concatenate(sampled)


def training_windows(plan: Plan, seed: int) -> jax.Array:
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
    "kernel_ridge": with_banks,
}

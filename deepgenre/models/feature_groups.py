"""Groups of features that describe a clip, by name, and sets of groups.

The features are not trained by gradient. The arrays that they need are learnt from the training
clips without labels and stored in batch_stats: filters and their whitening (`filter_banks`), and
mean and deviation of each feature.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.errors import look_up
from deepgenre.models.chroma import chroma
from deepgenre.models.filter_banks import Bank, BankVariables
from deepgenre.models.modulation_statistics import fluctuations, long_modulations, modulations
from deepgenre.models.summary_statistics import contrast, covariance_of_change, mfcc_dynamics
from deepgenre.models.texture_statistics import (
    detail,
    harmonic_percussive,
    onset_distribution,
    spectrum_percentiles,
)

CLIP = 4.0  # standardised features are clipped to -CLIP..CLIP
# Groups that form the embedding: small enough for similarity search.
EMBEDDING = ("mfcc_dynamics", "contrast", "covariance_of_change")

STATISTICS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "mfcc_dynamics": mfcc_dynamics,
    "contrast": contrast,
    "covariance_of_change": covariance_of_change,
    "modulations": modulations,
    "spectrum_percentiles": spectrum_percentiles,
    "onset_distribution": onset_distribution,
    "harmonic_percussive": harmonic_percussive,
    "detail": detail,
    "fluctuations": fluctuations,
    "long_modulations": long_modulations,
}
BANKS = {
    bank.name: bank
    for bank in (
        Bank("frames_1", frames=1, filters=256, components=40, centred=False),
        Bank("frames_8", frames=8, filters=384, components=120, centred=True),
        Bank(
            "registers_8",
            frames=8,
            filters=160,
            components=60,
            centred=True,
            register_bands=32,
            register_hop=16,
            patches_per_register=40,
            max_registers=1500,
        ),
    )
}
BASIC = (*EMBEDDING, "modulations", "frames_1", "frames_8")
SMALL = (
    *BASIC, "spectrum_percentiles", "onset_distribution", "harmonic_percussive", "detail", "chroma",
    "fluctuations",
)  # fmt: skip
FEATURE_SETS = {
    "basic": BASIC,
    "small": SMALL,
    "large": (*SMALL, "long_modulations", "registers_8"),
}


def group_names(feature_set: str) -> tuple[str, ...]:
    """Returns the names of the groups of a set; UserError with the closest name if unknown."""
    return look_up(FEATURE_SETS, feature_set, "config.network.feature_set")


def group_sizes(batch_stats: Mapping[str, jax.Array], names: Sequence[str]) -> dict[str, int]:
    """Returns the number of features of the named groups that a network has, in their order.

    batch_stats: its variables, see `standardised`.
    """
    means = {name: batch_stats.get(f"mean_of_{name}") for name in names}
    return {name: mean.shape[-1] for name, mean in means.items() if mean is not None}


def banks_of(feature_set: str) -> tuple[Bank, ...]:
    """Returns the banks of a set."""
    return tuple(BANKS[name] for name in group_names(feature_set) if name in BANKS)


def describe(
    x: jax.Array, learnt: BankVariables, feature_set: str, sample_rate_hz: int = 22_050
) -> dict[str, jax.Array]:
    """Returns the groups of features of clips, each float32 (batch, features), by name.

    x: float32 (batch, frames, bands), standardised; frames >= 8, bands >= 32, of mel filters from
    0 to half of `sample_rate_hz`. `learnt`: the arrays of the banks.
    """
    functions = {
        **STATISTICS,
        "chroma": functools.partial(chroma, sample_rate_hz=sample_rate_hz),
        **{name: functools.partial(bank.responses, learnt=learnt) for name, bank in BANKS.items()},
    }
    return {name: functions[name](x) for name in group_names(feature_set)}


def learnt_banks(module: nn.Module, feature_set: str, bands: int) -> BankVariables:
    """Returns the arrays of the banks, variables of the module; random until they are learnt."""
    return {
        name: module.variable(
            "batch_stats",
            name,
            lambda shape=shape: 0.1 * jax.random.normal(module.make_rng("params"), shape),
        ).value
        for bank in banks_of(feature_set)
        for name, shape in bank.shapes(bands).items()
    }


def standardised(module: nn.Module, name: str, values: jax.Array) -> jax.Array:
    """Returns a group's values by the mean and deviation that are variables of the module."""
    shape = values.shape[-1:]
    mean = module.variable("batch_stats", f"mean_of_{name}", jnp.zeros, shape).value
    deviation = module.variable("batch_stats", f"deviation_of_{name}", jnp.ones, shape).value
    return jnp.clip((values - mean[None]) / deviation[None], -CLIP, CLIP)

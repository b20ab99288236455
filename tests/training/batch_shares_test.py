"""Shares of a batch: the same results for any number of devices, and less memory on one."""

import jax
import numpy as np
import optax
import pytest
import tiny

from deepgenre import devices
from deepgenre.data.augmentation import Augmentation
from deepgenre.errors import UserError
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.state import initial_state

CLIPS = 16


def _train(num_devices: int, recipe: Recipe, *, network, steps: int = 3):
    """Returns the state after some steps of SGD on *synthetic* noise, and the losses."""
    spec = tiny.spec(network=network)
    tx = optax.sgd(0.01)
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    state = initial_state(specs.build(spec), tx, shape, seed=0)
    if num_devices > 1:
        state = devices.replicate(state)
    step, losses = compile_train_step(spec, tx, recipe, num_devices=num_devices), []
    for number in range(steps):
        rng = np.random.default_rng(number)
        batch = {
            "levels": rng.integers(0, 256, (CLIPS, spec.window_frames, spec.frontend.n_mels)),
            "labels": rng.integers(0, len(spec.classes), CLIPS).astype(np.int32),
        }
        batch["levels"] = batch["levels"].astype(np.uint8)
        state, scalars = step(
            state, devices.shard(batch, num_devices) if num_devices > 1 else batch
        )
        losses.append(scalars["loss"])
    return jax.device_get((state, losses))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_four_devices_train_as_one_with_random_numbers(batch_norm):
    # To rounding: XLA's threads divide the sums of the first kernel's gradient differently, all
    # others have the same bits.
    recipe = Recipe(batch_shares=4, augmentation=Augmentation(num_masks=1, gain_db=3.0))
    network = {"dropout": 0.5, "batch_norm": batch_norm}
    one, losses = _train(1, recipe, network=network)
    four, losses_of_four = _train(4, recipe, network=network)
    assert losses[0] == losses_of_four[0]
    np.testing.assert_allclose(losses, losses_of_four, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    _, losses_of_plain = _train(1, Recipe(), network=network)
    assert losses_of_plain[0] != losses[0]  # other random numbers


def test_shares_without_random_numbers_equal_one_batch():
    network = {"dropout": 0.0, "batch_norm": False}
    whole, losses = _train(1, Recipe(), network=network)
    shares, losses_of_shares = _train(1, Recipe(batch_shares=8), network=network)
    np.testing.assert_allclose(losses, losses_of_shares, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(shares), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "shares", "message"),
    [
        (16, 3, "config.batch_shares: 3 shares cannot be divided among 4 devices"),
        (16, -4, "config.batch_shares: -4 shares cannot be divided among 4 devices"),
        (20, 8, "config.batch_size: 20 cannot be divided among 8 shares"),
        (18, 0, "config.batch_size: 18 cannot be divided among 4 devices"),
    ],
)
def test_batches_that_cannot_be_divided(batch_size, shares, message):
    with pytest.raises(UserError, match=message):
        devices.check_batch_size(batch_size, shares)

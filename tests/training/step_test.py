"""The training step on synthetic batches: devices, optimisers, schedules, averages, losses."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest
import tiny
from jax import numpy as jnp

from deepgenre import config as defaults
from deepgenre import devices
from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_score_step
from deepgenre.training import step as step_module
from deepgenre.training.losses import loss_per_clip, targets
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import features_of
from deepgenre.weights.state import State, inference_variables, initial_state, num_parameters

BATCH = 8


def config_of(**changes):
    config = defaults.get_config()
    with config.unlocked():
        config.update(changes)
    return config


def update(tx, gradients, opt_state, params) -> Any:
    return tx.update(gradients, opt_state, params)


def optimizer(**changes):
    config = config_of(**changes)
    return make_optimizer(config, make_schedule(config, 10, 100))


def fresh_state(spec, tx, *, averaged=False) -> State:
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    return initial_state(specs.build(spec), tx, shape, seed=0, averaged=averaged)


def toy_batch(spec, number=0, size=BATCH):
    """Returns noise with a higher level in band k for clips of class k."""
    rng = np.random.default_rng(number)
    labels = (np.arange(size) % len(spec.classes)).astype(np.int32)
    levels = rng.integers(0, 128, (size, spec.window_frames, spec.frontend.n_mels))
    levels[np.arange(size), :, labels] += 100
    if spec.multi_label:
        labels = np.eye(len(spec.classes), dtype=np.uint8)[labels]
    return {"levels": levels.astype(np.uint8), "labels": labels}


def train(spec, tx, *, num_devices, steps, dtype=jnp.float32):
    """Returns the state after some steps, and their losses; `dtype` is that of the weights."""
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    state, losses = fresh_state(spec, tx), []
    params = optax.tree.cast(state.params, dtype)
    batch_stats = optax.tree.cast(state.batch_stats, dtype)
    state = dataclasses.replace(
        state, params=params, batch_stats=batch_stats, opt_state=tx.init(params)
    )
    for number in range(steps):
        batch = toy_batch(spec, number)
        state, scalars = step(
            state, devices.shard(batch, num_devices) if num_devices > 1 else batch
        )
        losses.append(float(scalars["loss"]))
    return jax.device_get(state), losses


@pytest.mark.parametrize("multi_label", [False, True])
def test_four_devices_train_as_one(multi_label):
    # In float64, because the gradient of a ReLU is discontinuous: in float32 one of the 200,000
    # activations is often so close to 0 that its sign depends on rounding, and thereby on the
    # number of devices. Only the loss of the logits is computed in float32: hence the tolerances.
    # SGD without momentum, because Adam scales the rounding errors of zero gradients to full steps.
    config = defaults.get_config().to_dict() | {"dtype": "float64"}
    spec = tiny.spec(multi_label=multi_label, config=config)
    tx = optimizer(optimizer="sgd", momentum=0.0, learning_rate=0.1, schedule="constant")
    with jax.enable_x64(True):
        one, losses_one = train(spec, tx, num_devices=1, steps=3, dtype=jnp.float64)
        four, losses_four = train(spec, tx, num_devices=4, steps=3, dtype=jnp.float64)
    assert one.step == four.step == 3
    np.testing.assert_allclose(losses_four, losses_one, rtol=1e-6)
    assert jax.tree.leaves(one.batch_stats)
    weights = [jax.tree.leaves((state.params, state.batch_stats)) for state in (one, four)]
    for a, b in zip(*weights, strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_loss_decreases_and_classes_are_learnt():
    spec = tiny.spec()
    tx = optimizer(learning_rate=1e-3, schedule="constant")
    step = compile_train_step(spec, tx, Recipe(), num_devices=1)
    state, losses = fresh_state(spec, tx), []
    for _ in range(12):
        state, scalars = step(state, toy_batch(spec))
        losses.append(float(scalars["loss"]))
    assert losses[-1] < 0.1 < losses[0]
    score = compile_score_step(spec)
    unseen = toy_batch(spec, number=1)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    scores = np.asarray(score(variables, unseen["levels"]))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert (scores.argmax(axis=1) == unseen["labels"]).mean() > 0.8


def test_dropout_depends_on_step_and_device_only():
    spec = tiny.spec(network={"dropout": 0.5, "batch_norm": False})
    tx = optimizer(optimizer="sgd", learning_rate=0.0, schedule="constant")  # constant weights
    repeated = {
        name: np.repeat(array[:1], BATCH, axis=0) for name, array in toy_batch(spec).items()
    }
    quarter = {name: array[: BATCH // 4] for name, array in repeated.items()}
    step = compile_train_step(spec, tx, Recipe(), num_devices=1)
    state, first = step(fresh_state(spec, tx), quarter)
    _, second = step(state, quarter)
    _, again = step(fresh_state(spec, tx), quarter)
    assert first["loss"] == again["loss"] != second["loss"]
    over_four = compile_train_step(spec, tx, Recipe(), num_devices=4)
    _, mean = over_four(fresh_state(spec, tx), devices.shard(repeated, 4))
    assert mean["loss"] != first["loss"]  # equal if all devices used the mask of device 0


@pytest.mark.parametrize("num_devices", [1, 4])
def test_step_is_traced_once(monkeypatch, num_devices):
    traces = []

    def counting(levels, spec):
        traces.append(levels.shape)
        return features_of(levels, spec)

    monkeypatch.setattr(step_module, "features_of", counting)
    spec, tx = tiny.spec(), optimizer()
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    state = jax.device_get(fresh_state(spec, tx))  # on the host, as in a resumed run
    if num_devices > 1:
        state = devices.replicate(state)
    for number in range(3):
        batch = toy_batch(spec, number)
        state, _ = step(state, devices.shard(batch, num_devices) if num_devices > 1 else batch)
    assert len(traces) == 1


def learning_rates(steps, **changes):
    config = config_of(learning_rate=0.5, **changes)
    schedule = make_schedule(config, steps_per_epoch=10, total_steps=100)
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Keras: lr / (1 + decay * iterations)
        ({"schedule": "inverse_time", "decay": 0.01}, {0: 0.5, 1: 0.5 / 1.01, 300: 0.125}),
        ({"schedule": "exponential", "decay_rate": 0.9}, {0: 0.5, 5: 0.5 * 0.9**0.5, 30: 0.3645}),
        ({"schedule": "cosine"}, {0: 0.5, 25: 0.25 * (1 + 0.5**0.5), 50: 0.25, 100: 0, 120: 0}),
        (
            {"schedule": "cosine", "warmup_epochs": 2.0},
            {0: 0, 5: 0.125, 20: 0.5, 60: 0.25, 100: 0},
        ),
        ({"schedule": "constant"}, {0: 0.5, 1000: 0.5}),
        ({"schedule": "constant", "warmup_epochs": 0.5}, {0: 0, 1: 0.1, 5: 0.5, 1000: 0.5}),
    ],
)
def test_schedules(changes, expected):
    rates = learning_rates(expected, **changes)
    np.testing.assert_allclose(rates, list(expected.values()), rtol=1e-5, atol=1e-7)


def test_first_step_uses_the_first_learning_rate():
    # The logged rate is schedule(step - 1): the optimiser counts finished steps from 0.
    tx = optimizer(optimizer="sgd", momentum=0.0, learning_rate=0.5, decay=1.0)
    params, gradients = {"w": jnp.ones(())}, {"w": jnp.ones(())}
    opt_state, changes = tx.init(params), []
    for _ in range(3):
        updates, opt_state = update(tx, gradients, opt_state, params)
        changes.append(-float(updates["w"]))
    np.testing.assert_allclose(changes, [0.5, 0.5 / 2, 0.5 / 3], rtol=1e-6)


def test_clipping_of_all_params_and_decay_of_kernels_only():
    params = {"kernel": jnp.full((2, 2), 10.0), "bias": jnp.full((4,), 10.0)}
    gradients = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full((4,), 3.0)}  # norm 72 ** 0.5
    plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0, "schedule": "constant"}

    def step_size(**changes):
        tx = optimizer(**plain, **changes)
        updates, _ = update(tx, gradients, tx.init(params), params)
        return {name: -np.unique(update) for name, update in updates.items()}

    assert step_size() == {"kernel": [3.0], "bias": [3.0]}
    clipped = step_size(clip_norm=1.0)
    np.testing.assert_allclose(clipped["kernel"], 3 / 72**0.5, rtol=1e-6)
    np.testing.assert_allclose(clipped["bias"], 3 / 72**0.5, rtol=1e-6)
    assert step_size(clip_norm=100.0) == step_size()
    decayed = step_size(weight_decay=0.1)
    np.testing.assert_allclose(decayed["kernel"], 3 + 0.1 * 10, rtol=1e-6)
    np.testing.assert_allclose(decayed["bias"], 3, rtol=1e-6)


def test_adam_with_weight_decay_is_adamw():
    params = {"kernel": jnp.full((2, 2), 10.0)}
    gradients = {"kernel": jnp.full((2, 2), 3.0)}
    ours = optimizer(learning_rate=0.1, schedule="constant", weight_decay=0.01)
    theirs = optax.adamw(0.1, weight_decay=0.01)
    for tx in (ours, theirs):
        updates, _ = update(tx, gradients, tx.init(params), params)
        np.testing.assert_allclose(updates["kernel"], -0.1 * (1 + 0.01 * 10), rtol=1e-5)


def test_unknown_schedule_and_optimizer_names():
    with pytest.raises(UserError, match=r"config.schedule: 'cosin' .* 'cosine'"):
        optimizer(schedule="cosin")
    with pytest.raises(UserError, match=r"config.optimizer: 'adamw' .* 'adam'"):
        optimizer(optimizer="adamw")


def test_bfloat16_computation_with_float32_state():
    config = defaults.get_config().to_dict() | {"dtype": "bfloat16"}
    narrow, wide = tiny.spec(config=config), tiny.spec()
    tx = optimizer(learning_rate=1e-3, schedule="constant")
    state, losses = train(narrow, tx, num_devices=1, steps=2)
    _, exact = train(wide, tx, num_devices=1, steps=2)
    for leaf in jax.tree.leaves((state.params, state.batch_stats, state.opt_state)):
        assert leaf.dtype in (np.float32, np.int32)
    assert losses != exact  # computed in bfloat16
    np.testing.assert_allclose(losses[0], exact[0], rtol=0.05)


@pytest.mark.parametrize("num_devices", [1, 4])
def test_half_rate_halves_the_update(num_devices):
    spec, tx = tiny.spec(), optimizer(learning_rate=1e-2, schedule="constant")
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    batch = toy_batch(spec)
    batch = devices.shard(batch, num_devices) if num_devices > 1 else batch
    start = jax.device_get(fresh_state(spec, tx).params)
    whole = jax.device_get(step(fresh_state(spec, tx), batch)[0].params)
    half = jax.device_get(step(fresh_state(spec, tx), batch, 0.5)[0].params)
    full_update = jax.tree.map(lambda new, old: new - old, whole, start)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(full_update)) > 1e-3
    jax.tree.map(
        lambda new, old, full: np.testing.assert_allclose(new - old, full / 2, atol=1e-6),
        half,
        start,
        full_update,
    )


def test_number_of_parameters():
    spec = tiny.spec()
    params = fresh_state(spec, optimizer()).params
    assert num_parameters(params) == sum(np.size(leaf) for leaf in jax.tree.leaves(params))


def test_running_means_of_the_weights():
    spec, tx = tiny.spec(), optimizer(learning_rate=1e-2, schedule="constant")
    decay = 0.2
    step = compile_train_step(spec, tx, Recipe(ema_decay=decay), num_devices=1)
    state = fresh_state(spec, tx, averaged=True)
    expected = jax.device_get(state.averages)["params"]
    for number in range(3):
        state, _ = step(state, toy_batch(spec, number))
        step_decay = min(decay, (1 + number) / (10 + number))  # 0.1, 0.18, 0.2
        newest = jax.device_get(state.params)
        expected = jax.tree.map(
            lambda old, new, d=step_decay: d * old + (1 - d) * new, expected, newest
        )
    variables = inference_variables(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), variables["params"], expected
    )
    distance = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), expected, jax.device_get(state.params)
    )
    assert max(jax.tree.leaves(distance)) > 1e-3
    assert variables["batch_stats"].keys() == state.batch_stats.keys()


def test_smoothed_targets_by_hand():
    genre = targets(jnp.array([2, 0]), 3, multi_label=False, smoothing=0.3)
    np.testing.assert_allclose(genre, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-6)
    tags = targets(jnp.array([[1, 0]], jnp.uint8), 2, multi_label=True, smoothing=0.3)
    np.testing.assert_allclose(tags, [[0.85, 0.15]], rtol=1e-6)


def test_losses_by_hand():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
    softmax = loss_per_clip(logits, jnp.array([[1.0, 0.0, 0.0]]), multi_label=False)
    np.testing.assert_allclose(softmax, [-np.log(0.7)], rtol=1e-5)
    odds = jnp.log(jnp.array([[0.8 / 0.2, 0.4 / 0.6]]))  # probabilities 0.8 and 0.4
    sigmoid = loss_per_clip(odds, jnp.array([[1.0, 0.0]]), multi_label=True)
    np.testing.assert_allclose(sigmoid, [-(np.log(0.8) + np.log(0.6)) / 2], rtol=1e-5)

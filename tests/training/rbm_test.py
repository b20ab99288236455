"""Restricted Boltzmann machines on *synthetic* data: CD-1, stacking, and use in a network."""

from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from deepgenre.errors import UserError
from deepgenre.models.dbn import Dbn, pooled_bands, with_pretrained
from deepgenre.training import rbm

OPTIONS = rbm.CdOptions(num_epochs=20, batch_size=16)


def patterns(clips: int, units: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Returns 0..1 data (clips, units), and labels: noisy copies of four binary patterns."""
    random = np.random.default_rng(0)
    prototypes = random.integers(0, 2, (4, units))
    labels = random.integers(0, 4, clips)
    flips = random.random((clips, units)) < 0.05
    return np.where(flips, 1 - prototypes[labels], prototypes[labels]).astype(np.float32), labels


@pytest.mark.parametrize("gaussian", [False, True])
def test_reconstruction_improves(gaussian: bool) -> None:
    data, _ = patterns(128)
    if gaussian:
        data = (data - data.mean(axis=0)) / data.std(axis=0)
    machine, errors = rbm.train_rbm(
        jnp.asarray(data), 16, jax.random.key(0), OPTIONS, gaussian=gaussian
    )
    assert machine.weights.shape == (24, 16)
    assert np.isfinite(errors).all()
    assert errors[-1] < 0.6 * errors[0]


def test_contrastive_divergence_follows_the_likelihood_gradient() -> None:
    """Averaged over samples, CD-1 is close in direction to the exact gradient of log p(data)."""
    random = np.random.default_rng(1)
    machine = rbm.Rbm(*(jnp.asarray(0.5 * random.normal(size=s)) for s in ((4, 3), 3, 4)))
    visible = jnp.asarray(random.integers(0, 2, (8, 4)), jnp.float32)
    all_states = jnp.asarray([[n >> bit & 1 for bit in range(4)] for n in range(16)], jnp.float32)

    def unnormalised(machine: rbm.Rbm, rows: jax.Array) -> jax.Array:
        hidden = jax.nn.softplus(rows @ machine.weights + machine.hidden_bias[None]).sum(axis=1)
        return rows @ machine.visible_bias + hidden

    def likelihood(machine: rbm.Rbm) -> jax.Array:
        normaliser = jax.nn.logsumexp(unnormalised(machine, all_states))
        return (unnormalised(machine, visible) - normaliser).mean()

    exact = jax.grad(likelihood)(machine)
    sampled = jax.vmap(
        lambda key: rbm.contrastive_divergence(machine, visible, key, gaussian=False)[0]
    )(jax.random.split(jax.random.key(0), 500))
    one, two = (np.concatenate([np.ravel(leaf) for leaf in tree]) for tree in (
        exact, jax.tree.map(lambda leaf: leaf.mean(axis=0), sampled)
    ))  # fmt: skip
    assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.8


def test_standardisation_is_folded_into_the_first_layer() -> None:
    """Folded weights give on raw data the probabilities of the RBM on standardised data."""
    data, _ = patterns(64)
    shifted = jnp.asarray(5.0 + data * np.linspace(0.1, 3.0, 24, dtype=np.float32))
    mean, deviation = shifted.mean(axis=0), shifted.std(axis=0)
    standard = (shifted - mean[None]) / deviation[None]
    key = jax.random.key(3)
    machine, _ = rbm.train_rbm(standard, 8, jax.random.fold_in(key, 0), OPTIONS, gaussian=True)
    ((weights, bias),) = rbm.pretrain(shifted, (8,), key, OPTIONS)
    np.testing.assert_allclose(
        jax.nn.sigmoid(shifted @ weights + bias[None]),
        rbm.hidden_probabilities(machine, standard),
        atol=1e-4,
    )


def test_pretrained_layers_stack() -> None:
    data, _ = patterns(64)
    layers = rbm.pretrain(jnp.asarray(data), (12, 5), jax.random.key(0), OPTIONS)
    assert [(w.shape, b.shape) for w, b in layers] == [((24, 12), (12,)), ((12, 5), (5,))]
    again = rbm.pretrain(jnp.asarray(data), (12, 5), jax.random.key(0), OPTIONS)
    jax.tree.map(np.testing.assert_array_equal, layers, again)


def test_fewer_clips_than_a_batch_and_a_constant_column() -> None:
    data = jnp.asarray(patterns(5)[0]).at[:, 0].set(7.0)
    ((weights, bias),) = rbm.pretrain(data, (4,), jax.random.key(0), OPTIONS)
    assert np.isfinite(weights).all() and np.isfinite(bias).all()


def spectrograms(clips: int) -> tuple[jax.Array, jax.Array]:
    """Returns features (clips, 6 frames, 12 bands) whose mean is one of four patterns."""
    means, labels = patterns(clips, units=12)
    noise = 0.3 * np.random.default_rng(2).normal(size=(clips, 6, 12))
    return jnp.asarray(means[:, None] + noise, jnp.float32), jnp.asarray(labels)


def fine_tune(
    network: Dbn, params: Any, x: jax.Array, labels: jax.Array, steps: int
) -> tuple[Any, list[float]]:
    """Returns the params after some steps on all clips, and the losses."""
    tx = optax.adam(0.01)

    def loss_of(params: Any) -> jax.Array:
        logits = network.apply({"params": params}, x, train=True)
        assert isinstance(logits, jax.Array)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params: Any, opt_state: Any) -> tuple[Any, Any, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, opt_state = tx.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    opt_state, losses = tx.init(params), []
    for _ in range(steps):
        params, opt_state, loss = step(params, opt_state)
        losses.append(float(loss))
    return params, losses


def test_pretrained_network_learns_faster_than_a_fresh_one() -> None:
    x, labels = spectrograms(160)
    sizes = (24, 24, 24)
    network = Dbn(num_classes=4, hidden_units=sizes)
    fresh = network.init(jax.random.key(0), x, train=False)["params"]
    layers = rbm.pretrain(
        pooled_bands(x[:120]), sizes, jax.random.key(1), rbm.CdOptions(num_epochs=100)
    )
    pretrained = with_pretrained(fresh, layers)
    np.testing.assert_array_equal(pretrained["hidden_1"]["kernel"], layers[1][0])
    np.testing.assert_array_equal(pretrained["logits"]["kernel"], fresh["logits"]["kernel"])
    _, slow = fine_tune(network, fresh, x[:120], labels[:120], steps=21)
    params, quick = fine_tune(network, pretrained, x[:120], labels[:120], steps=60)
    assert quick[20] < 0.75 * slow[20]
    logits = network.apply({"params": params}, x[120:], train=False)
    assert isinstance(logits, jax.Array)
    assert (logits.argmax(axis=1) == labels[120:]).mean() > 0.9  # chance: 0.25


def test_layers_of_other_sizes_are_rejected() -> None:
    x, _ = spectrograms(4)
    params = Dbn(num_classes=4, hidden_units=(16,)).init(jax.random.key(0), x, train=False)
    layers = rbm.pretrain(pooled_bands(x), (16, 8), jax.random.key(1), OPTIONS)
    with pytest.raises(UserError, match=r"pretrained layer 1 has shape \(16, 8\), expected None"):
        with_pretrained(params["params"], layers)
    with pytest.raises(UserError, match=r"pretrained layer 0 has shape \(16, 8\)"):
        with_pretrained(params["params"], layers[1:])


def test_pooled_bands_are_mean_and_deviation_over_time() -> None:
    x = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    expected = np.concatenate([x.mean(axis=1), x.std(axis=1)], axis=1)
    np.testing.assert_allclose(pooled_bands(jnp.asarray(x)), expected, rtol=1e-3, atol=1e-4)

"""Transfer of weights to another network: matching params, fresh params, frozen params."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
import tiny
from jax import numpy as jnp

from deepgenre.errors import UserError
from deepgenre.training.initialization import (
    freeze,
    frozen_mask,
    head_paths,
    transfer,
    with_donor_weights,
)
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import loading
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.spec import build as build_module
from deepgenre.weights.state import State, initial_state


def spec_of(**changes: Any) -> Spec:
    return tiny.spec(model="dbn", network={"hidden_units": (8, 6)}, window_frames=4, **changes)


def paper_spec(**changes: Any) -> Spec:
    """Returns the spec of a network with batch norm."""
    return tiny.spec(**changes)


def state_of(spec: Spec, seed: int, tx: optax.GradientTransformation | None = None) -> State:
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    return initial_state(build_module(spec), tx or optax.sgd(0.1), shape, seed=seed)


def donor_of(spec: Spec, seed: int = 1) -> Weights:
    state = state_of(spec, seed)
    shifted = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, (state.params, state.batch_stats))
    return Weights(spec, dict(zip(("params", "batch_stats"), shifted, strict=True)), 7, {})


def assert_equal(one: Any, two: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_params_that_match_by_path_and_shape_are_transferred() -> None:
    fresh = {"a": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}, "b": jnp.zeros(4)}
    donor = {"a": {"kernel": np.ones((2, 3)), "bias": np.ones(5)}, "c": np.ones(4)}
    params, loaded = transfer(fresh, donor)
    assert loaded == {"a/kernel"}
    assert_equal(params, {**fresh, "a": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}})
    assert params["a"]["kernel"].dtype == jnp.float32  # the donor's is float64
    assert transfer(fresh, donor, skip=["a/kernel"])[1] == frozenset()


@pytest.mark.parametrize(
    ("spec", "head"),
    [
        (spec_of(), {"logits/kernel", "logits/bias"}),
        (paper_spec(), {"logits/kernel", "logits/bias"}),
    ],
)
def test_head_is_the_params_that_depend_on_the_number_of_classes(
    spec: Spec, head: set[str]
) -> None:
    assert head_paths(spec) == head


def test_other_classes_get_a_fresh_head_even_if_their_number_is_equal() -> None:
    donor = donor_of(paper_spec(classes=("x", "y", "z")))
    state = state_of(paper_spec(), seed=2)
    started, loaded = with_donor_weights(state, donor, paper_spec())
    assert_equal(started.params["logits"], state.params["logits"])
    rest = {name: layer for name, layer in donor.variables["params"].items() if name != "logits"}
    assert_equal({**started.params, "logits": 0}, {**rest, "logits": 0})
    assert_equal(started.batch_stats, donor.variables["batch_stats"])
    assert len(loaded) == len(jax.tree.leaves(rest))


def test_same_classes_keep_the_head() -> None:
    donor = donor_of(spec_of())
    started, loaded = with_donor_weights(state_of(spec_of(), seed=2), donor, spec_of())
    assert_equal(started.params, donor.variables["params"])
    assert len(loaded) == 6


def test_weights_of_another_network_are_rejected() -> None:
    with pytest.raises(
        UserError, match=r"no kernel of the weights \(dbn\) matches paper_1d"
    ) as error:
        with_donor_weights(state_of(paper_spec(), seed=0), donor_of(spec_of()), paper_spec())
    assert "\n" not in str(error.value)


def frozen_run(spec: Spec, steps: int) -> tuple[State, State, Any, optax.GradientTransformation]:
    """Returns the initial state, the state after `steps` steps, the mask and the optimiser."""
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(0.1),
        optax.scale(-0.1),
    )  # fmt: skip
    donor = donor_of(dataclasses.replace(spec, classes=("x", "y")))
    state, loaded = with_donor_weights(state_of(spec, seed=2, tx=tx), donor, spec)
    mask = frozen_mask(state.params, loaded)
    tx = freeze(tx, mask)
    state = dataclasses.replace(state, opt_state=tx.init(state.params))
    start: State = jax.device_get(state)
    step = compile_train_step(spec, tx, Recipe(), num_devices=1)
    shape = (4, spec.window_frames, spec.frontend.num_bands)
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for _ in range(steps):
        state, _ = step(state, {"levels": levels, "labels": np.array([0, 1, 2, 0], np.int32)})
    return start, state, mask, tx


def test_frozen_weights_stay_bit_identical_and_the_head_is_trained() -> None:
    start, end, mask, _ = frozen_run(spec_of(), steps=3)
    assert mask["logits"] == {"kernel": False, "bias": False}
    for name in ("hidden_0", "hidden_1"):
        assert mask[name] == {"kernel": True, "bias": True}
        assert_equal(start.params[name], end.params[name])
    assert np.abs(start.params["logits"]["kernel"] - end.params["logits"]["kernel"]).min() > 0


def test_optimiser_has_no_state_for_frozen_weights() -> None:
    start, _, _, tx = frozen_run(spec_of(), steps=0)
    sizes = {leaf.size for leaf in jax.tree.leaves(tx.init(start.params)) if leaf.ndim}
    assert sizes == {6 * 3, 3}  # two moments of the head's kernel and bias


def test_frozen_run_is_resumed_from_its_checkpoint(tmp_path: Path) -> None:
    start, end, _, _ = frozen_run(spec_of(), steps=2)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(end, spec_of(), {"merit": 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        again = checkpoints.restore_latest(start)
    assert jax.tree.structure(again) == jax.tree.structure(end)
    assert_equal(again, end)


def test_member_of_an_ensemble_is_the_donor(capsys) -> None:
    other = tiny.spec(model="dbn", network={"hidden_units": (5,)}, window_frames=4)
    members = {
        "other": donor_of(other),
        "one": donor_of(spec_of(), 1),
        "two": donor_of(spec_of(), 2),
    }
    ensemble = loading.ensemble(members)
    state, loaded = with_donor_weights(state_of(spec_of(), 3), ensemble, spec_of())
    assert_equal(state.params, members["one"].variables["params"])
    assert "logits/kernel" in loaded
    assert "member 2 of the ensemble of 3" in capsys.readouterr().err


def test_ensemble_without_such_a_member_names_those_it_has() -> None:
    other = tiny.spec(model="dbn", network={"hidden_units": (5,)}, window_frames=4)
    ensemble = loading.ensemble({"a": donor_of(other), "b": donor_of(spec_of())})
    with pytest.raises(UserError) as info:
        with_donor_weights(state_of(paper_spec(), 3), ensemble, paper_spec())
    assert (
        "train one of them: --config.model=dbn --config.network.hidden_units='(5,)'; or "
        "--config.model=dbn --config.network.hidden_units='(8, 6)'"
    ) in str(info.value)


def test_members_of_ensembles_of_ensembles_are_donors() -> None:
    inner = loading.ensemble({"a": donor_of(spec_of(), 1), "b": donor_of(spec_of(), 2)})
    other = tiny.spec(model="dbn", network={"hidden_units": (5,)}, window_frames=4)
    ensemble = loading.ensemble({"one": donor_of(other), "two": inner})
    state, _ = with_donor_weights(state_of(spec_of(), 3), ensemble, spec_of())
    assert_equal(state.params, donor_of(spec_of(), 1).variables["params"])

"""Ensembles of weights."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.weights import loading, weight_file
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

LEVELS = np.random.default_rng(0).normal(size=(3, 298, 16)).astype(np.float32)


def random_weights(seed: int, **changes: Any) -> Weights:
    spec = tiny.spec(**changes)
    variables: Any = specs.build(spec).init(jax.random.key(seed), LEVELS, train=False)
    variables = {name: jax.device_get(variables[name]) for name in ("params", "batch_stats")}
    return Weights(spec, variables, step=7, metrics={"accuracy": 0.5})


def outputs(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and embeddings of LEVELS."""
    module = specs.build(weights.spec)
    logits, state = module.apply(weights.variables, LEVELS, train=False, mutable=["intermediates"])
    sown: Any = state["intermediates"]
    return np.asarray(logits), np.asarray(sown["embedding"][0])


@pytest.fixture(scope="module")
def members() -> dict[str, Weights]:
    return {
        "first": random_weights(0),
        "second": random_weights(1),
        "other": random_weights(2, model="short_chunk", network={"width": 0.05}),
    }


def test_ensemble_predicts_mean_logits_of_its_members(tmp_path: Path, members: dict[str, Weights]):
    combined = loading.ensemble(members)
    assert combined.metrics == {}
    logits, embedding = outputs(combined)
    each_logits, each_embedding = zip(*map(outputs, members.values()), strict=True)
    np.testing.assert_allclose(logits, np.mean(each_logits, axis=0), atol=1e-5)
    np.testing.assert_allclose(embedding, np.concatenate(each_embedding, axis=1), atol=1e-5)
    path = tmp_path / "combined.safetensors"
    weight_file.write(path, combined, dtype="float32")
    np.testing.assert_array_equal(outputs(loading.load(str(path)))[0], logits)


def test_weights_keep_their_licences(tmp_path: Path, members: dict[str, Weights]):
    licensed = {
        name: dataclasses.replace(member, licence=text)
        for (name, member), text in zip(members.items(), ("Free.", "", "Free."), strict=True)
    }
    assert loading.ensemble(licensed).licence == "Free."
    path = tmp_path / "one.safetensors"
    weight_file.write(path, licensed["first"], dtype="float32")
    assert loading.load(str(path)).licence == "Free."


def test_several_files_load_as_an_ensemble(tmp_path: Path, members: dict[str, Weights]):
    files = []
    for name, member in members.items():
        files.append(str(tmp_path / f"{name}.safetensors"))
        weight_file.write(Path(files[-1]), member, dtype="float32")
    expected, _ = outputs(loading.ensemble(members))
    np.testing.assert_array_equal(outputs(loading.load(*files))[0], expected)


@pytest.mark.parametrize(
    ("field", "value"), [("mean", 99.0), ("classes", ("a", "b", "d")), ("multi_label", True)]
)
def test_members_with_different_input_or_classes_are_rejected(
    members: dict[str, Weights], field: str, value: Any
):
    first = members["first"]
    changed = dataclasses.replace(first.spec, **{field: value})
    with pytest.raises(UserError, match=f"first and different differ in {field};"):
        loading.ensemble({"first": first, "different": dataclasses.replace(first, spec=changed)})


def test_member_gets_windows_of_its_own_length(members: dict[str, Weights]):
    other = members["other"]
    short = dataclasses.replace(
        other, spec=dataclasses.replace(other.spec, window_frames=100, hop_frames=66)
    )
    combined = loading.ensemble({"short": short, "first": members["first"]})
    assert combined.spec.window_frames == 298
    module = specs.build(short.spec)
    windows = [LEVELS[:, start : start + 100] for start in (0, 66, 132, 198)]
    each: Any = [module.apply(short.variables, window, train=False) for window in windows]
    expected = (outputs(members["first"])[0] + np.mean(each, axis=0)) / 2
    np.testing.assert_allclose(outputs(combined)[0], expected, atol=1e-5)


def test_ensemble_can_be_a_member(members: dict[str, Weights]):
    pair = loading.ensemble({name: members[name] for name in ("first", "second")})
    nested = loading.ensemble({"pair": pair, "other": members["other"]})
    expected = (outputs(pair)[0] + outputs(members["other"])[0]) / 2
    np.testing.assert_allclose(outputs(nested)[0], expected, atol=1e-5)

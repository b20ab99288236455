"""Several weights as one network."""

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


def fresh(seed: int, **changes: Any) -> Weights:
    spec = tiny.spec(**changes)
    variables: Any = specs.build(spec).init(jax.random.key(seed), LEVELS, train=False)
    kept = {name: jax.device_get(variables[name]) for name in ("params", "batch_stats")}
    return Weights(spec, kept, step=7, metrics={"accuracy": 0.5})


def said(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and embeddings of LEVELS."""
    module = specs.build(weights.spec)
    logits, state = module.apply(weights.variables, LEVELS, train=False, mutable=["intermediates"])
    sown: Any = state["intermediates"]
    return np.asarray(logits), np.asarray(sown["embedding"][0])


@pytest.fixture(scope="module")
def members() -> dict[str, Weights]:
    return {
        "first": fresh(0),
        "second": fresh(1),
        "other": fresh(2, model="short_chunk", network={"width": 0.05}),
    }


def test_an_ensemble_says_the_mean_of_its_members(tmp_path: Path, members: dict[str, Weights]):
    together = loading.ensemble(members)
    assert together.metrics == {}
    each = [said(member) for member in members.values()]
    logits, embedding = said(together)
    np.testing.assert_allclose(logits, np.mean([one for one, _ in each], axis=0), atol=1e-5)
    np.testing.assert_allclose(embedding, np.concatenate([e for _, e in each], axis=1), atol=1e-5)
    path = tmp_path / "together.safetensors"
    weight_file.write(path, together, dtype="float32")
    np.testing.assert_array_equal(said(loading.load(str(path)))[0], logits)


def test_licences_go_with_the_weights(tmp_path: Path, members: dict[str, Weights]):
    licensed = {
        name: dataclasses.replace(member, licence=text)
        for (name, member), text in zip(members.items(), ("Free.", "", "Free."), strict=True)
    }
    assert loading.ensemble(licensed).licence == "Free."
    path = tmp_path / "one.safetensors"
    weight_file.write(path, licensed["first"], dtype="float32")
    assert loading.load(str(path)).licence == "Free."


def test_weights_from_several_files_are_one(tmp_path: Path, members: dict[str, Weights]):
    files = []
    for name, member in members.items():
        files.append(str(tmp_path / f"{name}.safetensors"))
        weight_file.write(Path(files[-1]), member, dtype="float32")
    expected, _ = said(loading.ensemble(members))
    np.testing.assert_array_equal(said(loading.load(*files))[0], expected)


@pytest.mark.parametrize(
    ("field", "value"), [("mean", 99.0), ("classes", ("a", "b", "d")), ("multi_label", True)]
)
def test_members_must_hear_the_same(members: dict[str, Weights], field: str, value: Any):
    first = members["first"]
    changed = dataclasses.replace(first.spec, **{field: value})
    with pytest.raises(UserError, match=f"first and odd differ in {field};"):
        loading.ensemble({"first": first, "odd": dataclasses.replace(first, spec=changed)})


def test_a_member_hears_windows_of_its_own_length(members: dict[str, Weights]):
    other = members["other"]
    short = dataclasses.replace(
        other, spec=dataclasses.replace(other.spec, window_frames=100, hop_frames=66)
    )
    together = loading.ensemble({"short": short, "first": members["first"]})
    assert together.spec.window_frames == 298
    module = specs.build(short.spec)
    parts = [LEVELS[:, start : start + 100] for start in (0, 66, 132, 198)]
    each: Any = [module.apply(short.variables, part, train=False) for part in parts]
    expected = (said(members["first"])[0] + np.mean(each, axis=0)) / 2
    np.testing.assert_allclose(said(together)[0], expected, atol=1e-5)


def test_an_ensemble_may_be_a_member(members: dict[str, Weights]):
    pair = loading.ensemble({name: members[name] for name in ("first", "second")})
    nested = loading.ensemble({"pair": pair, "other": members["other"]})
    expected = (said(pair)[0] + said(members["other"])[0]) / 2
    np.testing.assert_allclose(said(nested)[0], expected, atol=1e-5)

"""Heads as small files that name their body."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny

from deepgenre import models
from deepgenre.errors import UserError
from deepgenre.training import donors
from deepgenre.training.logistic import Head, unit
from deepgenre.weights import heads, loading, weight_file
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

RNG = np.random.default_rng(0)
STATISTICS = {"batch_stats": {}}
LEVELS = RNG.normal(size=(2, 298, 16)).astype(np.float32)


def embeddings(weights: Weights) -> tuple[np.ndarray, dict]:
    """Returns logits of LEVELS, and what is sown."""
    outputs = specs.build(weights.spec).apply(
        weights.variables, LEVELS, train=False, mutable=["intermediates"]
    )
    logits, state = jax.device_get(outputs)
    return logits, {name: value[0] for name, value in state["intermediates"].items()}


@pytest.fixture(scope="module")
def body() -> Weights:
    return tiny.untrained(tiny.spec(model="short_chunk", network={"width": 0.05}))


@pytest.fixture(scope="module")
def fitted(body: Weights) -> Head:
    width = embeddings(body)[1]["embedding"].shape[1]
    examples = unit(RNG.normal(size=(4, width)))
    mean, scale = RNG.normal(size=width), RNG.uniform(0.5, 1, width)
    return Head(mean, scale, RNG.normal(size=(width, 2)), RNG.normal(size=2), examples, False)


@pytest.fixture
def path(tmp_path: Path, monkeypatch, body: Weights, fitted: Head) -> Path:
    """Returns the file of a head; its body is in the folder of imported weights."""
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path / "imported"))
    weight_file.write(tmp_path / "imported" / "mybody.safetensors", body, dtype="float32")
    spec = heads.spec_of(body, "mybody", ("x", "y"), multi_label=False, num_songs=4)
    head = {
        "params": {"logits": {"kernel": fitted.kernel, "bias": fitted.bias}},
        "batch_stats": {n: getattr(fitted, n) for n in ("mean", "scale", "examples")},
    }
    weight_file.write(tmp_path / "head.safetensors", Weights(spec, head, 1, {}), dtype="float32")
    return tmp_path / "head.safetensors"


def test_a_head_is_linear_on_the_embedding_of_its_body(path: Path, body: Weights, fitted: Head):
    logits, sown = embeddings(loading.load(str(path)))
    embedding = embeddings(body)[1]["embedding"]
    np.testing.assert_allclose(sown["embedding"], embedding, atol=1e-5)
    expected = fitted.standardised(embedding) @ fitted.kernel + fitted.bias
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    familiar = [fitted.familiarity(row[None]) for row in embedding]
    np.testing.assert_allclose(sown["familiarity"], familiar, atol=1e-5)


def test_layers_run_with_their_parameters_only(path: Path):
    """Methods of explanation intercept layers, and read the parameters of each."""

    def intercept(run, args, kwargs, context):
        assert not isinstance(context.module, nn.Conv) or "params" in context.module.variables
        return run(*args, **kwargs)

    weights = loading.load(str(path))
    with nn.intercept_methods(intercept):
        embeddings(weights)


def test_the_file_is_small_and_an_export_is_complete(path: Path, tmp_path: Path):
    whole = loading.load(str(path))
    weight_file.write(tmp_path / "whole.safetensors", whole, dtype="float32")
    (tmp_path / "imported" / "mybody.safetensors").unlink()
    logits = embeddings(loading.load(str(tmp_path / "whole.safetensors")))[0]
    np.testing.assert_array_equal(logits, embeddings(whole)[0])
    names = {*weight_file.read(path).variables["params"]}
    assert names == {"logits"}


def test_a_missing_body_is_one_line(path: Path, tmp_path: Path):
    (tmp_path / "imported" / "mybody.safetensors").rename(tmp_path / "mybody.safetensors")
    assert loading.load(str(path)).spec.model == models.LINEAR_HEAD  # it lies beside the head
    (tmp_path / "mybody.safetensors").unlink()
    with pytest.raises(UserError, match=r"needs the weights 'mybody', which are missing; put"):
        loading.load(str(path))


def test_another_body_of_the_name_is_refused(path: Path, tmp_path: Path, body: Weights):
    other = dataclasses.replace(body, variables=jax.tree.map(lambda x: x + 1, body.variables))
    place = tmp_path / "imported" / "mybody.safetensors"
    weight_file.write(place, other, dtype="float32")
    with pytest.raises(UserError, match=r"was made with other weights 'mybody' \(\w{12}, but "):
        loading.load(str(path))
    place.unlink()
    path.rename(tmp_path / "mybody.safetensors")  # a head that names itself
    with pytest.raises(UserError, match="which are missing"):
        loading.load(str(tmp_path / "mybody.safetensors"))


def test_training_can_begin_from_a_head(path: Path):
    weights = loading.load(str(path))
    donor = donors.donor(weights, weights.spec)
    assert donor.spec.model == "short_chunk" and donor.spec.classes == ("x", "y")
    np.testing.assert_allclose(embeddings(donor)[0], embeddings(weights)[0], atol=1e-4)
    params = {**weights.variables["params"], "body": {}}
    with pytest.raises(UserError, match="on the embedding of 'short_chunk', which has no last"):
        donors.below_head(dataclasses.replace(weights, variables={"params": params, **STATISTICS}))


def test_a_head_that_names_no_body_is_refused(path: Path):
    head = weight_file.read(path)
    for of in (None, {"name": "../x", "digest": ""}, {"name": 3, "digest": ""}):
        spec = dataclasses.replace(head.spec, network={**head.spec.network, "of": of})
        weight_file.write(path, dataclasses.replace(head, spec=spec), dtype="float32")
        with pytest.raises(UserError, match="does not say which weights it belongs to"):
            loading.load(str(path))

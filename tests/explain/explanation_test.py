"""On a network trained here, in seconds, to tell whether a patch is anywhere in a window."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
import tiny

from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.explain import explanation
from deepgenre.explain.explanation import METHODS, attribute, explain
from deepgenre.explain.sound import smoothed
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights
from deepgenre.weights.state import inference_variables, initial_state

FRAMES, BANDS, PATCH = 64, 32, 6
SPEC = tiny.spec(
    model="short_chunk",
    network={"width": 0.0625, "dropout": 0.0},
    classes=("patch", "none"),
    frontend=FrontEnd(n_mels=BANDS),
    window_frames=FRAMES,
    hop_frames=FRAMES,
)


def clips(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noise (count, frames, bands), every second with a patch, and its first cells."""
    generator = np.random.default_rng(seed)
    levels = generator.integers(60, 180, (count, FRAMES, BANDS)).astype(np.uint8)
    places = generator.integers((0, 0), (FRAMES - PATCH, BANDS - PATCH), (count, 2))
    for clip, (frame, band) in zip(levels[::2], places[::2], strict=True):
        clip[frame : frame + PATCH, band : band + PATCH] = 255
    return levels, places


@pytest.fixture(scope="module")
def network() -> Weights:
    tx = optax.adam(3e-3)
    state = initial_state(specs.build(SPEC), tx, (1, FRAMES, BANDS), seed=0)
    step = compile_train_step(SPEC, tx, Recipe(), num_devices=1)
    for number in range(80):
        levels, _ = clips(number, 32)
        state, _ = step(state, {"levels": levels, "labels": np.arange(32) % 2})
    return Weights(SPEC, jax.device_get(inference_variables(state)), 80, {})


@pytest.mark.parametrize("method", METHODS)
def test_the_map_finds_the_patch_that_the_class_depends_on(network, method):
    levels, places = clips(1000, 100)
    found = []
    for clip, place in zip(levels[::2], places[::2], strict=True):
        values = smoothed(np.asarray(attribute(network, clip, "patch", method).map), 1.0)
        peak = np.array(np.unravel_index(np.argmax(values), values.shape))
        found.append((np.abs(peak - place - PATCH // 2) <= PATCH // 2 + 4).all())
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("method", ["integrated_gradients", "lrp", "shap"])
def test_the_map_adds_up(network, method):
    """To the difference of logits; with the biases' relevance, to the logit."""
    for clip in clips(7, 3)[0]:
        attribution = attribute(network, clip, "patch", method)
        assert attribution.completeness_error < 0.01
        if method != "lrp":
            empty = np.full_like(clip, 128)  # the mean of the spec
            logits = [float(explain(network, x, "patch", "gradient").logit) for x in (clip, empty)]
            assert attribution.map.sum() == pytest.approx(logits[0] - logits[1], rel=0.011)


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_destroy_the_map(network, method):
    clip = clips(7, 1)[0][0]
    random = dataclasses.replace(network, variables=tiny.untrained(SPEC).variables)
    found = [attribute(w, clip, "patch", method).map for w in (network, random)]
    maps = [smoothed(np.asarray(one), 1.0) for one in found]
    centred = [one - one.mean() for one in maps]
    norms = [np.linalg.norm(one) for one in centred]
    assert norms[0] > 0
    assert abs(np.vdot(*centred)) <= 0.5 * norms[0] * norms[1]  # 0 <= 0 for an empty map


def test_curves_of_the_map_are_better_than_random_orders(network):
    clip = clips(7, 1)[0][0]
    found = explain(network, clip, "patch")
    assert found.merit["deletion"] < found.merit["random_deletion"] - 0.1
    assert found.merit["insertion"] > found.merit["random_insertion"] + 0.1
    assert found.curves.deletion[0] == pytest.approx(found.score, abs=1e-5)
    assert found.curves.insertion[-1] == pytest.approx(found.score, abs=1e-5)
    assert found.curves.insertion[0] == pytest.approx(found.curves.deletion[-1], abs=1e-5)


def test_without_a_target_the_best_class_is_explained(network):
    with_patch, without = clips(7, 2)[0]
    assert explain(network, with_patch, method="gradient").target == "patch"
    assert explain(network, without, method="gradient").target == "none"


def test_a_network_is_compiled_once_per_method(network):
    levels, _ = clips(7, 3)
    explain(network, levels[0], "patch", "gradient")
    compiled = explanation._compiled(json.dumps(specs.to_json(SPEC)))
    sizes = [function._cache_size() for function in dataclasses.astuple(compiled)]
    for clip in levels:
        explain(network, clip, "none", "gradient")
    assert compiled is explanation._compiled(json.dumps(specs.to_json(SPEC)))
    assert sizes == [function._cache_size() for function in dataclasses.astuple(compiled)]


def test_mistakes_are_named(network):
    clip = clips(7, 1)[0][0]
    with pytest.raises(UserError, match="--target: 'pach' is unknown; did you mean 'patch'"):
        explain(network, clip, "pach")
    with pytest.raises(UserError, match="--method: 'lpr' is unknown; did you mean 'lrp'"):
        explain(network, clip, "patch", "lpr")
    with pytest.raises(UserError, match="levels: must be finite"):
        explain(network, np.full(clip.shape, np.nan), "patch")
    with pytest.raises(UserError, match=r"of shape \(64, 32\); is of \(63, 32\)"):
        explain(network, clip[1:], "patch")
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), network.variables)
    with pytest.raises(UserError, match="scores of short_chunk are not finite"):
        explain(dataclasses.replace(network, variables=broken), clip)

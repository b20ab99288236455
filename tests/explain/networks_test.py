"""Networks of every kind of input, with random weights."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import tiny

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.explain import explanation
from deepgenre.explain.explanation import METHODS, attribute
from deepgenre.weights import heads, loading
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Weights

LOG_MEL = FrontEnd(n_mels=32)
MFCC = FrontEnd(kind="mfcc", n_mels=32, n_mfcc=13)
MUSICNN = FrontEnd(kind="musicnn", n_mels=32, sample_rate_hz=16_000, n_fft=512, hop_length=256)
SAMPLES = FrontEnd(kind="waveform", sample_rate_hz=16_000)

REFUSED = {
    **dict.fromkeys(("hamel", "spherical_kmeans", "kernel_ridge", "dbn"), ("grad_cam", "lrp")),
    **dict.fromkeys(("multi_scale", "musicnn_moods"), ("grad_cam",)),
}


def case(model: str, frontend: FrontEnd, frames: int) -> tuple[Weights, np.ndarray]:
    """Returns a small network with random weights, and the levels of a window."""
    network = {"width": 0.0625} if "width" in models.options(model) else {}
    spec = tiny.spec(model=model, network=network, frontend=frontend, window_frames=frames)
    generator = np.random.default_rng(0)
    levels = generator.integers(0, 255, (frames, frontend.stored_bands))
    weights = tiny.untrained(spec)
    of_scans = jax.tree.map(
        np.abs, weights.variables.get("batch_stats", {})
    )  # variances among them
    variables = {**weights.variables, "batch_stats": of_scans}
    return dataclasses.replace(weights, variables=variables), levels.astype(frontend.stored_dtype)


@pytest.mark.parametrize(
    ("model", "frontend", "frames"),
    [
        ("paper_1d", LOG_MEL, 298),
        ("short_chunk", LOG_MEL, 64),
        ("resnet", LOG_MEL, 64),
        ("musicnn", MUSICNN, 32),
        ("musicnn_moods", MUSICNN, 32),
        ("li", MFCC, 190),
        ("sample_cnn", SAMPLES, 6_561),
    ],
)
def test_relevance_is_conserved(model, frontend, frames):
    """With that of biases it adds up to the logit: networks of homogeneous layers only."""
    attribution = attribute(*case(model, frontend, frames), "b", "lrp")
    assert attribution.completeness_error < 1e-4
    assert np.abs(attribution.map).max() > 0


@pytest.mark.parametrize(
    ("model", "frontend", "frames"),
    [
        ("spherical_kmeans", LOG_MEL, 40),
        ("dbn", MFCC, 40),
        ("musicnn", MUSICNN, 32),
        ("sample_cnn", SAMPLES, 6_561),
    ],
)
def test_integrated_gradients_are_complete_for_every_kind_of_input(model, frontend, frames):
    attribution = attribute(*case(model, frontend, frames), "b", "integrated_gradients")
    assert attribution.completeness_error < 0.01
    assert np.abs(attribution.map).max() > 0


@pytest.mark.parametrize(
    ("model", "method", "message"),
    [
        ("dbn", "grad_cam", "with 6 steps of time; dbn has none"),
        ("dbn", "lrp", "lrp has rules for convolutions, and dbn has none"),
        ("musicnn_moods", "grad_cam", "of one convolution .*; musicnn_moods has none"),
    ],
)
def test_what_a_method_cannot_explain_is_named(model, method, message):
    frontend = MUSICNN if model.startswith("musicnn") else LOG_MEL
    with pytest.raises(UserError, match=f"--method: {method}|{message}") as error:
        attribute(*case(model, frontend, 40), "b", method)
    error.match(message)


@pytest.mark.drill
@pytest.mark.parametrize("model", models.MODELS)
def test_every_network_has_each_map_or_a_line(model):
    """Traced, not computed."""
    row = models.MODELS[model]
    kinds = {"samples": SAMPLES, "MFCC": MFCC, "'musicnn'": MUSICNN}
    frontend = next((kinds[word] for word in kinds if word in row.input), LOG_MEL)
    frontend = dataclasses.replace(frontend, n_mels=96)
    weights, levels = case(model, frontend, max(row.min_frames, 256))
    network = explanation._compiled(json.dumps(specs.to_json(weights.spec)))
    plane, _ = jax.eval_shape(network.logits, weights.variables, levels)
    refused = []
    for method in METHODS:
        try:
            found = jax.eval_shape(
                functools.partial(network.attribute, method=method),
                *(weights.variables, plane, np.int32(1), np.int32(0)),
            )
            assert found.map.shape == plane.values.shape
        except UserError:
            refused.append(method)
    assert refused == [*REFUSED.get(model, [])]


def test_a_head_has_the_maps_of_the_network_whose_embedding_it_uses():
    body, levels = case("short_chunk", LOG_MEL, 96)
    spec = heads.spec_of(body, "body", ("a", "b"), multi_label=True, num_songs=2)
    head = heads.attached(tiny.untrained(spec), body)
    for method in ("grad_cam", "lrp"):
        found = attribute(head, levels, "b", method)
        assert np.abs(found.map).max() > 0
        assert np.isnan(found.completeness_error) or found.completeness_error < 1e-4


def test_an_ensemble_is_explained_as_one_network():
    members = {name: case(name, LOG_MEL, 64)[0] for name in ("short_chunk", "spherical_kmeans")}
    levels = case("short_chunk", LOG_MEL, 64)[1]
    ensemble = attribute(loading.ensemble(members), levels, "b", "gradient").map
    each = [attribute(member, levels, "b", "gradient").map for member in members.values()]
    np.testing.assert_allclose(ensemble, (each[0] + each[1]) / 2, atol=1e-5)

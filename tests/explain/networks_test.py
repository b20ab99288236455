"""Networks of every kind of input, with random weights."""

import numpy as np
import pytest
import tiny

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.explain.explanation import attribute
from deepgenre.weights import loading
from deepgenre.weights.spec import Weights

LOG_MEL = FrontEnd(n_mels=32)
MFCC = FrontEnd(kind="mfcc", n_mels=32, n_mfcc=13)
MUSICNN = FrontEnd(kind="musicnn", n_mels=32, sample_rate_hz=16_000, n_fft=512, hop_length=256)
SAMPLES = FrontEnd(kind="waveform", sample_rate_hz=16_000)


def case(model: str, frontend: FrontEnd, frames: int) -> tuple[Weights, np.ndarray]:
    """Returns a small network with random weights, and the levels of a window."""
    network = {"width": 0.0625} if "width" in models.options(model) else {}
    spec = tiny.spec(model=model, network=network, frontend=frontend, window_frames=frames)
    generator = np.random.default_rng(0)
    levels = generator.integers(0, 255, (frames, frontend.stored_bands))
    return tiny.untrained(spec), levels.astype(frontend.stored_dtype)


@pytest.mark.parametrize(
    ("model", "frontend", "frames"),
    [
        ("paper_1d", LOG_MEL, 298),
        ("short_chunk", LOG_MEL, 64),
        ("resnet", LOG_MEL, 64),
        ("musicnn", MUSICNN, 32),
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


@pytest.mark.parametrize("method", ["grad_cam", "lrp"])
def test_methods_for_convolutions_name_networks_without_them(method):
    with pytest.raises(UserError, match=f"--method: {method} .*; dbn|{method} has rules .* dbn"):
        attribute(*case("dbn", LOG_MEL, 40), "b", method)


def test_an_ensemble_is_explained_as_one_network():
    members = {name: case(name, LOG_MEL, 64)[0] for name in ("short_chunk", "spherical_kmeans")}
    levels = case("short_chunk", LOG_MEL, 64)[1]
    ensemble = attribute(loading.ensemble(members), levels, "b", "gradient").map
    each = [attribute(member, levels, "b", "gradient").map for member in members.values()]
    np.testing.assert_allclose(ensemble, (each[0] + each[1]) / 2, atol=1e-5)

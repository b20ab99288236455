"""From windows to songs: means, maxima, attention."""

from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.inference import aggregation
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights import spec as specs

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.1, 0.1, 0.8]], np.float32)


def heard(attention: np.ndarray | None = None) -> FileOutputs:
    return FileOutputs(Path("x"), np.arange(3.0), SCORES, None, attention=attention)


def test_means_and_maxima_by_hand():
    genres, tags = tiny.spec(), tiny.spec(multi_label=True)
    for spec in (genres, tags):
        mean = aggregation.song_scores(heard(), spec, "mean")
        np.testing.assert_allclose(mean, [0.3, 0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(aggregation.song_scores(heard(), tags, "max"), [0.7, 0.6, 0.8])
    shared = aggregation.song_scores(heard(), genres, "max")
    np.testing.assert_allclose(shared, np.array([0.7, 0.6, 0.8]) / 2.1, rtol=1e-6)


def test_attention_by_hand():
    tags = tiny.spec(multi_label=True)
    equal = aggregation.song_scores(heard(np.full((3, 2), 5.0)), tags, "attention")
    np.testing.assert_allclose(equal, [0.3, 0.3, 0.4], rtol=1e-6)
    # One head hears the first window three times as much as each other, the other head the last.
    masses = np.log(np.array([[3, 1], [1, 1], [1, 3]], np.float32))
    weighted = aggregation.song_scores(heard(masses), tags, "attention")
    np.testing.assert_allclose(weighted, np.array([0.4, 0.2, 0.4]) @ SCORES, rtol=1e-6)


def test_a_temperature_counts_for_songs():
    hot = tiny.spec(temperature=2.0)
    roots = np.sqrt(aggregation.song_scores(heard(), tiny.spec(), "mean"))
    found = aggregation.song_scores(heard(), hot, "mean")
    np.testing.assert_allclose(found, roots / roots.sum(), rtol=1e-6)


def test_attention_needs_a_network_that_has_it():
    with pytest.raises(
        UserError, match=r"--aggregate: 'paper_1d' has no attention .*only attention has"
    ):
        aggregation.check("attention", tiny.spec())
    aggregation.check("attention", tiny.spec(model="attention"))
    aggregation.check("max", tiny.spec())


def test_weights_of_windows_are_the_token_s_attention_in_one_sequence():
    spec = tiny.spec(model="attention", network={"width": 0.05}, window_frames=256)
    variables = tiny.untrained(spec).variables
    levels = np.random.default_rng(0).standard_normal((3, 256, 16)).astype(np.float32)

    @jax.jit
    def run(levels):
        return specs.build(spec).apply(
            variables, levels, train=False, mutable=True,
            capture_intermediates=lambda submodule, _: submodule.name == "ResidualBlock_6",
        )[1]["intermediates"]  # fmt: skip

    layer, sown = variables["params"]["TransformerLayer_0"], jax.device_get(run(levels))
    frames = sown["ResidualBlock_6"]["__call__"][0].mean(axis=2)  # (windows, frames, units)
    token = np.asarray(jax.random.uniform(jax.random.key(0), (1, frames.shape[-1])))
    asking, asked = (layer["MultiHeadDotProductAttention_0"][name] for name in ("query", "key"))
    query = np.einsum("tu,uhd->thd", token, asking["kernel"])[0] + asking["bias"]
    keys = np.einsum("wfu,uhd->wfhd", frames, asked["kernel"]) + asked["bias"]
    alike = np.einsum("hd,wfhd->hwf", query, keys) / np.sqrt(query.shape[-1])
    numerators = np.exp(alike)
    shares = numerators.sum(axis=2) / numerators.sum(axis=(1, 2))[:, None]  # (heads, windows)
    found = aggregation.window_weights(heard(sown["attention"][0]))
    np.testing.assert_allclose(found, shares.mean(axis=0), rtol=1e-4)

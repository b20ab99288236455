"""Scores of songs from the scores of windows: mean, maximum, attention."""

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


def outputs(attention: np.ndarray | None = None) -> FileOutputs:
    return FileOutputs(Path("x"), np.arange(3.0), SCORES, None, attention=attention)


def test_mean_and_maximum_equal_hand_computed_values():
    genres, tags = tiny.spec(), tiny.spec(multi_label=True)
    for spec in (genres, tags):
        mean = aggregation.song_scores(outputs(), spec, "mean")
        np.testing.assert_allclose(mean, [0.3, 0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(aggregation.song_scores(outputs(), tags, "max"), [0.7, 0.6, 0.8])
    shared = aggregation.song_scores(outputs(), genres, "max")
    np.testing.assert_allclose(shared, np.array([0.7, 0.6, 0.8]) / 2.1, rtol=1e-6)


def test_attention_weights_windows():
    tags = tiny.spec(multi_label=True)
    equal = aggregation.song_scores(outputs(np.full((3, 2), 5.0)), tags, "attention")
    np.testing.assert_allclose(equal, [0.3, 0.3, 0.4], rtol=1e-6)
    # One head attends three times as much to the first window, the other head to the last.
    attention = np.log(np.array([[3, 1], [1, 1], [1, 3]], np.float32))
    weighted = aggregation.song_scores(outputs(attention), tags, "attention")
    np.testing.assert_allclose(weighted, np.array([0.4, 0.2, 0.4]) @ SCORES, rtol=1e-6)


def test_temperature_is_applied_to_song_scores():
    calibrated = tiny.spec(temperature=2.0)
    roots = np.sqrt(aggregation.song_scores(outputs(), tiny.spec(), "mean"))
    scores = aggregation.song_scores(outputs(), calibrated, "mean")
    np.testing.assert_allclose(scores, roots / roots.sum(), rtol=1e-6)


def test_attention_requires_a_network_with_attention():
    with pytest.raises(
        UserError, match=r"--aggregate: 'paper_1d' has no attention .*only attention has"
    ):
        aggregation.check("attention", tiny.spec())
    aggregation.check("attention", tiny.spec(model="attention"))
    aggregation.check("max", tiny.spec())


def test_window_weights_equal_attention_of_the_token_over_all_windows():
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
    query_layer, key_layer = (
        layer["MultiHeadDotProductAttention_0"][name] for name in ("query", "key")
    )
    query = np.einsum("tu,uhd->thd", token, query_layer["kernel"])[0] + query_layer["bias"]
    keys = np.einsum("wfu,uhd->wfhd", frames, key_layer["kernel"]) + key_layer["bias"]
    logits = np.einsum("hd,wfhd->hwf", query, keys) / np.sqrt(query.shape[-1])
    numerators = np.exp(logits)
    shares = numerators.sum(axis=2) / numerators.sum(axis=(1, 2))[:, None]  # (heads, windows)
    weights = aggregation.window_weights(outputs(sown["attention"][0]))
    np.testing.assert_allclose(weights, shares.mean(axis=0), rtol=1e-4)

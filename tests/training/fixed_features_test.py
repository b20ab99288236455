"""Features that no parameter changes are computed once, and training gives the same numbers."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.log import read_metrics
from deepgenre.training import loop, step
from deepgenre.training.fixed_features import read_features
from deepgenre.weights import checkpoint
from deepgenre.weights import spec as specs

KMEANS = (
    "model=spherical_kmeans", "frontend.n_mels=32", "pretrain_epochs=2", "num_epochs=3",
    "window_seconds=0", "network.dropout=0.2",
)  # fmt: skip


class Records:
    """Clips of noise, of given lengths."""

    def __init__(self, frames):
        rng = np.random.default_rng(0)
        self.frames = np.array(frames)
        self.clips = [rng.integers(0, 256, (count, 32)).astype(np.uint8) for count in frames]

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        return self.clips[index]


def run(monkeypatch, tones, workdir):
    flags = [f"--config.{field}" for field in KMEANS]
    assert tiny.call(monkeypatch, *tiny.settings(tones, f"--workdir={workdir}", *flags)) == 0
    losses = [line["loss"] for line in read_metrics(workdir) if line["split"] == "train"]
    return checkpoint.restore(workdir).variables, losses


def test_clips_are_described_once_and_the_run_has_the_same_numbers(monkeypatch, tones, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "read_features", lambda *_: None)
        expected, before = run(patch, tones, tmp_path / "in_each_step")
    monkeypatch.setattr(step, "features_of", lambda *_: pytest.fail("described in a step"))
    actual, after = run(monkeypatch, tones, tmp_path / "once")
    np.testing.assert_allclose(after, before, rtol=1e-4)
    assert len(set(after)) > 2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), actual, expected
    )


@pytest.mark.parametrize(
    ("frames", "model", "gain_db"),
    [
        ([100, 100], "paper_1d", 0.0),  # trained features
        ([100, 100], "spherical_kmeans", 3.0),  # augmented
        ([100, 110], "spherical_kmeans", 0.0),  # 12 windows of 2 clips
    ],
)
def test_features_that_change_are_not_computed_beforehand(frames, model, gain_db):
    config = defaults.get_config()
    config.model, config.augment.gain_db = model, gain_db
    spec = types.SimpleNamespace(window_frames=100)
    plan = types.SimpleNamespace(spec=spec, input_frames=100)
    assert read_features(None, plan, config, Records(frames)) is None  # pyright: ignore


def test_each_window_of_clips_that_are_a_little_longer_is_described():
    config = defaults.get_config()
    config.model = "spherical_kmeans"
    spec = tiny.spec(model=config.model, network={}, window_frames=20, frontend=FrontEnd(n_mels=32))
    module = specs.build(spec)
    variables: Any = module.init(jax.random.key(0), jnp.zeros((1, 20, 32)), train=False)
    head = variables["params"]["logits"]["kernel"]
    variables["params"]["logits"]["kernel"] = jax.random.normal(jax.random.key(1), head.shape)
    state = types.SimpleNamespace(**variables)
    plan = types.SimpleNamespace(spec=spec, input_frames=20)
    records = Records([20, 22, 19])
    read = read_features(state, plan, config, records)  # pyright: ignore
    assert read is not None and len(read.features) == 5
    found = read(np.array([2, 1, 1, 0]), np.array([0, 2, 0, 0]))["features"]
    windows = [np.pad(records[2], ((0, 1), (0, 0))), records[1][2:], records[1][:20], records[0]]
    x = specs.features_of(jnp.asarray(np.stack(windows)), spec)
    sown: Any = module.apply(variables, x, train=False, mutable=["intermediates"])[1]
    np.testing.assert_allclose(found, sown["intermediates"]["features"][0], atol=1e-4)
    of_windows: Any = module.apply(variables, x, train=False)
    of_features: Any = module.apply(variables, jnp.asarray(found), train=False)
    np.testing.assert_allclose(of_features, of_windows, atol=1e-3)

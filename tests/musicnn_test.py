"""musicnn: the networks, what they hear, and the import of the pretrained weights.

What the original package says was recorded with the package itself, in the environment it was
released for (TensorFlow 1.14, NumPy 1.16, librosa 0.7, ffmpeg). NumPy 2 under the package's own
front end overflows float16, and the networks then say the same of every recording.
"""

import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepgenre import audio, import_musicnn
from deepgenre.errors import UserError
from deepgenre.import_musicnn import MUSICNN_LAYERS, VGG_LAYERS, read_networks, to_flax
from deepgenre.models.musicnn import MusiCNN, MusiCNNVgg
from deepgenre.models.musicnn_features import WINDOW_FRAMES, musicnn_log_mel

SHARED = Path(
    os.environ.get("DEEPGENRE_SHARED", Path(__file__).resolve().parents[2] / "shared"), "data"
)
CLIP = SHARED / "mtat_sample" / "mp3" / "9" / "introspekt-ideology-01-knucklehead-0-29.mp3"
WHEEL = Path(os.environ.get("DEEPGENRE_MUSICNN_WHEEL", SHARED / import_musicnn.WHEEL))
needs_wheel = pytest.mark.skipif(
    not WHEEL.is_file(), reason=f"no wheel of musicnn 0.1.0 at {WHEEL} (DEEPGENRE_MUSICNN_WHEEL)"
)
needs_clip = pytest.mark.skipif(not CLIP.is_file(), reason=f"no MagnaTagATune clip at {CLIP}")

# The five likeliest tags by index, and their probabilities.
SAID_OF_WAVES = {  # of `waves()`
    "mtt_musicnn": {0: 0.1676658, 18: 0.1604843, 2: 0.1538827, 13: 0.1459598, 27: 0.1200550},
    "mtt_vgg": {6: 0.3901630, 3: 0.3291959, 14: 0.2865465, 10: 0.2389489, 0: 0.1644934},
    "msd_musicnn": {11: 0.3150538, 30: 0.1108226, 4: 0.0863867, 9: 0.0803941, 24: 0.0242354},
    "msd_vgg": {4: 0.4633178, 41: 0.2363491, 6: 0.1946870, 48: 0.1784835, 0: 0.1529758},
}
SAID_OF_CLIP = {  # of CLIP, the mean of its nine windows
    "mtt_musicnn": {3: 0.767939, 8: 0.512640, 6: 0.479403, 11: 0.284164, 5: 0.210554},
    "mtt_vgg": {3: 0.675492, 8: 0.650330, 6: 0.338216, 5: 0.255246, 11: 0.232284},
    "msd_musicnn": {4: 0.420795, 6: 0.383747, 48: 0.223227, 18: 0.119908, 41: 0.100325},
    "msd_vgg": {4: 0.338451, 30: 0.241577, 0: 0.140920, 28: 0.115659, 23: 0.107700},
}


def waves() -> np.ndarray:
    """A window that needs no random numbers: synthetic, (1, 187, 96)."""
    frame, band = np.mgrid[:WINDOW_FRAMES, :96]
    wave = np.sin(0.05 * frame * (1 + band / 40)) * np.cos(0.2 * band)
    return (1.5 + 1.5 * wave)[None].astype(np.float32)


def shapes(module: nn.Module) -> dict[str, Any]:
    window = jnp.zeros((1, WINDOW_FRAMES, 96))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), window, False))
    return {
        collection: jax.tree.map(lambda leaf: leaf.shape, variables[collection])
        for collection in ("params", "batch_stats")
    }


@pytest.mark.parametrize(("module", "count"), [(MusiCNN, 787_159), (MusiCNNVgg, 605_748)])
def test_parameter_counts(module: type[nn.Module], count: int) -> None:
    sizes = shapes(module(num_classes=50))["params"]  # pyright: ignore
    leaves = jax.tree.leaves(sizes, is_leaf=lambda node: isinstance(node, tuple))
    assert sum(int(np.prod(shape)) for shape in leaves) == count


SMALL = MusiCNN(3, dropout=0.0, timbral_filters=4, temporal_filters=3, mid_filters=5, dense_units=6)
SMALL_WINDOWS = (4, 66, 63)  # the least frames and bands that the VGG can pool


@functools.partial(jax.jit, static_argnums=(0, 3))
def train(
    module: nn.Module, variables: Any, x: jax.Array, collections: tuple[str, ...], seed: int = 0
) -> Any:
    rngs = {"dropout": jax.random.key(seed)}
    return module.apply(variables, x, True, rngs=rngs, mutable=list(collections))


@pytest.mark.parametrize(
    ("module", "width"),
    [(SMALL.clone(dropout=0.5), 6), (MusiCNNVgg(3, filters=4), 4)],
)
def test_training_moves_statistics_and_drops(module: nn.Module, width: int) -> None:
    x = jax.random.normal(jax.random.key(0), SMALL_WINDOWS)
    variables = jax.jit(lambda x: module.init(jax.random.key(1), x, False))(x)
    collections = ("batch_stats", "intermediates")
    logits, changed = train(module, variables, x, collections)
    assert logits.shape == (4, 3) and logits.dtype == jnp.float32
    assert changed["intermediates"]["embedding"][0].shape == (4, width)
    before, after = jax.device_get((variables["batch_stats"], changed["batch_stats"]))
    moved = jax.tree.map(lambda a, b: (a != b).any(), before, after)
    assert all(jax.tree.leaves(moved))
    again, _ = train(module, variables, x, collections, seed=1)
    assert (np.asarray(logits) != np.asarray(again)).any()


def test_batch_norm_takes_its_statistics_over_all_devices() -> None:
    x = jax.random.normal(jax.random.key(0), SMALL_WINDOWS)
    variables = jax.jit(lambda x: SMALL.init(jax.random.key(1), x, False))(x)
    together, _ = train(SMALL, variables, x, ("batch_stats",))

    def apart(module: nn.Module) -> float:
        """How far two devices with half the batch each end from one with all of it."""
        halves = jax.vmap(
            lambda half: train(module, variables, half, ("batch_stats",))[0], axis_name="devices"
        )(x.reshape(2, 2, *SMALL_WINDOWS[1:]))
        return np.abs(np.asarray(halves).reshape(4, 3) - np.asarray(together)).max()

    # Norms over four numbers magnify rounding; without synchronisation they differ altogether.
    assert apart(SMALL.clone(axis_name="devices")) < 0.01
    assert apart(SMALL) > 0.1


def test_log_mel_is_that_of_its_definition() -> None:
    librosa = pytest.importorskip("librosa")
    waveform = np.random.default_rng(0).normal(size=4096).clip(-1, 1).astype(np.float32)
    log_mel = musicnn_log_mel(waveform)
    assert log_mel.shape == (17, 96) and log_mel.dtype == np.float32
    padded = np.pad(waveform, 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    filters = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96)
    for frame in (0, 5, 16):
        spectrum = np.fft.rfft(padded[frame * 256 : frame * 256 + 512] * window)
        expected = np.log10(1 + 10_000 * filters @ np.abs(spectrum) ** 2)
        # float16 keeps 11 bits: 2 ** -12 of the power, 2.2e-4 of its decimal logarithm at most.
        np.testing.assert_allclose(log_mel[frame], expected, atol=2.3e-4)
    power = (10.0 ** log_mel.astype(np.float64) - 1) / 10_000
    np.testing.assert_allclose(power, power.astype(np.float16), rtol=1e-5)


def test_loud_music_stays_finite_and_is_clipped_at_full_scale() -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    loud = musicnn_log_mel(4 * sine)
    assert np.isfinite(loud).all()
    assert loud.max() > np.log10(np.finfo(np.float16).max)  # where float16 would overflow
    np.testing.assert_array_equal(loud, musicnn_log_mel(np.clip(4 * sine, -1, 1)))


@pytest.mark.parametrize(
    ("module", "layers"), [(MusiCNN(50), MUSICNN_LAYERS), (MusiCNNVgg(50), VGG_LAYERS)]
)
def test_every_variable_of_the_network_is_imported(
    module: nn.Module, layers: Mapping[str, tuple[str, ...]]
) -> None:
    wanted = shapes(module)
    tensors: dict[str, np.ndarray] = {"global_step": np.zeros(())}
    for layer, path in layers.items():
        node, stats = wanted["params"], wanted["batch_stats"]
        for part in path:
            node, stats = node[part], stats.get(part, {})
        names = {"kernel": "kernel", "bias": "beta" if stats else "bias", "scale": "gamma"}
        for leaf, shape in node.items():
            flat_time = path[0].startswith("mid_") and leaf == "kernel"
            made = (*shape[:2], 1, shape[2]) if flat_time else shape
            tensors[f"{layer}/{names[leaf]}"] = np.zeros(made, np.float32)
            tensors[f"{layer}/{names[leaf]}/Adam_1"] = np.zeros(made, np.float32)
        for leaf, shape in stats.items():
            name = {"mean": "moving_mean", "var": "moving_variance"}[leaf]
            tensors[f"{layer}/{name}"] = np.zeros(shape, np.float32)
    params, batch_stats = to_flax(tensors, layers)
    assert jax.tree.map(np.shape, {"params": params, "batch_stats": batch_stats}) == wanted


def test_a_file_that_is_not_the_wheel_is_a_user_error(tmp_path: Path) -> None:
    wheel = tmp_path / import_musicnn.WHEEL
    with pytest.raises(UserError, match="cannot be read"):
        read_networks(wheel)
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip
    with pytest.raises(UserError, match="is not the wheel"):
        read_networks(wheel)
    with pytest.raises(UserError, match="is not the wheel"):
        import_musicnn.fetch_wheel(tmp_path)


def test_a_failed_download_says_what_pip_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "pip"] and command[-1] == "musicnn==0.1.0"
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(UserError, match="ERROR: no network") as caught:
        import_musicnn.fetch_wheel(tmp_path / "new")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def networks() -> dict[str, import_musicnn.ImportedNetwork]:
    return read_networks(WHEEL)


def probabilities(network: import_musicnn.ImportedNetwork, windows: np.ndarray) -> np.ndarray:
    module = (MusiCNNVgg if network.name.endswith("vgg") else MusiCNN)(num_classes=50)
    variables = {"params": network.params, "batch_stats": network.batch_stats}
    logits = jax.jit(lambda x: module.apply(variables, x, False))(windows)
    return np.asarray(jax.nn.sigmoid(logits))


@needs_wheel
@pytest.mark.parametrize("name", SAID_OF_WAVES)
def test_imported_networks_say_what_the_package_says(
    name: str, networks: dict[str, import_musicnn.ImportedNetwork]
) -> None:
    said = probabilities(networks[name], waves())[0]
    expected = SAID_OF_WAVES[name]
    np.testing.assert_allclose(said[list(expected)], list(expected.values()), atol=1e-5)
    assert np.argsort(-said)[:5].tolist() == list(expected)


@needs_wheel
@needs_clip
@pytest.mark.parametrize("name", SAID_OF_CLIP)
def test_a_recording_is_tagged_as_the_package_tags_it(
    name: str, networks: dict[str, import_musicnn.ImportedNetwork]
) -> None:
    log_mel = musicnn_log_mel(audio.load(CLIP, 16_000))
    count = log_mel.shape[0] // WINDOW_FRAMES
    windows = log_mel[: count * WINDOW_FRAMES].reshape(count, WINDOW_FRAMES, 96)
    said = probabilities(networks[name], windows).mean(axis=0)
    expected = SAID_OF_CLIP[name]
    np.testing.assert_allclose(said[list(expected)], list(expected.values()), atol=1e-4)


@needs_wheel
def test_tags_and_licence_come_along(
    networks: dict[str, import_musicnn.ImportedNetwork],
) -> None:
    assert list(networks) == ["mtt_musicnn", "mtt_vgg", "msd_musicnn", "msd_vgg"]
    for network in networks.values():
        assert len(set(network.tags)) == 50
        assert "Permission to use, copy, modify" in network.licence
    assert networks["mtt_vgg"].tags[:2] == ("guitar", "classical")
    assert networks["msd_vgg"].tags[-2:] == ("House", "happy")

"""Import of musicnn's pretrained weights, compared with predictions of the original package.

The reference predictions were computed with the package in the environment it was released for
(TensorFlow 1.14, NumPy 1.16, librosa 0.7, ffmpeg). With NumPy 2 the package's front end overflows
float16, and the networks then predict the same for every recording.
"""

import dataclasses
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
import soundfile
import tiny

from deepgenre.audio import waveforms
from deepgenre.errors import UserError
from deepgenre.inference.infer import infer_files
from deepgenre.models.musicnn import MusiCNN, MusiCNNVgg
from deepgenre.weights import import_published, loading, musicnn
from deepgenre.weights.musicnn import (
    FRONT_END,
    MUSICNN_LAYERS,
    NETWORKS,
    VGG_LAYERS,
    WINDOW_FRAMES,
    read_networks,
    to_flax,
)
from deepgenre.weights.spec import build

SHARED = Path(os.environ.get("DEEPGENRE_SHARED", tiny.ROOT.parent / "shared"), "data")
CLIP = SHARED / "mtat_sample" / "mp3" / "9" / "introspekt-ideology-01-knucklehead-0-29.mp3"
WHEEL = Path(os.environ.get("DEEPGENRE_MUSICNN_WHEEL", SHARED / musicnn.WHEEL))
needs_wheel = pytest.mark.skipif(
    not WHEEL.is_file(), reason=f"no wheel of musicnn 0.1.0 at {WHEEL} (DEEPGENRE_MUSICNN_WHEEL)"
)
needs_clip = pytest.mark.skipif(not CLIP.is_file(), reason=f"no MagnaTagATune clip at {CLIP}")

# Indices and probabilities of the five most probable tags.
SCORES_OF_WAVES = {  # of `waves()`
    "mtt_musicnn": {0: 0.1676658, 18: 0.1604843, 2: 0.1538827, 13: 0.1459598, 27: 0.1200550},
    "mtt_vgg": {6: 0.3901630, 3: 0.3291959, 14: 0.2865465, 10: 0.2389489, 0: 0.1644934},
    "msd_musicnn": {11: 0.3150538, 30: 0.1108226, 4: 0.0863867, 9: 0.0803941, 24: 0.0242354},
    "msd_vgg": {4: 0.4633178, 41: 0.2363491, 6: 0.1946870, 48: 0.1784835, 0: 0.1529758},
}
SCORES_OF_CLIP = {  # of CLIP, the mean over its nine windows
    "mtt_musicnn": {3: 0.767939, 8: 0.512640, 6: 0.479403, 11: 0.284164, 5: 0.210554},
    "mtt_vgg": {3: 0.675492, 8: 0.650330, 6: 0.338216, 5: 0.255246, 11: 0.232284},
    "msd_musicnn": {4: 0.420795, 6: 0.383747, 48: 0.223227, 18: 0.119908, 41: 0.100325},
    "msd_vgg": {4: 0.338451, 30: 0.241577, 0: 0.140920, 28: 0.115659, 23: 0.107700},
}


def waves() -> np.ndarray:
    """Returns synthetic features of one window, without random numbers, (1, 187, 96)."""
    frame, band = np.mgrid[:WINDOW_FRAMES, :96]
    wave = np.sin(0.05 * frame * (1 + band / 40)) * np.cos(0.2 * band)
    return (1.5 + 1.5 * wave)[None].astype(np.float32)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to which mode `import` wrote the networks."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPGENRE_WEIGHTS", str(folder))
        assert tiny.call(patch, "--mode=import", "--source=musicnn", f"--wheel={WHEEL}") == 0
    return folder


@needs_wheel
@pytest.mark.parametrize("name", SCORES_OF_WAVES)
def test_imported_networks_match_the_original_package(name: str, imported: Path) -> None:
    weights = loading.load(str(imported / f"{name}.safetensors"))
    logits = jax.jit(lambda v, x: build(weights.spec).apply(v, x, train=False))(
        weights.variables, waves()
    )
    scores, expected = np.asarray(jax.nn.sigmoid(logits))[0], SCORES_OF_WAVES[name]
    np.testing.assert_allclose(scores[list(expected)], list(expected.values()), atol=1e-5)
    assert np.argsort(-scores)[:5].tolist() == list(expected)


@needs_wheel
@needs_clip
@pytest.mark.parametrize("name", SCORES_OF_CLIP)
def test_scores_of_a_recording_match_the_original_package(
    name: str, imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complete pipeline: name to weights, file to windows to probabilities."""
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(imported))
    # The package drops the remainder after the last whole window; so cut the clip to whole windows,
    # less one sample to which the Hann window gives weight zero.
    num_samples = (9 * WINDOW_FRAMES - 1) * FRONT_END.hop_length + FRONT_END.hop_length - 1
    waveform = waveforms.load(CLIP, FRONT_END.sample_rate_hz)[:num_samples]
    soundfile.write(tmp_path / "clip.wav", waveform, FRONT_END.sample_rate_hz, subtype="FLOAT")
    (outputs,) = infer_files(loading.load(name), [tmp_path / "clip.wav"])
    np.testing.assert_allclose(np.diff(outputs.start_seconds), 2.992)
    scores, expected = outputs.scores.mean(axis=0), SCORES_OF_CLIP[name]
    np.testing.assert_allclose(scores[list(expected)], list(expected.values()), atol=1e-4)


@needs_wheel
def test_tags_and_licence_are_imported(imported: Path) -> None:
    networks = read_networks(WHEEL)
    assert list(networks) == list(NETWORKS)
    assert {path.stem for path in imported.iterdir()} == set(networks)
    for name, network in networks.items():
        assert len(set(network.spec.classes)) == 50
        assert "Permission to use, copy, modify" in network.licence
        written = (imported / f"{name}.safetensors").read_bytes()
        assert b"Permission to use, copy, modify" in written[:20_000]
    assert networks["mtt_vgg"].spec.classes[:2] == ("guitar", "classical")
    assert networks["msd_vgg"].spec.classes[-2:] == ("House", "happy")


@needs_wheel
def test_second_import_replaces_damaged_files_only(
    imported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(imported))
    file = imported / "msd_vgg.safetensors"
    written = file.stat().st_mtime_ns
    again = ["--mode=import", "--source=musicnn", f"--wheel={WHEEL}"]
    assert tiny.call(monkeypatch, *again) == 0
    assert "already imported" in capsys.readouterr().err
    assert file.stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:-1])
    assert tiny.call(monkeypatch, *again) == 0
    loading.load("msd_vgg")


def test_missing_weights_error_names_the_import_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="deepgenre import --source=musicnn"):
        loading.load("mtt_musicnn")
    with pytest.raises(UserError, match="did you mean 'mtt_musicnn'"):
        loading.load("mtt_musicn")
    assert {n for n, s in loading.IMPORTABLE.items() if s == "musicnn"} == set(NETWORKS)
    assert set(loading.IMPORTABLE.values()) == set(import_published.SOURCES)


def test_unknown_source_is_a_user_error() -> None:
    with pytest.raises(UserError, match="did you mean 'musicnn'"):
        import_published.run("musicn", {})


@pytest.mark.parametrize(
    ("module", "layers"), [(MusiCNN(50), MUSICNN_LAYERS), (MusiCNNVgg(50), VGG_LAYERS)]
)
def test_every_variable_of_the_network_is_imported(
    module: nn.Module, layers: Mapping[str, tuple[str, ...]]
) -> None:
    window = jnp.zeros((1, WINDOW_FRAMES, 96))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), window, False))
    expected = {
        collection: jax.tree.map(lambda leaf: leaf.shape, variables[collection])
        for collection in ("params", "batch_stats")
    }
    tensors: dict[str, np.ndarray] = {"global_step": np.zeros(())}
    for layer, path in layers.items():
        node, stats = expected["params"], expected["batch_stats"]
        for part in path:
            node, stats = node[part], stats.get(part, {})
        names = {"kernel": "kernel", "bias": "beta" if stats else "bias", "scale": "gamma"}
        for leaf, shape in node.items():
            is_mid = path[0].startswith("mid_") and leaf == "kernel"
            tf_shape = (*shape[:2], 1, shape[2]) if is_mid else shape
            tensors[f"{layer}/{names[leaf]}"] = np.zeros(tf_shape, np.float32)
            tensors[f"{layer}/{names[leaf]}/Adam_1"] = np.zeros(tf_shape, np.float32)
        for leaf, shape in stats.items():
            name = {"mean": "moving_mean", "var": "moving_variance"}[leaf]
            tensors[f"{layer}/{name}"] = np.zeros(shape, np.float32)
    assert jax.tree.map(np.shape, to_flax(tensors, layers)) == expected


def test_file_other_than_the_wheel_is_a_user_error(tmp_path: Path) -> None:
    wheel = tmp_path / musicnn.WHEEL
    with pytest.raises(UserError, match="cannot be read"):
        read_networks(wheel)
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip
    with pytest.raises(UserError, match="is not the wheel"):
        musicnn.import_networks(wheel)


def test_failed_download_reports_the_message_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "pip"] and command[-1] == "musicnn==0.1.0"
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(UserError, match=r"ERROR: no network.*--wheel=FILE") as error:
        musicnn.import_networks(None)
    assert "\n" not in str(error.value)


def test_spec_equals_that_of_a_training_run() -> None:
    """Mode `eval` finds the clips and the split of the dataset by it."""
    spec = musicnn._spec("musicnn", ("a", "b"), *musicnn.TRAINED_ON["MTT"])
    assert dataclasses.asdict(spec.frontend) == spec.config["frontend"]
    frames = round(spec.config["window_seconds"] * spec.frontend.frames_per_second)
    assert (frames, spec.hop_frames) == (WINDOW_FRAMES, WINDOW_FRAMES)
    assert (spec.config["dataset"], spec.config["split"]) == ("mtat", "folders")

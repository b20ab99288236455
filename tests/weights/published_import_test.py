"""Import of moods, of Choi's taggers and of YAMNet, compared with the published graphs in NumPy."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import published_graphs
import pytest
import tiny

from deepgenre.audio import frontend, waveforms
from deepgenre.errors import UserError
from deepgenre.models.yamnet import log_mel
from deepgenre.weights import choi, essentia_moods, import_published, loading, musicnn, yamnet
from deepgenre.weights.spec import Weights, build, features_of

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    """The folder of the published files."""
    folder = shared_data / "weights"
    if not folder.is_dir():
        pytest.skip(f"no published weights at {folder}")
    return folder


@pytest.fixture(scope="module")
def song(shared_data: Path) -> Callable[[int], np.ndarray]:
    """Returns a clip of real music at a rate."""
    path = shared_data / "gtzan_audio/genres/hiphop/hiphop.00001.wav"
    return lambda rate_hz: waveforms.load(path, rate_hz)


def outputs(weights: Weights, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and embeddings of features."""
    logits, sown = jax.jit(
        lambda v, x: build(weights.spec).apply(v, x, train=False, mutable=["intermediates"])
    )(weights.variables, features)
    return np.asarray(jax.nn.sigmoid(logits)), np.asarray(sown["intermediates"]["embedding"][0])


def levels_to_features(weights: Weights, waveform: np.ndarray) -> np.ndarray:
    """Returns the features of the window in the middle, (1, frames, bands)."""
    levels, size = frontend.levels(waveform, weights.spec.frontend), weights.spec.window_frames
    levels = np.pad(levels, ((0, max(0, size - len(levels))), (0, 0)))
    start = (len(levels) - size) // 2
    return np.asarray(features_of(jnp.asarray(levels[None, start : start + size]), weights.spec))


def test_moods_match_the_published_graphs(published: Path, song) -> None:
    folder = published / "essentia_moods"
    weights = essentia_moods.import_networks(folder)["moods"]
    features = levels_to_features(weights, song(musicnn.FRONT_END.sample_rate_hz))
    scores, embeddings = outputs(weights, features)
    for index, (mood, (name, output, *_)) in enumerate(essentia_moods.MOODS.items()):
        assert weights.spec.classes[index] == mood
        graph = (folder / name / essentia_moods.MODEL).read_bytes()
        shard = (folder / name / essentia_moods.SHARD).read_bytes()
        constants = essentia_moods.tensors(graph, shard)
        nodes = published_graphs.run_tfjs(graph, constants, features)
        expected = nodes["model/Sigmoid"][:, output]
        np.testing.assert_allclose(scores[:, index], expected, atol=TOLERANCE)
        hidden = embeddings[:, 100 * index : 100 * (index + 1)]
        np.testing.assert_allclose(hidden, nodes["model/dense_1/Relu"], atol=1e-3, rtol=1e-3)
    # Dance music: which of two outputs is the class is not stated in the graphs.
    chosen = {
        mood for mood, score in zip(weights.spec.classes, scores[0], strict=True) if score > 0.5
    }
    assert chosen == {"happy", "aggressive", "danceable"}


@pytest.mark.parametrize("name", ["choi_cnn", "choi_crnn", "choi_compact"])
def test_choi_matches_keras_1(name: str, published: Path, song) -> None:
    pytest.importorskip("h5py")
    weights = choi.import_networks(published / "choi")[name]
    features = levels_to_features(weights, song(12_000))
    tensors = choi._tensors((published / "choi" / choi.FILES[name][0]).read_bytes())
    transposed = features.transpose(0, 2, 1).astype(np.float64)
    scores, embeddings = outputs(weights, features)
    if name == "choi_compact":
        assert features.max() == pytest.approx(0.0)  # dB relative to the maximum
        expected = published_graphs.run_keras_features(tensors, transposed)
        np.testing.assert_allclose(embeddings, expected, atol=TOLERANCE)
    else:
        expected = published_graphs.run_keras_tagger(tensors, transposed)
        np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
        assert weights.spec.classes[int(scores[0].argmax())] == "Hip-Hop"


def test_yamnet_matches_its_graph_in_float(published: Path) -> None:
    pytest.importorskip("tflite")
    folder = published / "yamnet"
    weights = yamnet.import_networks(folder)["yamnet"]
    samples = np.fromfile(folder / "yamnet_test_audio.bin", "<i2").astype(np.float32) / 32768
    scores, _ = outputs(weights, samples[None, :, None])
    model = (folder / yamnet.MODEL).read_bytes()
    spectrogram = np.asarray(log_mel(jnp.asarray(samples[None])))[..., None]
    expected = published_graphs.run_tflite(model, yamnet.indexed_tensors(model), spectrogram)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    # Of ai-edge-litert 2.3.0, which rounds activations to int8.
    litert = {"Speech": 0.99839717, "Inside, small room": 0.01472214}
    for name, score in litert.items():
        assert scores[0, weights.spec.classes.index(name)] == pytest.approx(score, abs=0.005)


def test_import_states_licences_and_writes_weights_that_load(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path))
    arguments = ["--mode=import", "--source=essentia_moods"]
    assert tiny.call(monkeypatch, *arguments, f"--folder={published / 'essentia_moods'}") == 0
    assert "NonCommercial-NoDerivatives" in capsys.readouterr().err
    assert loading.load("moods").spec.classes == tuple(essentia_moods.MOODS)
    assert "NonCommercial" in loading.load("moods").licence
    assert tiny.call(monkeypatch, *arguments) == 0  # again, without the files
    assert "already imported" in capsys.readouterr().err


def test_an_embedding_without_classes_is_not_used_for_predictions(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pytest.importorskip("h5py")
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path))
    import_published.run("choi", {"folder": published / "choi"})
    with pytest.raises(UserError, match=r"choi_compact has no classes.*deepgenre embed"):
        loading.load_tagger("choi_compact")
    assert loading.load("choi_compact").spec.classes == ()


def test_other_files_are_refused(tmp_path: Path) -> None:
    for source in (essentia_moods, choi, yamnet):
        with pytest.raises(UserError, match="--folder: give the folder"):
            source.import_networks(None)
        with pytest.raises(UserError, match="is no folder"):
            source.import_networks(tmp_path / "missing")
    with pytest.raises(UserError, match=r"yamnet.tflite: cannot be read"):
        yamnet.import_networks(tmp_path)
    with pytest.raises(UserError, match="holds none of music_tagger_cnn"):
        choi.import_networks(tmp_path)
    (tmp_path / "yamnet.tflite").write_bytes(b"TFL3")
    with pytest.raises(UserError, match="is not the published file of yamnet"):
        yamnet.import_networks(tmp_path)
    with pytest.raises(UserError, match="--wheel: --source=yamnet does not use it"):
        import_published.run("yamnet", {"wheel": tmp_path, "folder": None})

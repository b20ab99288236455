"""Networks in ONNX compute what they compute in JAX; the engines of predict use them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.models import kernel_ridge, lowering, pooling, summary_statistics
from deepgenre.models.convolution import convolve
from deepgenre.runtimes import engines, fourier, graphs, onnx_graph
from deepgenre.weights.spec import Weights

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

# Convolutions over time and over both axes with pools, recurrence, every kind of statistics.
QUICK = ("paper_1d_norm", "paper_2d", "lstm")
SIZES = {"paper_2d": (128, 64), "crnn": (96, 96), "lstm": (40, 32), "musicnn": (187, 96)}
WAVEFORMS = [name for name in models.MODELS if name.startswith(("sample_", "harmonic"))]


@pytest.fixture(autouse=True)
def _own_graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPGENRE_EXPORTED", str(tmp_path))


def weights_of(name: str) -> Weights:
    """Returns random weights of a narrow network."""
    frames, bands = SIZES.get(name, (max(models.MODELS[name].min_frames, 300), 64))
    options = {"width": 0.1} if "width" in models.options(name) else {}
    kind = "waveform" if name in WAVEFORMS else "log_mel"
    frontend = FrontEnd(kind=kind, n_mels=bands, n_mfcc=8)
    changes = {"frontend": frontend, "window_frames": frames, "hop_frames": frames}
    return tiny.untrained(tiny.spec(model=name, network=options, **changes))


@pytest.mark.parametrize("name", QUICK)
def test_onnxruntime_agrees_with_jax(name: str):
    weights = dataclasses.replace(weights_of(name), engine="onnxruntime")
    run = engines.load(weights)  # raises where scores differ
    assert engines.largest_difference(weights, run) <= 1e-5
    one = run(engines.example_levels(weights)[:1])
    assert one["scores"].shape == (1, 3) and one["embedding"].shape[0] == 1


@pytest.mark.drill
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_agrees_with_jax(name: str, engine: str):
    pytest.importorskip(engine)
    weights = dataclasses.replace(weights_of(name), engine=engine)
    assert engines.largest_difference(weights, engines.load(weights)) <= engines.TOLERANCE


def test_an_engine_with_other_scores_is_refused(monkeypatch):
    engine = engines.ENGINES["onnxruntime"]
    assert engine

    def load(path):
        run = engine.load(path)
        return lambda levels: {name: values + 2e-4 for name, values in run(levels).items()}

    wrong = dataclasses.replace(engine, load=load)
    monkeypatch.setattr(engines, "ENGINES", {"onnxruntime": wrong})
    weights = dataclasses.replace(weights_of("paper_1d_norm"), engine="onnxruntime")
    with pytest.raises(UserError, match=r"paper_1d differ from JAX's by up to 0\.0002|differ"):
        engines.load(weights)


def test_what_onnx_lacks_is_named():
    def function(x: jax.Array) -> dict[str, jax.Array]:
        return {"scores": jnp.linalg.inv(x)}

    example = jax.ShapeDtypeStruct((2, 3, 3), np.float32)
    with pytest.raises(UserError, match=r"mine: cannot be expressed in ONNX: the operation 'lu'"):
        graphs.to_onnx(function, "levels", example, "mine")


def computed(function: Any, x: np.ndarray) -> np.ndarray:
    """Returns a function of one array, computed by onnxruntime for a symbolic batch."""
    import onnxruntime

    (batch,) = jax.export.symbolic_shape("batch")
    example = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    model = onnx_graph.convert(lambda x: {"y": function(x)}, "x", example)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(["y"], {"x": x})[0])


X = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(np.float32)
FUNCTIONS = {
    "row": lambda x: x[:, -1],
    "rows": lambda x: x[:, np.array([3, 0, 5])],
    "triangle": lambda x: x[:, *np.triu_indices(5)],
    "reversed": lambda x: jnp.flip(x, 1)[..., 1:],
    "batch of ones": lambda x: jnp.concatenate([x, jnp.ones((x.shape[0], 1, 5))], axis=1),
    "scan": lambda x: jax.lax.scan(lambda c, r: (c + r, c * r), x[:, 0], x.swapaxes(0, 1))[1],
    "reverse scan": lambda x: jax.lax.scan(
        lambda c, r: (c + r, c * r), x[:, 0], x.swapaxes(0, 1), reverse=True
    )[1],
    "products": lambda x: jnp.einsum("bij,bkj->bik", x, x),
    "outer": lambda x: jnp.einsum("bij,kl->bikjl", x, np.eye(2, dtype=np.float32)),
    "spectrum": lambda x: jnp.abs(jnp.fft.rfft(x, axis=1)),
    "spectrum of both": lambda x: jnp.abs(jnp.fft.fft2(x, axes=(1, 2))),
    "largest": lambda x: jax.lax.top_k(x, 2)[0],
    "median": lambda x: jnp.quantile(x, 0.5, axis=1),
    "powers": lambda x: x**3 + x**-2 + x**1,
    "rounded": lambda x: jnp.rint(2 * x).astype(jnp.uint8).astype(jnp.float32),
    "relu": lambda x: jax.nn.relu(x) + jnp.maximum(x, 0.5),
    "elu and gelu": lambda x: jax.nn.elu(x) + jax.nn.gelu(x, approximate=False),
    "statistics": lambda x: (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True),
    "softmax": lambda x: jax.nn.softmax(x) + jax.nn.logsumexp(x, axis=1, keepdims=True),
    "pad": lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 0))),
    "reflection": lambda x: jnp.pad(x, ((0, 0), (2, 2), (1, 0)), "reflect"),
    "constant": lambda x: jnp.zeros((x.shape[0], 3)) + jnp.arange(3.0)[None],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(name: str):
    with jax.numpy_rank_promotion("allow"):
        expected = np.asarray(FUNCTIONS[name](X))
        result = computed(FUNCTIONS[name], X)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-6)


def test_plain_branches_equal_the_others():
    x = np.random.default_rng(1).standard_normal((2, 12, 9, 1)).astype(np.float32)
    kernel = np.random.default_rng(2).standard_normal((3, 3, 1, 4)).astype(np.float32)

    def both(function, *arguments):
        with lowering.plain():
            plain = function(*arguments)
            assert "pjit[name=_largest" not in str(
                jax.make_jaxpr(lambda *a: function(*a))(*arguments)
            )
        np.testing.assert_allclose(plain, function(*arguments), rtol=1e-4, atol=1e-4)

    both(lambda x, k: convolve(x, k, (1, 1), "SAME", pool=(2, 4)), x, kernel)
    both(lambda x, k: convolve(x, k, (1, 1), "SAME"), x, kernel)
    both(lambda x: pooling.max_pool(x, (5,)), x)
    both(lambda x: pooling.max_pool(x, (20, 2)), x)
    bands = np.random.default_rng(3).standard_normal((2, 40, 64)).astype(np.float32)
    both(summary_statistics.covariance_of_change, bands)
    quantiles = np.sort(np.r_[0.3, 0.3, np.random.default_rng(4).random(8)]).astype(np.float32)
    values = np.array([-1.0, 0.31, 0.5, 0.77, 2.0], np.float32)
    expected = np.interp(values, quantiles, np.linspace(0, 1, 10))
    ranks = kernel_ridge.rank_by_comparison(jnp.asarray(values), jnp.asarray(quantiles))
    np.testing.assert_allclose(ranks, expected, atol=1e-6)


@pytest.mark.parametrize("length", [1, 7, 12, 512])
def test_fourier_transform(length: int):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, length, 3)) + 1j * rng.standard_normal((2, length, 3))
    parts = np.stack([x.real, x.imag], axis=-1).astype(np.float32)
    y = np.asarray(fourier.transform(jnp.asarray(parts), 1))
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], np.fft.fft(x, axis=1), atol=2e-4)

"""Runtimes that compute a network for prediction, from its graph in ONNX.

The graph is kept in `folder()` under a digest of the weights. Before a runtime is used for the
first time with a graph, its scores are compared with those of JAX.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepgenre import log
from deepgenre.errors import UserError, look_up
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.files import parse_json, replacing
from deepgenre.runtimes import graphs
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Weights

GRAPH_VERSION = 1  # of the graphs' contents; graphs of others are built anew
TOLERANCE = 1e-4  # largest difference of a score from JAX's, in float32
BFLOAT16_TOLERANCE = 0.05
NUM_CHECKED = 3  # windows
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Engine:
    """A runtime: how it loads a graph, and how much its scores may differ from JAX's."""

    package: str
    load: Callable[[Path], Run]
    tolerance: float


def _load_onnxruntime(path: Path) -> Run:
    onnxruntime = graphs.require("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda array: dict(zip(names, session.run(names, {graphs.LEVELS: array}), strict=True))


def _load_openvino(precision: str) -> Callable[[Path], Run]:
    def load(path: Path) -> Run:
        openvino = graphs.require("openvino", "openvino")
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        names = graphs.output_names(path)

        def run(array: np.ndarray) -> dict[str, np.ndarray]:
            results = compiled([array], share_outputs=False)
            return {name: results[index] for index, name in enumerate(names)}

        return run

    return load


JAX = "jax"
ENGINES: Mapping[str, Engine | None] = {
    JAX: None,
    "onnxruntime": Engine("onnxruntime", _load_onnxruntime, TOLERANCE),
    "openvino": Engine("openvino", _load_openvino("f32"), TOLERANCE),
    "openvino_bfloat16": Engine("openvino", _load_openvino("bf16"), BFLOAT16_TOLERANCE),
}


def folder() -> Path:
    """Returns the folder of the graphs."""
    return Path(os.environ.get("DEEPGENRE_EXPORTED", Path.home() / ".cache/deepgenre/exported"))


def load(weights: Weights) -> Run:
    """Returns the function of levels to outputs that the weights' engine computes.

    Raises UserError where the engine is not installed, where the network has no graph, or where the
    engine's scores differ from JAX's by more than its tolerance.
    """
    engine = look_up(ENGINES, weights.engine, "--engine")
    assert engine is not None
    graphs.require(engine.package, "onnx" if engine.package == "onnxruntime" else engine.package)
    path = _graph(weights)
    run = engine.load(path)
    record = path.with_suffix(f".{weights.engine}.json")
    version = importlib.metadata.version(engine.package)
    if _recorded_version(record) != version:
        difference = largest_difference(weights, run)
        if not difference <= engine.tolerance:
            raise UserError(
                f"--engine={weights.engine}: its results of {weights.spec.model} differ from JAX's "
                f"by up to {difference:.2g}, more than {engine.tolerance:g}; use another engine"
            )
        with replacing(record) as temporary:
            checked = {"version": version, "largest_difference": difference}
            temporary.write_text(json.dumps(checked) + "\n", encoding="utf-8")
    return run


def _graph(weights: Weights) -> Path:
    """Returns the path of the graph of the network, which is built where it is missing."""
    key = f"{GRAPH_VERSION} {scores_digest(weights)}"
    name = f"{weights.spec.model}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.onnx"
    path = folder() / name
    if not path.exists():
        log.info("building the graph of %s for --engine=%s", weights.spec.model, weights.engine)
        function, example = graphs.of_windows(weights)
        model = graphs.to_onnx(function, graphs.LEVELS, example, weights.spec.model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
    return path


def _recorded_version(record: Path) -> str:
    """Returns the version of the engine that was compared; '' where none was."""
    try:
        return str(parse_json(record.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def largest_difference(weights: Weights, run: Run) -> float:
    """Returns the largest difference of a score from JAX's, of windows of random levels.

    Or of an embedding, relative to its largest value, if that is more: scores that are almost 0 or
    1 hide differences.
    """
    levels = example_levels(weights)
    expected: Any = compile_infer_step(weights.spec)(jax.device_put(weights.variables), levels)
    results, scale = run(levels), {"scores": 1.0}
    embedding = np.asarray(expected["embedding"])
    scale["embedding"] = float(np.abs(embedding).max()) or 1.0
    differences = [
        np.abs(results[name] - np.asarray(expected[name])).max() / size
        for name, size in scale.items()
    ]
    return float(np.max(differences))  # NaN where one is


def example_levels(weights: Weights) -> np.ndarray:
    """Returns levels of NUM_CHECKED windows: smooth, at random, over the range that music has."""
    frontend, rng = weights.spec.frontend, np.random.default_rng(0)
    shape = (NUM_CHECKED, weights.spec.window_frames, frontend.stored_bands)
    rough = rng.random(shape) * np.linspace(1.0, 0.2, shape[2]) * rng.random((NUM_CHECKED, 1, 1))
    if frontend.stored_dtype == np.float16:  # power
        return (10.0 ** (6 * rough - 5)).astype(np.float16)
    if frontend.stored_dtype == np.int16:  # samples
        return ((rough - rough.mean()) * 30_000).astype(np.int16)
    return (255 * rough).astype(np.uint8)

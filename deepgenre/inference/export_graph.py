"""Mode `export` to .onnx, .stablehlo and .mlir: a network with its front end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import replacing, updating
from deepgenre.inference import aggregation, infer, model_card, windows
from deepgenre.runtimes import graphs
from deepgenre.runtimes.engines import TOLERANCE
from deepgenre.weights.spec import Spec, Weights

Run = Callable[[np.ndarray], np.ndarray]  # waveforms (batch, samples) -> scores (batch, classes)


def run(weights: Weights, output: Path) -> int:
    """Writes the graph and, beside it, its model card (.md); returns exit code 0.

    Raises UserError, and writes nothing, where the network cannot be expressed, or where the
    graph's scores differ from those of mode `predict` by more than TOLERANCE.
    """
    card = output.with_suffix(".md")
    with updating(output):
        content, compute = WRITERS[output.suffix](weights)
        signals = example_signals(weights.spec)
        expected = np.stack([_predicted(weights, signal) for signal in signals])
        difference = float(np.abs(compute(signals) - expected).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"{output}: not written: scores of the graph of {weights.spec.model} differ from "
                f"those of predict by up to {difference:.2g}, more than {TOLERANCE:g}; hand on the "
                ".safetensors file"
            )
        with replacing(output) as temporary:
            temporary.write_bytes(content)
        if not card.exists() or card.read_text(encoding="utf-8").startswith("---\n"):
            with replacing(card) as temporary:
                temporary.write_text(model_card.text(weights, output, difference), encoding="utf-8")
        else:
            log.warning("%s: exists and was not written by export: left as it is", card)
    log.info(
        "wrote %s and %s: waveform of %d samples in, %d scores out, %.1f MB; largest difference "
        "from predict %.1e",
        output, card, graphs.num_samples(weights.spec), len(weights.spec.classes),
        len(content) / 1e6, difference,
    )  # fmt: skip
    return 0


def _onnx(weights: Weights) -> tuple[bytes, Run]:
    """Returns the content of the file, and what computes it in onnxruntime."""
    onnxruntime = graphs.require("onnxruntime", "onnx")
    function, example = graphs.of_clips(weights)
    model = graphs.to_onnx(function, graphs.WAVEFORM, example, weights.spec.model)
    for name, value in (
        ("classes", "\n".join(weights.spec.classes)),
        ("model", weights.spec.model),
    ):
        model.metadata_props.add(key=name, value=value)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda signals: session.run(["scores"], {graphs.WAVEFORM: signals})[0]


def _exported(weights: Weights) -> tuple[Any, Run]:
    """Returns the jax.export.Exported, and what computes it after serialisation."""
    import jax

    exported = graphs.to_stablehlo(*graphs.of_clips(weights))
    loaded = jax.export.deserialize(exported.serialize())
    return exported, lambda signals: np.asarray(loaded.call(signals)["scores"])


def _stablehlo(weights: Weights) -> tuple[bytes, Run]:
    exported, compute = _exported(weights)
    return bytes(exported.serialize()), compute


def _mlir(weights: Weights) -> tuple[bytes, Run]:
    exported, compute = _exported(weights)
    return str(exported.mlir_module()).encode(), compute


WRITERS: Mapping[str, Callable[[Weights], tuple[bytes, Run]]] = {
    ".onnx": _onnx,
    ".stablehlo": _stablehlo,
    ".mlir": _mlir,
}


def example_signals(spec: Spec) -> np.ndarray:
    """Returns two waveforms, float32 (2, samples): tones that change, and pulses of noise."""
    rate_hz, rng = spec.frontend.sample_rate_hz, np.random.default_rng(0)
    seconds = np.arange(graphs.num_samples(spec)) / rate_hz
    pitches_hz = 110 * 2 ** (rng.integers(0, 36, 64) / 12)
    hz = pitches_hz[(4 * seconds).astype(int) % 64]
    phase = 2 * np.pi * np.cumsum(hz) / rate_hz
    tones = sum(np.sin(n * phase) / n for n in (1, 2, 3, 5)) * np.exp(-2 * (seconds % 0.25))
    pulses = rng.standard_normal(seconds.size) * np.exp(-12 * (seconds % 0.4))
    return np.stack([0.2 * tones + 0.005 * pulses, 0.1 * pulses + 0.02 * tones]).astype(np.float32)


def _predicted(weights: Weights, waveform: np.ndarray) -> np.ndarray:
    """Returns the scores of a waveform by mode `predict`, (classes,)."""

    def read(path: Path, specs: Any) -> Any:
        return windows.waveform_windows(waveform, path, *specs)

    (outputs,) = infer.infer_files(weights, [Path("the test signal")], read=read)
    if outputs.error:
        raise UserError(outputs.error)
    return aggregation.song_scores(outputs, weights.spec, "mean")

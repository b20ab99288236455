"""Model cards of exported networks: Markdown with a header in YAML, as Hugging Face reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepgenre.runtimes import graphs
from deepgenre.weights.spec import Spec, Weights

METRIC_NAMES = {"accuracy": "accuracy", "f1": "f1", "loss": "loss", "roc_auc": "roc_auc"}
NOT_METRICS = ("merit", "clips", "low", "high", "chance")  # last parts of names
LOADING = """```python
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession({file!r})
waveform = np.zeros({num_samples}, np.float32)  # {seconds:g} s, mono, -1..1, {rate_hz} Hz
scores, embedding = session.run(["scores", "embedding"], {{"waveform": waveform[None]}})
print(scores.shape, embedding.shape)  # (1, {num_classes}), (1, features)
```"""
LOADING_STABLEHLO = """```python
import jax, numpy as np, pathlib
exported = jax.export.deserialize(pathlib.Path({file!r}).read_bytes())
waveform = np.zeros({num_samples}, np.float32)  # {seconds:g} s, mono, -1..1, {rate_hz} Hz
print(exported.call(waveform[None])["scores"].shape)  # (1, {num_classes})
```"""
LOADING_MLIR = "The file is a StableHLO module as text, for compilers such as IREE."


def text(weights: Weights, file: Path, difference: float) -> str:
    """Returns the card of an exported file. Metrics are those that the weights record.

    difference: the largest one of a score from this package's.
    """
    spec = weights.spec
    sections = [
        f"# {file.stem}",
        _summary(spec),
        "## Data and scores",
        _data(weights),
        "## Input and output",
        _format(spec, difference),
        "## Loading",
        _loading(spec, file),
        "## Classes",
        ", ".join(spec.classes) + ".",
    ]
    if weights.licence:
        sections += ["## Licence", weights.licence.strip()]
    return _header(weights, file) + "\n\n".join(sections) + "\n"


def _header(weights: Weights, file: Path) -> str:
    """Returns the YAML header. JSON values are valid YAML."""
    spec = weights.spec
    lines: list[tuple[str, Any]] = [
        ("license", "other" if weights.licence else "unknown"),
        ("library_name", "onnx" if file.suffix == ".onnx" else "jax"),
        ("pipeline_tag", "audio-classification"),
        ("tags", ["music", "music-tagging" if spec.multi_label else "genre", spec.model]),
    ]
    if weights.licence:
        lines.insert(1, ("license_name", weights.licence.strip().splitlines()[0][:80]))
    results = [
        {"type": kind, "name": name, "value": round(value, 6)}
        for name, value in metrics(weights).items()
        for kind in [METRIC_NAMES.get(name.removeprefix("out_of_fold_"), name)]
    ]
    if results:
        dataset = {"type": spec.config["dataset"], "name": spec.config["dataset"]}
        result = {"task": {"type": "audio-classification"}, "dataset": dataset, "metrics": results}
        lines.append(("model-index", [{"name": file.stem, "results": [result]}]))
    body = "\n".join(f"{name}: {json.dumps(value)}" for name, value in lines)
    return f"---\n{body}\n---\n\n"


def metrics(weights: Weights) -> Mapping[str, float]:
    """Returns the metrics that the weights record, without intervals and counts."""
    return {
        name: float(value)
        for name, value in weights.metrics.items()
        if name.rpartition("_")[2] not in NOT_METRICS
    }


def _summary(spec: Spec) -> str:
    kind = "tags" if spec.multi_label else "the genre"
    return (
        f"The network `{spec.model}` of deepgenre predicts {kind} of recorded music, "
        f"{len(spec.classes)} classes. The front end is part of the file: waveform in, scores out."
    )


def _data(weights: Weights) -> str:
    config, found = weights.spec.config, metrics(weights)
    lines = [f"Trained on the dataset `{config['dataset']}`, split `{config['split']}`, seed "
             f"{config['seed']}, step {weights.step}."]  # fmt: skip
    if not found:
        return f"{lines[0]} The weights record no scores."
    lines += ["", "Recorded during training, on the validation part (names with `out_of_fold`: by "
              "cross-validation over the training part):", "", "| metric | value | 95 % interval |",
              "| --- | --- | --- |"]  # fmt: skip
    for name, value in found.items():
        low, high = (weights.metrics.get(f"{name}_{end}") for end in ("low", "high"))
        interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        lines.append(f"| {name} | {value:.4f} | {interval} |")
    return "\n".join(lines)


def _format(spec: Spec, difference: float) -> str:
    front, samples = spec.frontend, graphs.num_samples(spec)
    kind = "a sigmoid per class" if spec.multi_label else "a softmax over the classes"
    return (
        f"- Input `waveform`: float32 (batch, {samples}), mono, -1..1, at {front.sample_rate_hz} "
        f"Hz: {spec.clip_seconds:.4g} s. Cut longer songs into parts of this length, and average "
        "the scores.\n"
        f"- Output `scores`: float32 (batch, {len(spec.classes)}), {kind}, in the order of the "
        f"classes below; the mean over windows of {spec.window_frames} frames.\n"
        "- Output `embedding`: float32 (batch, features), the input of the last layer, likewise.\n"
        f"- Front end: {front.kind}, {front.n_mels} bands, n_fft {front.n_fft}, hop "
        f"{front.hop_length}.\n"
        f"- Largest difference of a score from deepgenre's, on two test signals: {difference:.1e}."
    )


def _loading(spec: Spec, file: Path) -> str:
    templates = {".onnx": LOADING, ".stablehlo": LOADING_STABLEHLO, ".mlir": LOADING_MLIR}
    return templates[file.suffix].format(
        file=file.name,
        num_samples=graphs.num_samples(spec),
        seconds=round(spec.clip_seconds, 3),
        rate_hz=spec.frontend.sample_rate_hz,
        num_classes=len(spec.classes),
    )

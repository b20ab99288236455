"""Mode export to .onnx, .stablehlo and .mlir, its model card, and predict --engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre.errors import UserError
from deepgenre.inference import export_graph
from deepgenre.weights import loading

DOCS = Path(__file__).parents[2] / "docs/export.md"


@pytest.fixture(autouse=True)
def _own_graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPGENRE_EXPORTED", str(tmp_path / "graphs"))


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the run on tones as song.onnx and its card."""
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        flags = (f"--weights={trained}", f"--output={folder / 'song.onnx'}")
        assert tiny.call(patch, "export", *flags) == 0
    return folder


def test_waveform_in_scores_out(exported: Path, trained: Path):
    import onnxruntime

    weights = loading.load(str(trained))
    session = onnxruntime.InferenceSession(str(exported / "song.onnx"))
    signals = export_graph.example_signals(weights.spec)[:1]
    results = session.run(["scores", "embedding"], {"waveform": signals})
    scores, embedding = (np.asarray(result) for result in results)
    (expected,) = (export_graph._predicted(weights, signal) for signal in signals)
    np.testing.assert_allclose(scores[0], expected, atol=1e-4)
    assert embedding.shape[0] == 1
    assert session.get_modelmeta().custom_metadata_map["classes"].split("\n") == [
        *weights.spec.classes
    ]


def test_the_code_of_card_and_docs_runs(exported: Path):
    card = (exported / "song.md").read_text()
    header = card.split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    assert json.loads(fields["pipeline_tag"]) == "audio-classification"
    (result,) = json.loads(fields["model-index"])[0]["results"]
    assert {"accuracy"} <= {metric["type"] for metric in result["metrics"]}
    for code in (*python_blocks(card), python_blocks(DOCS.read_text())[0]):
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr


def test_a_card_written_by_hand_is_kept(trained: Path, tmp_path: Path, caplog, monkeypatch):
    card = tmp_path / "song.md"
    card.write_text("# Mine\n")
    flags = (f"--weights={trained}", f"--output={tmp_path / 'song.stablehlo'}")
    assert tiny.call(monkeypatch, "export", *flags) == 0
    assert card.read_text() == "# Mine\n"
    assert (tmp_path / "song.stablehlo").stat().st_size


def test_a_graph_with_other_scores_is_not_written(trained: Path, tmp_path: Path, monkeypatch):
    right = export_graph.WRITERS[".stablehlo"]

    def wrong(weights):
        content, compute = right(weights)
        return content, lambda signals: compute(signals) + 3e-4

    monkeypatch.setattr(export_graph, "WRITERS", {".stablehlo": wrong})
    with pytest.raises(UserError, match=r"not written: scores .* differ .* by up to 0\.0003"):
        export_graph.run(loading.load(str(trained)), tmp_path / "song.stablehlo")
    assert not any(path.suffix in (".stablehlo", ".md") for path in tmp_path.iterdir())


def test_predict_by_onnxruntime(trained: Path, tones: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    songs = [tones / "low/000.wav", tones / "high/000.wav"]
    rows = {}
    for engine in ("jax", "onnxruntime"):
        output = tmp_path / f"{engine}.jsonl"
        flags = (f"--weights={trained}", f"--engine={engine}", f"--output={output}")
        assert tiny.call(monkeypatch, "predict", *songs, *flags) == 0
        rows[engine] = [json.loads(line) for line in output.read_text().splitlines()]
    for ours, theirs in zip(rows["jax"], rows["onnxruntime"], strict=True):
        if "scores" in ours:
            assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-4)
    graphs = Path(os.environ["DEEPGENRE_EXPORTED"])
    assert [path.suffix for path in graphs.iterdir()].count(".onnx") == 1

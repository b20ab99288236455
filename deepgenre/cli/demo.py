"""Mode `demo`: the whole pipeline from audio to predictions, on a corpus that needs no download."""

import random
import textwrap
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.audio.discover import Found
from deepgenre.config import Config
from deepgenre.data.parts import split_rows
from deepgenre.data.prepare import prepare
from deepgenre.inference import predict
from deepgenre.training import train
from deepgenre.weights import checkpoint

NUM_PREDICTED = 5  # held-out files that the demo predicts


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Composes, prepares, trains, evaluates, predicts held-out files, and prints a summary."""
    metrics = train.train(config, data_dir, workdir)
    prepared = prepare(config, data_dir)
    weights = checkpoint.restore(workdir)
    parts = split_rows(config, prepared.rows, weights.spec.classes, multi_label=False)
    paths = {clip.key: clip.path for clip in prepared.dataset.clips}
    held_out = random.Random(config.seed).sample(parts["test"], NUM_PREDICTED)
    log.info("\nPredictions of five held-out files (the folder is the true style):")
    code = predict.run(weights, Found([paths[row.key] for row in held_out]), predict.Options())
    log.info(_summary(config, data_dir, workdir, len(parts["train"]), metrics["test"]))
    return code


def _summary(config: Config, data_dir: Path, workdir: Path, num_train: int, test: Any) -> str:
    accuracy, chance = 100 * test["accuracy"], 100 * test["accuracy_chance"]
    text = textwrap.fill(
        f"Summary: deepgenre composed short pieces in ten styles as audio files ({data_dir}), "
        f"computed their log-mel spectrograms, and trained the network {config.model!r} on "
        f"{num_train} of them. Its accuracy on {test['clips']} held-out pieces of this *synthetic* "
        f"corpus is {accuracy:.0f} % (chance: {chance:.0f} %). This shows that the installation "
        "works; it is no measure of accuracy on real music: for that, use GTZAN, MagnaTagATune or "
        "your own files (README.md).",
        width=100,
    )
    return f"""
{text}
  checkpoints  {workdir}/checkpoints
  metrics      {workdir}/metrics.jsonl, {workdir}/eval-test/metrics.json
  figures      {workdir}/training.png, {workdir}/eval-test/confusion.png
Predict a file of your own: deepgenre predict --workdir={workdir} SONG"""

"""Mode `demo`: the whole way from audio to predictions, on a corpus that needs no download."""

import random
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data.parts import split_rows
from deepgenre.data.prepare import prepare
from deepgenre.inference import predict
from deepgenre.training import train
from deepgenre.weights import checkpoint

HEARD = 5  # held-out files that the demo predicts


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Composes, prepares, trains, evaluates, predicts held-out files, and sums up in words."""
    found = train.train(config, data_dir, workdir)
    prepared = prepare(config, data_dir)
    weights = checkpoint.restore(workdir)
    parts = split_rows(config, prepared.rows, weights.spec.classes, multi_label=False)
    paths = {clip.key: clip.path for clip in prepared.dataset.clips}
    held_out = random.Random(config.seed).sample(parts["test"], HEARD)
    log.info("\nFive files that the network has never heard (the folder is the true style):")
    code = predict.run(weights, [str(paths[row.key]) for row in held_out], predict.Options())
    log.info(_summary(config, data_dir, workdir, len(parts["train"]), found["test"]))
    return code


def _summary(config: Config, data_dir: Path, workdir: Path, heard: int, test: Any) -> str:
    right, chance = 100 * test["accuracy"], 100 * test["accuracy_chance"]
    return f"""
What happened: the program composed short pieces in ten styles as audio files ({data_dir}),
turned them into log-mel spectrograms, and the network {config.model!r} learnt the styles from
{heard} of them. It names the right style of {right:.0f} % of {test["clips"]} held-out pieces of
this *synthetic* corpus (guessing: {chance:.0f} %). That shows that everything works; it says
nothing about real music: for that, give it GTZAN, MagnaTagATune or your own files (README.md).
  checkpoints  {workdir}/checkpoints
  metrics      {workdir}/metrics.jsonl, {workdir}/eval-test/metrics.json
  figures      {workdir}/training.png, {workdir}/eval-test/confusion.png
Hear a file of yours: ./launch.sh --mode=predict --workdir={workdir} --files=SONG"""

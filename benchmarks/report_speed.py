"""Time and size of a report of many clips, with random scores and *synthetic* audio.

    python benchmarks/report_speed.py [--clips=5000]

Prints one line for genres and one for tags: seconds from the files of an evaluation to the page,
and the page's size. The clips that the page shows are audio files of 30 s.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.evaluation import evaluation_files, metrics, summarize
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.report import report
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

RATE_HZ = 22_050
SECONDS = 30


def main() -> None:
    """Writes a run of each kind in a temporary folder, and times its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=5000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        for kind, num_classes in (("genres", 10), ("tags", 50)):
            workdir = Path(folder) / kind
            music = _write_run(workdir, clips, num_classes, multi_label=kind == "tags")
            start = time.perf_counter()
            report.run(workdir, music, None)
            seconds = time.perf_counter() - start
            size = (workdir / "report.html").stat().st_size / 1e6
            print(f"{kind}: {clips} clips, {num_classes} classes: {seconds:.1f} s, {size:.1f} MB")


def _write_run(workdir: Path, clips: int, num_classes: int, *, multi_label: bool) -> Path:
    """Writes a run with one evaluation; returns the folder of its music."""
    rng = np.random.default_rng(0)
    classes = tuple(f"class {number}" for number in range(num_classes))
    music = workdir / "music"
    names = np.array([f"{classes[n % num_classes]}/{n:06d}.wav" for n in range(clips)])
    noise = 0.1 * rng.standard_normal(SECONDS * RATE_HZ)
    first = music / names[0]
    first.parent.mkdir(parents=True)
    soundfile.write(first, noise, RATE_HZ)
    for name in names[1:]:  # links: one file on disk
        (music / name).parent.mkdir(exist_ok=True)
        (music / name).hardlink_to(first)
    if multi_label:
        labels = (rng.random((clips, num_classes)) < 0.05).astype(np.uint8)
    else:
        labels = (np.arange(clips) % num_classes).astype(np.int32)
    scores = rng.random((clips, num_classes)).astype(np.float32)
    scores /= 1 if multi_label else scores.sum(axis=1, keepdims=True)
    scored = Scored(names, classes, scores, labels, names, names)
    about = summarize.summarize(scored, 0.5, num_draws=10)
    results = metrics.evaluate(scores, labels, multi_label=multi_label)
    evaluation_files.write(workdir / "eval-test", results, about, scored)
    config = defaults.get_config()
    config.dataset, config.multi_label = "folder", multi_label
    spec = Spec("paper_1d", {}, classes, multi_label, FrontEnd(), 128.0, 64.0, 646, 646, 30.0,
                config.to_dict())  # fmt: skip
    (workdir / "config.json").write_text(json.dumps(specs.to_json(spec)))
    return music


if __name__ == "__main__":
    sys.exit(main())

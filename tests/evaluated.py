"""Test helpers: evaluations on disk, with random scores of *synthetic* clips."""

import json
from pathlib import Path

import numpy as np
import tiny

from deepgenre.evaluation import evaluation_files, metrics, summarize
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.weights import spec as specs

GENRES = ("blues", "jazz", "rock")
# HTML, a script, an attribute, a control, marks of direction, a lone surrogate, TeX, a long name.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>document.title='owned'</script>",
    "\" onmouseover='alert(2)' x=\"",
    "bell\x07 \u202eterces\u202c",
    "line\nend\u2028&amp;]]>",
    "$\\frac{1}{0}$ {{ 7*7 }}",
    "星" * 60,
)


def scored(
    num_clips: int = 30,
    classes: tuple[str, ...] = GENRES,
    *,
    multi_label: bool = False,
    seed: int = 0,
    skill: float = 1.0,
    clip_seed: int = 0,
) -> Scored:
    """Returns random scores that exceed chance by `skill`; `clip_seed` draws the labels."""
    rng, clips = np.random.default_rng(seed), np.random.default_rng(clip_seed)
    if multi_label:
        labels = (clips.random((num_clips, len(classes))) < 0.3).astype(np.uint8)
        logits = skill * labels + rng.standard_normal(labels.shape)
        scores = 1 / (1 + np.exp(-logits))
    else:
        labels = clips.integers(0, len(classes), num_clips).astype(np.int32)
        logits = skill * np.eye(len(classes))[labels] + rng.standard_normal(
            (num_clips, len(classes))
        )
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    keys = np.array([f"clip.{number:05d}" for number in range(num_clips)])
    groups = np.array([f"artist {number // 3}" for number in range(num_clips)])
    return Scored(keys, classes, scores.astype(np.float32), labels, groups, keys)


def write(folder: Path, one: Scored) -> Path:
    """Writes an evaluation into `folder`, as mode eval does; returns it."""
    results = metrics.evaluate(one.scores, one.labels, multi_label=one.multi_label)
    about = {
        "dataset": "gtzan",
        "split": "as_given",
        "part": folder.name.removeprefix("eval-"),
        "multi_label": one.multi_label,
        "clips": len(one.key),
        "excluded_clips": {"unknown label": 2},
        "weights": {"source": "runs/x", "fingerprint": "abc", "step": 84},
        "leakage": {"train_clips": 100, "same_track": {"clips": 3, "share": 0.1}},
        **summarize.summarize(one, 0.5, num_draws=20),
    }
    evaluation_files.write(folder, results, about, one)
    return folder


def write_old(folder: Path, one: Scored) -> Path:
    """Writes the files that versions before `evaluation.json` wrote; returns the folder."""
    folder.mkdir(parents=True)
    arrays = {"key": one.key, "classes": one.classes, "scores": one.scores, "labels": one.labels}
    np.savez_compressed(folder / "scores.npz", **arrays)
    results = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "clips": len(one.key)}
    (folder / "metrics.json").write_text(json.dumps(results))
    return folder


def write_run(workdir: Path, one: Scored, part: str = "test") -> Path:
    """Writes a run with config, training log and an evaluation; returns its workdir."""
    write(workdir / f"eval-{part}", one)
    spec = tiny.spec(classes=one.classes, multi_label=one.multi_label)
    (workdir / "config.json").write_text(json.dumps(specs.to_json(spec)))
    merit = "roc_auc" if one.multi_label else "accuracy"
    lines = []
    for epoch in (1, 2, 3):
        lines.append({"step": epoch, "split": "train", "epoch": epoch, "loss": 2 / epoch})
        lines.append({**lines[-1], "split": "valid", merit: 0.2 * epoch})
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir

"""What training all layers adds to a head on a frozen network, on the same folds.

    python benchmarks/finetune.py --examples=gtzan.csv --workdir=runs/finetune

`examples`: a manifest of genres with artists, as `benchmarks/fewshot.py --write` makes it; all of
its clips are used, in `folds` folds with no artist in two. Prints a JSON object per way:

    head       logistic regression on embeddings, as mode `fewshot` fits it
    head_all   then all layers, from this head (`--config=finetune --config.init_from=HEAD`)
    all        all layers at once, the last one from random (`--config=finetune`)

Each fold has a head of its own, fitted without the fold. Networks are those after the last epoch:
nothing is chosen on any clip. Metrics are those of songs whose class other songs of the fold's
training have; intervals resample artists. The same command continues.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

import deepgenre
from deepgenre.data import folds
from deepgenre.data.clip import Clip
from deepgenre.data.datasets.manifest import read_manifest, write_manifest
from deepgenre.evaluation import bootstrap, evaluation_files, metrics
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.inference.infer import infer_files
from deepgenre.training import cross_validation, logistic
from deepgenre.weights import heads, loading, weight_file
from deepgenre.weights.spec import Weights

_EXAMPLES = flags.DEFINE_string("examples", "", "Manifest of labelled songs with artists.")
_WEIGHTS = flags.DEFINE_string("weights", "mtt_musicnn", "Imported weights to start from.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/finetune", "Folder of the runs.")
_FOLDS = flags.DEFINE_integer("folds", 5, "Folds.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of each run.")
_WAYS = flags.DEFINE_list("ways", ["head", "head_all", "all"], "What to measure.")


def all_in_train(examples: Path, copy: Path) -> Sequence[Clip]:
    """Writes a copy of a manifest whose clips are all in folds; returns them, sorted by key."""
    clips = read_manifest(examples, multi_label=False).clips
    write_manifest(copy, [dataclasses.replace(clip, split="train") for clip in clips])
    return read_manifest(copy, multi_label=False).clips


def embeddings(name: str, clips: Sequence[Clip]) -> list[np.ndarray]:
    """Returns the embeddings of the windows of each clip."""
    found = {}
    for outputs in infer_files(loading.load(name), [clip.path for clip in clips], embed=True):
        assert outputs.embeddings is not None, outputs.error
        found[outputs.path] = outputs.embeddings
    return [found[clip.path] for clip in clips]


def fit_head(
    songs: Sequence[np.ndarray], clips: Sequence[Clip], classes: tuple[str, ...], path: Path
) -> logistic.Head:
    """Returns the head of these clips; writes it as weights for `config.init_from`."""
    targets = np.array([[clip.labels == (name,) for name in classes] for clip in clips], float)
    head = logistic.fit(songs, targets, clips, False).head
    spec = heads.spec_of(
        loading.load(_WEIGHTS.value), _WEIGHTS.value, classes,
        multi_label=False, num_songs=len(clips),
    )  # fmt: skip
    arrays = {
        "params": {"logits": {"kernel": head.kernel, "bias": head.bias}},
        "batch_stats": {"mean": head.mean, "scale": head.scale, "examples": head.examples},
    }
    network = {**spec.network, "familiarity": [0.0, 1.0]}
    weights = Weights(dataclasses.replace(spec, network=network), arrays, step=1, metrics={})
    weight_file.write(path, weights, dtype="float32")
    return head


def measure(way: str, manifest: Path, clips: Sequence[Clip], workdir: Path) -> dict[str, Any]:
    """Returns the metrics of one way."""
    started = time.process_time()
    fold_of = folds.assign_folds(clips, _FOLDS.value, seed=0)
    classes = tuple(sorted({clip.labels[0] for clip in clips}))
    songs = embeddings(_WEIGHTS.value, clips) if way != "all" else []
    scored = []
    for fold in range(_FOLDS.value):
        kept = [i for i, clip in enumerate(clips) if fold_of[clip.key] != fold]
        path = workdir / f"head-{fold}.safetensors"
        if way != "all":
            head = fit_head([songs[i] for i in kept], [clips[i] for i in kept], classes, path)
        if way == "head":
            rest = [i for i, clip in enumerate(clips) if fold_of[clip.key] == fold]
            scores = np.stack([head.scores(songs[i]).mean(axis=0) for i in rest])
            members = [clips[i] for i in rest]
            scored.append(
                Scored(
                    key=np.array([clip.key for clip in members]),
                    classes=classes,
                    scores=scores.astype(np.float32),
                    labels=np.array([classes.index(clip.labels[0]) for clip in members]),
                    group=np.array([clip.group for clip in members]),
                    track=np.array([""] * len(members)),
                )
            )
            continue
        config = deepgenre.get_config(
            f"finetune:{_WEIGHTS.value}",
            folds=_FOLDS.value,
            fold=fold,
            num_epochs=_EPOCHS.value,
            eval_every_epochs=_EPOCHS.value,
            store_dir=str(workdir / "store"),
        )
        if way == "head_all":
            config.init_from = str(path)
        run = workdir / way / f"fold-{fold}"
        deepgenre.train(config, manifest, run)
        scored.append(evaluation_files.read_scores(run / "eval-held_out"))
    result = summarize(*cross_validation.join(scored), clips)
    return {**result, "cpu_seconds": round(time.process_time() - started)}


def summarize(scored: Scored, fold: np.ndarray, clips: Sequence[Clip]) -> dict[str, Any]:
    """Returns accuracy and loss, with intervals, of the songs whose class was trained."""
    label = {clip.key: clip.labels[0] for clip in clips}
    fold_by_key = dict(zip(scored.key.tolist(), fold.tolist(), strict=True))
    tested = np.array(
        [
            any(label[other] == label[key] for other in label if fold_by_key[other] != own)
            for key, own in fold_by_key.items()
        ]
    )
    scores, labels = scored.scores[tested], scored.labels[tested]
    values = metrics.evaluate(scores, labels, multi_label=False)
    spread = bootstrap.distribution(
        metrics.resampled(scores, labels, multi_label=False),
        bootstrap.group_indices(scored.group[tested]),
    )
    result: dict[str, Any] = {"songs": int(tested.sum()), "of": len(tested)}
    for name in ("accuracy", "loss"):
        low, high = bootstrap.interval(spread[name])
        result[name] = [round(value, 3) for value in (values[name], low, high)]
    return result


def main(argv: Sequence[str]) -> None:
    """Prints a JSON object per way."""
    workdir = Path(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    manifest = workdir / "examples.csv"
    clips = all_in_train(Path(_EXAMPLES.value), manifest)
    for way in _WAYS.value:
        print(json.dumps({"way": way, **measure(way, manifest, clips, workdir)}), flush=True)


if __name__ == "__main__":
    app.run(main)

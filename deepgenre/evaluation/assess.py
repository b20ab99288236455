"""Evaluation of weights on clips: scores, metrics, what makes them comparable, and the files."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log
from deepgenre.data import pipeline
from deepgenre.errors import UserError
from deepgenre.evaluation import evaluation_files, leakage, ledger, metrics, tag_metrics
from deepgenre.evaluation.clips import Clips
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.scoring import clip_scores
from deepgenre.evaluation.steps import compile_score_step
from deepgenre.evaluation.summarize import summarize
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Weights

Choose = Callable[[dict[str, Any]], Path]  # from the evaluation to the folder to write


def assess(
    weights: Weights,
    clips: Clips,
    choose: Choose,
    *,
    source: str,
    workdir: Path,
    near_duplicates: bool | None = None,
) -> tuple[metrics.Metrics, Path]:
    """Returns the metrics of the weights on the clips, and the folder to which it wrote all files.

    source: where the weights are from. workdir: its ledger records evaluations of test clips.
    near_duplicates: whether to compare the audio of the clips with that of the training clips;
    None: where they are few. Raises UserError where there is no clip, or scores are not finite.
    """
    if not clips.rows:
        raise UserError(
            f"--eval_split: part {clips.part!r} contains no clips to evaluate"
            + (f" ({_listed(clips.excluded)} left out)" if clips.excluded else "")
            + "; choose another part"
        )
    scored = score(weights, clips)
    metrics.check(scored.scores)
    thresholds, tuned_on = _thresholds(weights, clips)
    results = metrics.evaluate(
        scored.scores, scored.labels, multi_label=scored.multi_label, thresholds=thresholds
    )
    evaluation = {
        **describe(weights, clips, source),
        "f1_thresholds": tuned_on,
        **summarize(scored, thresholds),
        "leakage": _leakage(weights, clips, near_duplicates),
    }
    warn_of_leakage(evaluation)
    _warn(evaluation, results)
    folder = choose(evaluation)
    if clips.test_of:
        ledger.record(workdir, clips.part, evaluation["weights"]["fingerprint"], clips.test_of)
    evaluation_files.write(folder, results, evaluation, scored)
    return results, folder


def score(weights: Weights, clips: Clips, rows: list | None = None) -> Scored:
    """Returns the scores of the clips, or of other rows of their store, for their classes."""
    spec, rows = weights.spec, clips.rows if rows is None else rows
    scores = clip_scores(
        compile_score_step(spec),
        weights.variables,
        spec,
        clips.store,
        rows,
        batch_size=spec.config["batch_size"],
    )
    return Scored(
        key=np.array([row.key for row in rows]),
        classes=clips.classes,
        scores=scores[:, [spec.classes.index(name) for name in clips.classes]],
        labels=pipeline.encode_labels(rows, clips.classes, spec.multi_label),
        group=np.array([row.group for row in rows]),
        track=np.array([row.track or row.key for row in rows]),
    )


def describe(weights: Weights, clips: Clips, source: str) -> dict[str, Any]:
    """Returns what makes scores comparable: the data, the clips and the weights."""
    keys, multi_label = "\n".join(row.key for row in clips.rows), weights.spec.multi_label
    untagged = sum({*row.labels}.isdisjoint(clips.classes) for row in clips.rows)
    return {
        "dataset": clips.dataset,
        "split": clips.split,
        "part": clips.part,
        "multi_label": multi_label,
        "clips": len(clips.rows),
        "clips_digest": hashlib.sha256(keys.encode("utf-8", "surrogatepass")).hexdigest(),
        "excluded_clips": clips.excluded,
        "untagged_clips": untagged if multi_label else 0,
        "untagged_counted": clips.untagged_counted,
        "matching": clips.matching,
        "weights": {
            "source": source,
            "fingerprint": scores_digest(weights),
            "step": weights.step,
        },
    }


def _thresholds(weights: Weights, clips: Clips) -> tuple[np.ndarray | float, dict[str, Any]]:
    """Returns the thresholds of the F1 of tags, and the part and clips that they were tuned on."""
    if not weights.spec.multi_label or not clips.tuning:
        return tag_metrics.THRESHOLD, {"tuned_on": None, "clips": 0}
    tuning = score(weights, clips, clips.tuning)
    thresholds = tag_metrics.best_thresholds(tuning.scores, tuning.labels)
    return thresholds, {"tuned_on": "valid", "clips": len(clips.tuning)}


def _leakage(weights: Weights, clips: Clips, near_duplicates: bool | None) -> dict[str, Any]:
    report = leakage.leakage(clips.rows, clips.train)
    few = len(clips.rows) + len(clips.train or ()) <= leakage.MAX_CLIPS
    compared = few if near_duplicates is None else near_duplicates
    if clips.train is None or clips.part == "train" or not compared:
        return {**report, "near_duplicates": None}
    frontend = weights.spec.frontend
    found = leakage.compare_audio(clips.store, clips.rows, clips.train, frontend)
    return {**report, "near_duplicates": found}


def warn_of_leakage(evaluation: dict[str, Any]) -> None:
    """Prints what the evaluated clips share with the training clips."""
    for name in ("same_clip", "same_track", "same_group", "near_duplicates"):
        found = evaluation["leakage"][name]
        if found and found["clips"] and evaluation["part"] != "train":
            log.info(
                "leakage: %d of %d clips (%.1f %%) have the %s as a training clip",
                found["clips"],
                evaluation["clips"],
                100 * found["share"],
                {"same_clip": "same key", "same_track": "same track", "same_group": "same group",
                 "near_duplicates": "same audio"}[name],
            )  # fmt: skip
    trained = evaluation["leakage"]["same_clip"]
    if trained and trained["clips"] and evaluation["part"] != "train":
        log.warning(
            "the weights were trained on %d of these %d clips: scores on other clips are lower",
            trained["clips"],
            evaluation["clips"],
        )


def _warn(evaluation: dict[str, Any], results: metrics.Metrics) -> None:
    """Prints which metrics say little on these clips."""
    if results.get("tags_evaluated") == 0:
        log.warning("no tag has both a positive and a negative clip: its metrics are undefined")
    supports = [row["support"] for row in evaluation["per_class"]]
    if not evaluation["multi_label"] and sum(map(bool, supports)) == 1:
        log.warning("all clips are of one class: accuracy does not measure the others")


def _listed(excluded: dict[str, int]) -> str:
    return ", ".join(f"{clips} {reason.replace('_', ' ')}" for reason, clips in excluded.items())

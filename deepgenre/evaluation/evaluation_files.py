"""The files of an evaluation, in a folder of their own.

    metrics.json      the metrics as one flat object: name -> number
    evaluation.json   the same with intervals, per class and per track, and what was evaluated
    scores.npz        key (n,), classes (c,), scores float32 (n, c), labels int32 (n,) or uint8
                      (n, c), group (n,), track (n,)
    confusion.png     or tags.png; the same as .svg

Both JSON files are strict: what is undefined is null.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation import genre_metrics
from deepgenre.evaluation.metrics import Metrics
from deepgenre.files import parse_json, replacing, updating, write_json

AGAIN = "evaluate again with deepgenre eval"
# What tells two evaluations apart.
IDENTITY = ("dataset", "split", "part", "clips_digest")


@dataclasses.dataclass(frozen=True)
class Scored:
    """Scores of clips, with all that metrics need; the content of `scores.npz`."""

    key: np.ndarray  # str (clips,)
    classes: tuple[str, ...]
    scores: np.ndarray  # float32 (clips, classes)
    labels: np.ndarray  # int32 (clips,) class indices, or uint8 (clips, classes) tags
    group: np.ndarray  # str (clips,): artist or recording
    track: np.ndarray  # str (clips,): song that the clip is cut from

    @property
    def multi_label(self) -> bool:
        """Whether the classes are tags."""
        return self.labels.ndim == 2


def write(folder: Path, metrics: Metrics, evaluation: dict[str, Any], scored: Scored) -> None:
    """Writes the files of an evaluation, each atomically; one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with updating(folder):
        _write(folder, metrics, evaluation, scored)


def _write(folder: Path, metrics: Metrics, evaluation: dict[str, Any], scored: Scored) -> None:
    with replacing(folder / "scores.npz") as path, path.open("wb") as stream:
        arrays = {field.name: getattr(scored, field.name) for field in dataclasses.fields(Scored)}
        np.savez_compressed(stream, **arrays)
    for name, content in (("metrics.json", metrics), ("evaluation.json", evaluation)):
        write_json(folder / name, content)
    draw(folder, scored)


def draw(folder: Path, scored: Scored) -> None:
    """Writes the figure of the scores, as .png and .svg."""
    from deepgenre.evaluation.figures import confusion, style, tags  # matplotlib: slow to import

    if scored.multi_label:
        figure = tags.average_precision(scored.scores, scored.labels, scored.classes)
        style.write_both(figure, folder / "tags")
    else:
        counts = genre_metrics.confusion_matrix(scored.scores, scored.labels)
        style.write_both(confusion.confusion_matrix(counts, scored.classes), folder / "confusion")


def read_details(path: Path) -> dict[str, Any]:
    """Returns the content of `evaluation.json` or `metrics.json`; {} where there is no such file.

    Earlier versions did not write the first. Raises UserError where it is damaged.
    """
    if not path.exists():
        return {}
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); {AGAIN}") from error


def read_scores(folder: Path) -> Scored:
    """Returns the content of `scores.npz`; of earlier versions each clip is its group and track.

    Raises UserError where it is missing or damaged, arrays do not fit together, or scores are not
    finite.
    """
    path = folder / "scores.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise UserError(f"{folder}: contains no scores.npz; run deepgenre eval") from error
    except Exception as error:  # damaged headers and zips raise ten different types
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    missing = {"key", "classes", "scores", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path}: has no array {min(missing)!r}; {AGAIN}")
    scored = Scored(
        key=arrays["key"],
        classes=tuple(map(str, arrays["classes"])),
        scores=arrays["scores"],
        labels=arrays["labels"],
        group=arrays.get("group", arrays["key"]),
        track=arrays.get("track", arrays["key"]),
    )
    _check(path, scored)
    return scored


def _check(path: Path, scored: Scored) -> None:
    """Raises UserError unless the arrays fit together and scores are finite."""
    clips, classes = len(scored.key), len(scored.classes)
    scores, labels = scored.scores, scored.labels
    fits = scores.shape == (clips, classes) and labels.shape in ((clips,), scores.shape)
    if not fits or not scores.size:
        raise UserError(
            f"{path}: scores {scores.shape} and labels {labels.shape} do not match {clips} clips "
            f"and {classes} classes; {AGAIN}"
        )
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if bad.size:
        raise UserError(
            f"{path}: the scores of {bad.size} of {clips} clips are not finite, first of "
            f"{str(scored.key[bad[0]])!r}; use other weights, and {AGAIN}"
        )
    if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < classes):
        raise UserError(f"{path}: a label is outside the {classes} classes; {AGAIN}")


def holds_other(folder: Path, evaluation: dict[str, Any]) -> str:
    """Returns which other evaluation a folder holds, in words; '' where it holds none."""
    old = read_details(folder / "evaluation.json")
    if not old:
        earlier = any((folder / name).exists() for name in ("metrics.json", "robustness.json"))
        return "one of an earlier version" if earlier else ""
    same = [old.get(name) == evaluation[name] for name in IDENTITY]
    if all(same) and old["weights"]["fingerprint"] == evaluation["weights"]["fingerprint"]:
        return ""
    return (
        f"{old['part']} of {old['dataset']}, split {old['split']}, {old['clips']} clips, by "
        f"{old['weights']['source']} at step {old['weights']['step']}"
    )


def free_folder(folder: Path, evaluation: dict[str, Any]) -> Path:
    """Returns the folder, or the first of FOLDER-2, -3 ... without another evaluation in it."""
    number, free = 1, folder
    while holds_other(free, evaluation):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free

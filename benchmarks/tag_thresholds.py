"""Fits the threshold of each tag and measures the tags that mode `organize` then chooses.

    for name in mtt_musicnn mtt_vgg msd_musicnn msd_vgg; do
        deepgenre predict FOLDER/mp3 --weights=$name --output=scores/$name.jsonl
    done
    python benchmarks/tag_thresholds.py --data_dir=FOLDER --scores=scores \
        --output=deepgenre/inference/tag_thresholds.json

FOLDER has MagnaTagATune's layout. Classes and annotations are merged by `inference.vocabulary`. In
logits, with `mean` the logit of a tag's mean score over the clips, an estimate of its prior:

- default of a tag: a + b * mean, but LOWEST or more, with a and b of the best macro F1;
- own threshold of a tag: that of the best F1, the mean where several are best;
- threshold: (n * own + SHRINKAGE * default) / (n + SHRINKAGE), for a tag of n artists.

Reported are tags by cross-validation over artists (no artist is in both parts; everything, the
means included, is fitted on the training part), the mean over REPEATS partitions: precision,
recall and F1, micro and macro (over the annotated tags with a positive clip), tags per song, and
the shares of songs without a tag and with three to six. 'unseen': only clips of the folders c to
f, which the networks of MagnaTagATune were not trained on.
"""

import csv
import dataclasses
import datetime
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from absl import app, flags
from sklearn.model_selection import GroupKFold

from deepgenre.data.datasets import mtat
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.inference import thresholds as shipped
from deepgenre.inference import vocabulary
from deepgenre.inference.tags import Choice, choose_tags
from deepgenre.weights import loading

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder in MagnaTagATune's layout.", required=True
)
_SCORES = flags.DEFINE_string("scores", None, "Folder of WEIGHTS.jsonl.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Table of the thresholds to write, JSON.")

FOLDS = 5
REPEATS = 5
SHRINKAGE = 5.0  # artists
INTERCEPTS = np.linspace(-4, 1, 51)
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)
LOWEST = 0.05  # a tag whose best F1 is below 2 * LOWEST is noise
GRID = np.linspace(np.log(LOWEST / (1 - LOWEST)), 2.3, 80)  # logits of LOWEST to 0.91
UNSEEN_FOLDERS = "cdef"


@dataclasses.dataclass(frozen=True)
class Sample:
    """Scores and annotations of clips, in the merged vocabulary."""

    tags: tuple[str, ...]
    scores: np.ndarray  # (clips, tags)
    truth: np.ndarray  # bool (clips, tags)
    annotated: np.ndarray  # bool (tags,): whether the annotators had the tag
    artists: np.ndarray  # str (clips,)
    unseen: np.ndarray  # bool (clips,)

    @property
    def logits(self) -> np.ndarray:
        """Returns the logits of the scores, which are rounded to six decimals."""
        return logit(np.clip(self.scores, 1e-6, 1 - 1e-6))

    def part(self, rows: np.ndarray) -> "Sample":
        """Returns the sample of some clips."""
        arrays = {name: getattr(self, name)[rows] for name in ("scores", "truth", "artists")}
        return dataclasses.replace(self, **arrays, unseen=self.unseen[rows])


Fit = Callable[[Sample], np.ndarray]  # to thresholds (tags,), in logits


def logit(p: np.ndarray) -> np.ndarray:
    """Returns log(p / (1 - p))."""
    return np.log(p / (1 - p))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns the inverse of `logit`."""
    return 1 / (1 + np.exp(-x))


def read_sample(data_dir: Path, scores_file: Path, *, merge: bool = True) -> Sample:
    """Returns the clips that have scores; with `merge` False, in the network's own classes."""
    name_of = vocabulary.canonical if merge else str
    clips = {str(clip.path): clip for clip in mtat.read(data_dir).clips}
    rows = [json.loads(line) for line in scores_file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["path"] in clips and "scores" in row]
    if not rows:
        raise UserError(f"{scores_file}: has no scores of the clips in {data_dir}; predict them")
    classes = tuple(rows[0]["scores"])
    scores = np.array([[row["scores"][name] for name in classes] for row in rows])
    scores, tags = vocabulary.merge(scores, classes) if merge else (scores, classes)
    members = [clips[row["path"]] for row in rows]
    labels = [{name_of(label) for label in clip.labels} for clip in members]
    with (data_dir / mtat.ANNOTATIONS).open(encoding="utf-8", newline="") as stream:
        known = {name_of(column) for column in next(csv.reader(stream, delimiter="\t"))}
    return Sample(
        tags=tags,
        scores=scores,
        truth=np.array([[tag in of_clip for tag in tags] for of_clip in labels]),
        annotated=np.array([tag in known for tag in tags]),
        artists=np.array([clip.group for clip in members]),
        unseen=np.array([clip.key[0] in UNSEEN_FOLDERS for clip in members]),
    )


def f1_per_tag(sample: Sample, thresholds: np.ndarray) -> np.ndarray:
    """Returns the F1 of each tag, (tags,), 0 where it has no positive clip."""
    predicted = sample.logits >= thresholds
    hits = (predicted & sample.truth).sum(axis=0)
    return 2 * hits / np.maximum(1, predicted.sum(axis=0) + sample.truth.sum(axis=0))


def fit_default(sample: Sample, slopes: tuple[float, ...] = SLOPES) -> np.ndarray:
    """Returns the default of each tag, from the mean scores; with slope 0 one for all."""
    positive = sample.truth.any(axis=0) & sample.annotated
    means = logit(sample.scores.mean(axis=0))
    candidates = [
        np.maximum(a + b * (means - means.mean()), GRID[0]) for b in slopes for a in INTERCEPTS
    ]
    return max(candidates, key=lambda one: f1_per_tag(sample, one)[positive].mean())


def fit_micro(sample: Sample) -> np.ndarray:
    """Returns one threshold for all tags, of the best micro F1."""
    predicted = sample.logits[:, sample.annotated, None] >= INTERCEPTS
    truth = sample.truth[:, sample.annotated, None]
    f1 = 2 * (predicted & truth).sum((0, 1)) / (predicted.sum((0, 1)) + truth.sum())
    return np.full(len(sample.tags), INTERCEPTS[f1.argmax()])


def fit_per_tag(sample: Sample, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Returns the threshold of each tag, shrunk to its default."""
    default = fit_default(sample)
    f1 = np.stack([f1_per_tag(sample, np.full(len(sample.tags), one)) for one in GRID])
    own = np.array([GRID[column >= column.max() - 1e-9].mean() for column in f1.T])
    artists = np.array([len({*sample.artists[column]}) for column in sample.truth.T])
    return (artists * own + shrinkage * default) / (artists + shrinkage)


METHODS: Mapping[str, Fit] = {
    "0.5": lambda sample: np.zeros(len(sample.tags)),
    "one threshold, micro F1": fit_micro,
    "one threshold, macro F1": lambda sample: fit_default(sample, (0.0,)),
    "default by mean score": fit_default,
    **{
        f"per tag, shrinkage {shrinkage:g}": lambda sample, s=shrinkage: fit_per_tag(sample, s)
        for shrinkage in (1.0, SHRINKAGE, 20.0)
    },
}


def chosen(sample: Sample, thresholds: np.ndarray, *, plain: bool = False) -> np.ndarray:
    """Returns which tags mode `organize` chooses, bool (clips, tags); `plain`: all above."""
    values = dict(zip(sample.tags, sigmoid(thresholds).tolist(), strict=True))
    if plain:
        return sample.logits >= thresholds
    choice = Choice(
        top_k=shipped.MOST_TAGS, consistent=True, merge_synonyms=True, tag_thresholds=values
    )
    tags = [choose_tags(scores, sample.tags, choice) for scores in sample.scores]
    return np.array([[tag in of_song for tag in sample.tags] for of_song in tags])


def cross_validated(sample: Sample, fit: Fit, seed: int, *, plain: bool) -> np.ndarray:
    """Returns the chosen tags of each clip, bool (clips, tags), fitted on other artists."""
    tags = np.zeros_like(sample.truth)
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(sample.scores, groups=sample.artists):
        tags[test] = chosen(sample.part(test), fit(sample.part(train)), plain=plain)
    return tags


def figures(sample: Sample, tags: np.ndarray) -> list[float]:
    """Returns precision, recall, F1 (micro, macro), tags per song, shares of songs without, 3-6."""
    hits, count = (tags & sample.truth).sum(axis=0), tags.sum(axis=1)
    predicted, actual = tags.sum(axis=0), sample.truth.sum(axis=0)
    of_annotated = [one[sample.annotated].sum() for one in (hits, predicted, actual)]
    total_hits, total_predicted, total_actual = of_annotated
    valid = sample.annotated & (actual > 0)
    macro = [
        (hits / np.maximum(1, predicted))[valid].mean(),
        (hits / np.maximum(1, actual))[valid].mean(),
        (2 * hits / np.maximum(1, predicted + actual))[valid].mean(),
    ]
    return [
        total_hits / max(1, total_predicted), total_hits / total_actual,
        2 * total_hits / (total_predicted + total_actual), *macro,
        count.mean(), (count == 0).mean(), ((count >= 3) & (count <= 6)).mean(),
    ]  # fmt: skip


def report(sample: Sample, name: str, fit: Fit, *, plain: bool = False) -> None:
    """Prints the figures of a method, as a row of a Markdown table: all clips, then unseen."""
    for part, rows in (("all", slice(None)), ("unseen", sample.unseen)):
        runs = [
            figures(
                sample.part(np.arange(len(sample.scores))[rows]),
                cross_validated(sample, fit, seed, plain=plain)[rows],
            )
            for seed in range(REPEATS)
        ]
        means, deviation = np.mean(runs, axis=0), np.std(runs, axis=0)[2]
        cells = [f"{value:.3f}" for value in means[:6]]
        cells += [f"{means[6]:.2f}", f"{means[7]:.1%}", f"{means[8]:.0%}", f"{deviation:.3f}"]
        print(f"| {name} | {part} | {' | '.join(cells)} |")


def table_row(sample: Sample, model: str) -> dict:
    """Returns the row of the table that the package has, fitted on all clips."""
    values = sigmoid(fit_per_tag(sample)).round(3).tolist()
    return {"model": model, "thresholds": dict(zip(sample.tags, values, strict=True))}


def main(arguments: list[str]) -> None:
    """Prints the tables and writes the thresholds."""
    data_dir, rows, single = Path(_DATA_DIR.value), {}, []
    files = sorted(Path(_SCORES.value).glob("*.jsonl"))
    if not files:
        raise UserError(f"--scores: {_SCORES.value} has no WEIGHTS.jsonl; predict them first")
    # 'mtt_musicnn' is before 'mtt_vgg': the first of equal tags is used for other networks.
    for file in files:
        sample = read_sample(data_dir, file)
        positive = int((sample.truth.any(axis=0) & sample.annotated).sum())
        print(
            f"\n{file.stem}: {len(sample.scores)} clips, {len({*sample.artists})} artists, "
            f"{len(sample.tags)} tags, {int(sample.annotated.sum())} annotated, {positive} with "
            f"positive clips, {sample.truth.sum(axis=1).mean():.2f} per clip; "
            f"{int(sample.unseen.sum())} unseen clips\n"
        )
        heads = "micro P | micro R | micro F1 | macro P | macro R | macro F1 | tags | none | 3-6"
        print(f"| method | clips | {heads} | F1 sd |\n| --- | --- |{' --- |' * 10}")
        own = read_sample(data_dir, file, merge=False)
        report(own, "0.5, classes not merged", METHODS["0.5"], plain=True)
        for name, fit in METHODS.items():
            report(sample, name, fit)
        report(sample, "the same 5, contradictions kept", fit_per_tag, plain=True)
        rows[file.stem] = table_row(sample, loading.load(file.stem).spec.model)
        single.append(float(np.median(fit_default(sample, (0.0,)))))
    if _OUTPUT.value:
        provenance = {
            "script": "benchmarks/tag_thresholds.py",
            "data": f"{len(sample.scores)} clips of {len({*sample.artists})} artists in the layout "
            "of MagnaTagATune, tags that at least half of a track's clips carry",
            "method": f"F1 per tag, {LOWEST} or more, shrunk by {SHRINKAGE:g} artists to a default "
            "of the best macro F1; mean over windows",
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
        other = round(float(sigmoid(np.median(single))), 2)
        content = {"provenance": provenance, "other_weights": other, "weights": rows}
        with replacing(Path(_OUTPUT.value)) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        app.run(main)
    except UserError as error:
        sys.exit(f"{error}")

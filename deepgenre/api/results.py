"""What the functions of the Python interface return: frozen dataclasses of numbers and arrays."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepgenre.data.store import Records, Row
from deepgenre.errors import look_up
from deepgenre.evaluation.frames import data_frame
from deepgenre.evaluation.metrics import Metrics

if TYPE_CHECKING:
    import pandas


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    workdir: Path  # its weights: deepgenre.load(workdir)
    best_step: int  # of the checkpoint that the metrics are of
    metrics: Mapping[str, Metrics]  # by part of the split: 'valid', 'test'
    history: tuple[Mapping[str, Any], ...]  # lines of metrics.jsonl: step, split, epoch, values

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns the history, a row per logged step and split; needs pandas."""
        return data_frame(self.history)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredClips:
    """Scores of clips, with their labels."""

    classes: tuple[str, ...]
    keys: np.ndarray  # str (clips,)
    scores: np.ndarray  # float32 (clips, classes)
    labels: np.ndarray  # int32 (clips,) class indices, or uint8 (clips, classes) tags
    groups: np.ndarray  # str (clips,): artist or recording
    tracks: np.ndarray  # str (clips,): song that the clip is cut from

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns a row per clip: key, group, track, labels, and a column per class."""
        if self.labels.ndim == 1:
            labels: list[Any] = [self.classes[index] for index in self.labels]
        else:
            labels = [
                tuple(name for name, is_set in zip(self.classes, row, strict=True) if is_set)
                for row in self.labels
            ]
        columns = {"key": self.keys, "group": self.groups, "track": self.tracks, "label": labels}
        scores = zip(self.classes, self.scores.T, strict=True)
        return data_frame({**columns, **{f"score_{name}": column for name, column in scores}})


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult(ScoredClips):
    """An evaluation of weights on one part of a dataset."""

    folder: Path  # metrics.json, evaluation.json, scores.npz and figures
    part: str
    metrics: Metrics
    intervals: Mapping[str, Mapping[str, float]]  # 'low' and 'high' of 95 %, by metric
    about: Mapping[str, Any]  # the content of evaluation.json: weights, split, leakage, classes


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidationResult(ScoredClips):
    """The folds of a cross-validation; scores are by the network of the fold that left out a clip.

    The test part is not among the clips.
    """

    workdir: Path
    folds: tuple[Metrics, ...]  # metrics of each fold, on the clips that it left out
    spread: Mapping[str, Mapping[str, float]]  # 'mean', 'spread' and 'n' over folds, by metric
    pooled: Metrics  # of all clips together
    fold: np.ndarray  # int (clips,): the fold that left out each clip


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedData:
    """A prepared dataset: its clips, and their spectrograms in the store."""

    store: Path
    dataset: str
    frames_per_second: float
    rows: tuple[Row, ...]  # a clip each: key, labels, group, split, track, measured
    failures: tuple[str, ...]  # one line per clip that could not be read
    dtype: type[np.generic]  # of the stored levels

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the clips."""
        return tuple(row.key for row in self.rows)

    @property
    def class_counts(self) -> dict[str, int]:
        """The number of clips per label, the most frequent first."""
        return dict(Counter(label for row in self.rows for label in row.labels).most_common())

    def levels(self, key: str) -> np.ndarray:
        """Returns the stored levels of a clip, (frames, bands); of log-mel: uint8, 0..255.

        Raises errors.UserError where the key is unknown or the store is damaged.
        """
        row = look_up({row.key: row for row in self.rows}, key, "key")
        return Records(self.store, [row], self.dtype)[0]

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns a row per clip: key, labels, group, track, split and seconds; needs pandas."""
        return data_frame(
            [
                {
                    "key": row.key,
                    "labels": row.labels,
                    "group": row.group,
                    "track": row.track,
                    "split": row.split,
                    "seconds": row.measured.frames / self.frames_per_second,
                }
                for row in self.rows
            ]
        )

"""A baseline for the networks: an SVM on summary statistics of MFCCs.

    python benchmarks/svm_baseline.py --data_dir=FILE.npz --split=fault_filtered

Features per clip: mean and standard deviation of the MFCCs, and standard deviation of their
differences between frames. The number of MFCCs, C and gamma are chosen by cross-validation on the
training part, with each group (artist, recording) in one fold; the other parts are only scored. If
the groups are unknown, as in GTZAN, the cross-validation accuracy is far too high, because clips of
one artist are in several folds. Prints one JSON object.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from deepgenre import config as defaults
from deepgenre.audio.features import dct_matrix
from deepgenre.data.parts import Split, choose_classes, split_rows
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.data.store import Records, Row
from deepgenre.errors import UserError
from deepgenre.evaluation.metrics import wilson_interval

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms.", required=True
)
_DATASET = flags.DEFINE_string("dataset", "gtzan", "A name in deepgenre/data/datasets.")
_SPLIT = flags.DEFINE_string("split", "fault_filtered", "A split of the dataset.")
_STORE_DIR = flags.DEFINE_string("store_dir", "", "Folder of the store; default: as in training.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the split and of the folds.")

MFCC_COUNTS = (13, 20, 40)
GRID = {
    "first__kw_args": [{"count": count} for count in MFCC_COUNTS],
    "svm__C": [1.0, 3.0, 10.0, 30.0, 100.0],
    "svm__gamma": [0.0003, 0.001, 0.003, 0.01, 0.03],
}
NUM_FOLDS = 5


def mfcc_statistics(levels: np.ndarray) -> np.ndarray:
    """Returns float32 (3, MFCCs) from a clip's levels (frames, bands).

    Mean, standard deviation, and standard deviation of the differences between frames.
    """
    basis = np.asarray(dct_matrix(levels.shape[1], min(max(MFCC_COUNTS), levels.shape[1])))
    mfcc = levels.astype(np.float32) @ basis
    return np.stack([mfcc.mean(axis=0), mfcc.std(axis=0), np.diff(mfcc, axis=0).std(axis=0)])


def first_mfccs(clips: np.ndarray, count: int) -> np.ndarray:
    """Returns the statistics of the first MFCCs: (clips, 3 count) from (clips, 3, MFCCs)."""
    return clips[:, :, :count].reshape(len(clips), -1)


def features_and_labels(prepared: Prepared, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the statistics, (clips, 3, MFCCs), and the labels, str (clips,), of rows."""
    records = Records(prepared.folder, rows, np.uint8)
    features = np.stack([mfcc_statistics(records[index]) for index in range(len(records))])
    return features, np.array([row.labels[0] for row in rows])


def search_svm(features: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int) -> Any:
    """Returns the fitted grid search, which predicts with the best SVM, refitted on all clips."""
    pipeline = Pipeline(
        [
            ("first", FunctionTransformer(first_mfccs)),
            ("scale", StandardScaler()),
            ("svm", SVC(kernel="rbf")),
        ]
    )
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    return GridSearchCV(pipeline, GRID, cv=folds).fit(features, labels, groups=groups)


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns the accuracy with its 95 % interval, that of the most frequent label, and clips."""
    hits = int((predicted == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    return {
        "accuracy": hits / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_chance": float(np.unique(labels, return_counts=True)[1].max() / len(labels)),
        "clips": len(labels),
    }


def measure(prepared: Prepared, parts: Split, seed: int) -> dict[str, Any]:
    """Returns the settings chosen on 'train' and the accuracy on each of the other parts."""
    if "train" not in parts or len(parts) < 2:
        raise UserError(f"--split: has only {', '.join(parts)}; choose one with 'train' and others")
    features, labels = features_and_labels(prepared, parts["train"])
    search = search_svm(features, labels, [row.group for row in parts["train"]], seed)
    others = {
        part: features_and_labels(prepared, rows) for part, rows in parts.items() if part != "train"
    }
    return {
        "mfccs": search.best_params_["first__kw_args"]["count"],
        "C": search.best_params_["svm__C"],
        "gamma": search.best_params_["svm__gamma"],
        "train_clips": len(labels),
        "train_cross_validation_accuracy": float(search.best_score_),
        **{
            part: accuracy(search.predict(clips), targets)
            for part, (clips, targets) in others.items()
        },
    }


def main(argv: Sequence[str]) -> None:
    """Prepares missing clips, measures, and prints one line of JSON."""
    config = defaults.get_config()
    config.dataset, config.split, config.seed = _DATASET.value, _SPLIT.value, _SEED.value
    config.store_dir = _STORE_DIR.value
    try:
        prepared = prepare(config, Path(_DATA_DIR.value))
        if prepared.dataset.multi_label:
            raise UserError(f"--dataset: {_DATASET.value} has tags; use one with a genre per clip")
        names = choose_classes(config, prepared.rows, multi_label=False)
        parts = split_rows(config, prepared.rows, names, multi_label=False)
        result = measure(prepared, parts, config.seed)
    except UserError as error:
        sys.exit(f"svm_baseline: {error}")
    print(json.dumps({"dataset": _DATASET.value, "split": _SPLIT.value, **result}))


if __name__ == "__main__":
    app.run(main)

"""Cross-validation of the kernel recipes, artist-disjoint, over GTZAN's train and valid parts.

    python benchmarks/kernel_folds.py --data_dir=FOLDER/gtzan_mel_dev.npz --seeds=0

`gtzan_artists.csv` must be beside the data. Prints accuracy, and loss at the best scale, out of
fold, of logistic regression on the basic feature set (the minimum that configs/gtzan_kmeans.py
approaches), and of kernel ridge regression on each feature set, exact and at the rank of
configs/gtzan_kernel.py. All is learnt from the training folds alone, the filters too, but for the
two numbers that standardise levels; --shared_banks learns the filters, without labels, from all
clips, once: much faster.
"""

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.special
from absl import app, flags
from sklearn.linear_model import LogisticRegression

from deepgenre.data import pipeline
from deepgenre.data.folds import assign_folds
from deepgenre.data.prepare import prepare
from deepgenre.evaluation.metrics import evaluate
from deepgenre.models.feature_groups import FEATURE_SETS, banks_of
from deepgenre.training import kernel
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.pretrain import describe_clips, learn_banks, training_windows
from deepgenre.weights.spec import config_of, features_of

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "An .npz of spectrograms, or GTZAN's folder.", required=True
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the folds.")
_STORE_DIR = flags.DEFINE_string("store_dir", "", "Folder of the store; default: as in training.")
_SHARED_BANKS = flags.DEFINE_bool("shared_banks", False, "Learn filters from all clips, once.")

CONFIG = Path(__file__).parents[1] / "configs" / "gtzan_kernel.py"
NUM_FOLDS = 5
WEIGHT_DECAY = 3e-4  # of configs/gtzan_kmeans.py

Scores = dict[str, np.ndarray]  # out of fold, (clips, classes), by recipe


def logistic(features: kernel.Groups, labels: np.ndarray, others: kernel.Groups) -> np.ndarray:
    """Returns scores of other clips, as `models.spherical_kmeans` at its optimum."""
    rows, new = [], []
    for name in sorted(features):
        mean, deviation = features[name].mean(axis=0), features[name].std(axis=0) + 1e-3
        for values, scaled in ((features[name], rows), (others[name], new)):
            standard = np.clip((values - mean) / deviation, -4, 4)
            scaled.append(standard / np.sqrt(values.shape[1]))
    model = LogisticRegression(C=1 / (len(labels) * WEIGHT_DECAY), max_iter=1000)
    return model.fit(np.concatenate(rows, 1), labels).predict_proba(np.concatenate(new, 1))


def fold_scores(
    features: kernel.Groups, labels: np.ndarray, held_out: np.ndarray, rank: int
) -> Scores:
    """Returns the scores of the held-out clips by each recipe, unscaled."""

    def chosen(names: Sequence[str], mask: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: features[name][mask] for name in names}

    kept, targets = ~held_out, np.eye(labels.max() + 1)[labels]
    basic = FEATURE_SETS["basic"]
    given = (chosen(basic, kept), labels[kept], chosen(basic, held_out))
    scores = {"logistic regression, basic": np.log(logistic(*given))}
    for feature_set, names in FEATURE_SETS.items():
        for used in (0, rank):
            machine = kernel.fit(chosen(names, kept), targets[kept], used)
            name = f"kernel ridge, {feature_set}" + (f", rank {used}" if used else "")
            scores[name] = machine.logits(chosen(names, held_out))
    return scores


def out_of_fold(plan: Plan, rank: int, seed: int, shared: kernel.Groups | None) -> Scores:
    """Returns scores of all clips; `shared`: features with filters learnt from all clips."""
    rows = plan.parts["train"]
    labels = pipeline.encode_labels(rows, plan.spec.classes, multi_label=False)
    fold_of = assign_folds(rows, NUM_FOLDS, seed)
    folds = np.array([fold_of[row.key] for row in rows])
    scores: Scores = {}
    for fold in range(NUM_FOLDS):
        features = shared or described(plan, folds != fold)
        for name, held_out in fold_scores(features, labels, folds == fold, rank).items():
            scores.setdefault(name, np.zeros((len(rows), held_out.shape[1])))
            scores[name][folds == fold] = held_out
    return scores


def described(plan: Plan, learn_from: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the features of all clips, with filters learnt from some: a mask."""
    config = config_of(plan.spec)
    windows = features_of(training_windows(plan, config.seed), plan.spec)
    learnt = learn_banks(banks_of("large"), windows[np.flatnonzero(learn_from)], config)
    return describe_clips(windows, learnt, "large", plan.spec.frontend.sample_rate_hz)


def report(scores: Scores, labels: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns accuracy, and loss at the best scale, of each recipe."""
    results = {}
    for name, logits in scores.items():
        scale = kernel.fit_scale(logits, labels, multi_label=False)
        found = evaluate(scipy.special.softmax(scale * logits, axis=1), labels, multi_label=False)
        results[name] = found["accuracy"], found["loss"]
    return results


def main(_: list[str]) -> None:
    """Prints a line per recipe: accuracy per seed, mean and deviation, and mean loss."""
    config = runpy.run_path(str(CONFIG))["get_config"]()
    config.split, config.store_dir = "fault_filtered_all", _STORE_DIR.value
    plan = make_plan(config, prepare(config, Path(_DATA_DIR.value)))
    rows = plan.parts["train"]
    print(f"{len(rows)} clips, {len({row.group for row in rows})} groups, {NUM_FOLDS} folds")
    shared = described(plan, np.ones(len(rows), bool)) if _SHARED_BANKS.value else None
    labels = pipeline.encode_labels(rows, plan.spec.classes, multi_label=False)
    per_seed = [
        report(out_of_fold(plan, config.network.rank, int(seed), shared), labels)
        for seed in _SEEDS.value
    ]
    for name in per_seed[0]:
        accuracies = [results[name][0] for results in per_seed]
        loss = np.mean([results[name][1] for results in per_seed])
        spread = np.std(accuracies, ddof=1) if len(accuracies) > 1 else float("nan")
        each = " ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"{name:30s} {np.mean(accuracies):.4f} +- {spread:.4f} ({each}) loss {loss:.4f}")


if __name__ == "__main__":
    app.run(main)

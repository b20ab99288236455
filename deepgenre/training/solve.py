"""Training of networks that are solved at once, instead of by steps: kernel ridge regression."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data import pipeline
from deepgenre.errors import UserError
from deepgenre.evaluation import metrics, scoring
from deepgenre.evaluation.steps import compile_score_step, scores
from deepgenre.models.kernel_ridge import NUM_QUANTILES, KernelRidge
from deepgenre.training import kernel
from deepgenre.training.plan import Plan
from deepgenre.training.pretrain import describe_clips, training_windows
from deepgenre.training.validation import merit_name
from deepgenre.weights.checkpoint import Checkpoints
from deepgenre.weights.spec import features_of
from deepgenre.weights.state import State, with_weights

MAX_CLIPS = 10_000  # the kernel of all pairs of clips is 0.8 GB, the clips' features 0.3 GB
OUT_OF_FOLD = "out_of_fold"  # of each training clip, by a machine fitted to clips of other groups


def solve(
    state: State, plan: Plan, config: Config, checkpoints: Checkpoints, write: Callable[..., None]
) -> None:
    """Fits the network to all training clips, and saves it as the only checkpoint, step 1.

    The scale of the logits is that of the highest likelihood out of fold. Metrics out of fold, and
    on the validation part if there is one, are logged by `write` (step, split, scalars).
    """
    spec, rows = plan.spec, plan.parts["train"]
    if len(rows) > MAX_CLIPS:
        raise UserError(
            f"config.model: {config.model!r} compares all pairs of clips, at most {MAX_CLIPS}, and "
            f"the data has {len(rows)} training clips; choose another network"
        )
    if not config.pretrain_epochs and not config.init_from:
        raise UserError(
            f"config.pretrain_epochs: {config.model!r} needs filters learnt without labels; set 12"
        )
    windows = features_of(training_windows(plan, config.seed), spec)
    learnt = jax.device_get(state.batch_stats)
    feature_set = config.network.feature_set or KernelRidge.feature_set
    features = describe_clips(windows, learnt, feature_set, spec.frontend.sample_rate_hz)
    labels = pipeline.encode_labels(rows, spec.classes, spec.multi_label)
    targets = labels if spec.multi_label else np.eye(len(spec.classes))[labels]
    rank = config.network.rank or KernelRidge.rank
    logits, similarities = kernel.out_of_fold(features, targets, rows, config.seed, rank)
    scale = kernel.fit_scale(logits, labels, multi_label=spec.multi_label)
    held_out = np.asarray(scores(jnp.asarray(scale * logits), multi_label=spec.multi_label))
    results = _log_results("out of fold", held_out, labels, plan)
    write(1, OUT_OF_FOLD, {"epoch": 1, "scale": scale, **results})
    machine = kernel.fit(features, targets, rank).scaled(scale)
    quantiles = np.quantile(similarities, np.linspace(0, 1, NUM_QUANTILES))
    state = _with_machine(state, machine, quantiles)
    saved = {f"{OUT_OF_FOLD}_{name}": value for name, value in results.items()}
    merit = merit_name(spec)
    if "valid" in plan.parts:
        results = _validate(state, plan, config)
        write(1, "valid", {"epoch": 1, **results})
        saved |= results
    checkpoints.save(state, spec, {**saved, "merit": results[merit]})


def _validate(state: State, plan: Plan, config: Config) -> metrics.Metrics:
    spec, rows = plan.spec, plan.parts["valid"]
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    score = compile_score_step(spec)
    predicted = scoring.clip_scores(
        score, variables, spec, plan.store, rows, batch_size=config.batch_size
    )
    labels = pipeline.encode_labels(rows, spec.classes, spec.multi_label)
    return _log_results("validation", predicted, labels, plan)


def _log_results(
    title: str, predicted: np.ndarray, labels: np.ndarray, plan: Plan
) -> metrics.Metrics:
    results = metrics.evaluate(predicted, labels, multi_label=plan.spec.multi_label)
    names = ("loss", "accuracy", "roc_auc", "average_precision")
    log.info("%s: %s", title, metrics.summary(results, names))
    return results


def _with_machine(state: State, machine: kernel.KernelMachine, quantiles: np.ndarray) -> State:
    statistics: dict[str, np.ndarray | float] = {"factor": machine.factor, "quantiles": quantiles}
    for name, clips in machine.clips.items():
        statistics[f"mean_of_{name}"] = machine.means[name]
        statistics[f"deviation_of_{name}"] = machine.deviations[name]
        statistics[f"factor_of_{name}"] = machine.factors[name]
        statistics[f"clips_{name}"] = clips
        statistics[f"squares_{name}"] = machine.squares[name]
    statistics |= {f"axes_{name}": axes for name, axes in machine.axes.items()}
    params = {"dual": machine.dual, "bias": machine.bias}
    as_float32 = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), (params, statistics))
    params, statistics = as_float32
    solved = with_weights(state, params, {**state.batch_stats, **statistics})
    return dataclasses.replace(solved, step=jnp.ones((), jnp.int32))

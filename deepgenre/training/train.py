"""Mode `train`: prepares the data, trains, and evaluates the best checkpoint."""

import contextlib
import json
from pathlib import Path

import jax

from deepgenre import devices, log
from deepgenre.config import Config, check
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.errors import UserError
from deepgenre.evaluation import evaluate
from deepgenre.files import updating
from deepgenre.interrupt import stop_requests
from deepgenre.training.loop import fit
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.validation import merit_name
from deepgenre.weights import checkpoint
from deepgenre.weights.spec import Weights


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Trains, evaluates, and prints the metrics as one JSON object; returns exit code 0."""
    results = train(config, data_dir, workdir)
    if devices.is_main_process():
        print(json.dumps(results))
    return 0


def train(config: Config, data_dir: Path, workdir: Path) -> dict[str, object]:
    """Runs the remaining steps; returns the metrics of the best checkpoint per part.

    In processes other than the main one the result is {}.
    """
    check(config)
    devices.check_batch_size(config.batch_size)
    workdir.mkdir(parents=True, exist_ok=True)
    with updating(workdir if devices.is_main_process() else None):
        # What asks for a stop before the first step takes effect after it: that step is saved.
        with contextlib.nullcontext() if jax.process_count() > 1 else stop_requests():
            prepared = _prepare_once(config, data_dir)
            plan = make_plan(config, prepared)
            _describe(plan, prepared)
            fit(plan, config, workdir)
        best = checkpoint.restore(workdir)  # in all processes: Orbax synchronises them
        results = _evaluate_best(best, plan, config, workdir) if devices.is_main_process() else {}
        devices.wait_for_all("evaluated")
    return results


def _prepare_once(config: Config, data_dir: Path) -> Prepared:
    """Returns the dataset, prepared by the main process; the others then read the store."""
    if not devices.is_main_process():
        devices.wait_for_all("prepared")
    prepared = prepare(config, data_dir)
    if devices.is_main_process():
        devices.wait_for_all("prepared")
    failed_fraction = len(prepared.failures) / len(prepared.dataset.clips)
    if failed_fraction > config.max_unreadable_fraction:
        raise UserError(
            f"{data_dir}: {len(prepared.failures)} of {len(prepared.dataset.clips)} clips could "
            "not be read; repair them, or raise --config.max_unreadable_fraction"
        )
    return prepared


def _describe(plan: Plan, prepared: Prepared) -> None:
    spec = plan.spec
    sizes = ", ".join(f"{part} {len(rows)}" for part, rows in sorted(plan.parts.items()))
    log.info("data: %s clips (%s), %d classes", prepared.dataset.name, sizes, len(spec.classes))
    log.info(
        "input: windows of %d frames x %d bands, %.1f s; hop of %d samples at %d Hz",
        spec.window_frames,
        spec.frontend.num_bands,
        spec.window_frames / spec.frontend.frames_per_second,
        spec.frontend.hop_length,
        spec.frontend.sample_rate_hz,
    )


def _evaluate_best(best: Weights, plan: Plan, config: Config, workdir: Path) -> dict[str, object]:
    """Returns the metrics of the best checkpoint per part, and of the last epoch.

    Without a test part, the metrics of the best epoch are biased, because the same clips selected
    it: report those of the last epoch.
    """
    from deepgenre.evaluation import figures  # matplotlib is slow to import

    lines = log.read_metrics(workdir)
    merit = merit_name(config, plan.spec.multi_label)
    figures.training_curves(workdir / "training.png", lines, merit)
    last = next(line for line in reversed(lines) if line["split"] == "valid")
    results: dict[str, object] = {
        "best_step": best.step,
        "last_epoch": {name: value for name, value in last.items() if name != "split"},
    }
    for part in ("valid", "test"):
        if part in plan.parts:
            results[part] = evaluate.evaluate(
                best, plan.store, plan.parts[part], workdir / f"eval-{part}"
            )
    log.info("wrote checkpoints, metrics.jsonl, event files and figures to %s", workdir)
    return results

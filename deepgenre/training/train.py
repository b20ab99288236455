"""Mode `train`: prepares the data, trains, and evaluates the best checkpoint."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from deepgenre import devices, log, models
from deepgenre.config import Config, check
from deepgenre.data import class_counts
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.errors import UserError
from deepgenre.evaluation import evaluation_files, run_commands
from deepgenre.evaluation.assess import assess
from deepgenre.evaluation.clips import of_parts
from deepgenre.files import check_place, strict_json, updating
from deepgenre.interrupt import stop_requests
from deepgenre.training import names
from deepgenre.training.loop import fit
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.solve import OUT_OF_FOLD
from deepgenre.weights import checkpoint
from deepgenre.weights.spec import Weights, merit_name

PARTS = ("valid", "held_out", "test")  # that are evaluated, where the split has them


def run(config: Config, data_dir: Path, workdir: Path) -> int:
    """Trains, evaluates, and prints the metrics as one JSON object; returns exit code 0."""
    results = train(config, data_dir, workdir)
    if devices.is_main_process():
        print(strict_json(results))
    return 0


def train(
    config: Config, data_dir: Path, workdir: Path, *, parts: Sequence[str] = PARTS
) -> dict[str, Any]:
    """Runs the remaining steps; returns the metrics of the best checkpoint per part.

    parts: those to evaluate, of the ones that the split has. In processes other than the main one
    the result is {}. Raises UserError where the config asks for several runs: see
    `cross_validation` and `sweep`.
    """
    check(config)
    names.check(config)
    if config.folds and config.fold < 0:
        raise UserError("config.folds: only mode train runs all folds; choose one, --config.fold=0")
    devices.check_batch_size(config.batch_size, config.batch_shares)
    if config.seeds:
        raise UserError("config.seeds: only mode train runs several; choose one, --config.seed=0")
    with sole_use(workdir):
        # A request to stop before the first step takes effect after it: that step is saved.
        with contextlib.nullcontext() if jax.process_count() > 1 else stop_requests():
            prepared = prepare_once(config, data_dir)
            plan = make_plan(config, prepared)
            _describe(plan, prepared)
            if devices.is_main_process():
                sizes = {part: len(rows) for part, rows in plan.parts.items()}
                run_commands.append(workdir, data_dir, sizes)
            fit(plan, config, workdir, data_dir)
        best = checkpoint.restore(workdir)  # in all processes: Orbax synchronises them
        results = _evaluate_best(best, plan, workdir, parts) if devices.is_main_process() else {}
        devices.wait_for_all("evaluated")
    return results


@contextlib.contextmanager
def sole_use(workdir: Path) -> Iterator[None]:
    """Lets one run at a time use a workdir; leaves no workdir behind where nothing was written."""
    if not devices.is_main_process():
        yield
        return
    check_place(workdir, "--workdir", folder=True)
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        with updating(workdir, advice="wait until it ends, or use another --workdir"):
            yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty, or does not exist
            workdir.rmdir()


def prepare_once(config: Config, data_dir: Path) -> Prepared:
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
    log.info("split: %s", _split_line(plan, prepared))
    log.info("classes in train: %s", class_counts.counts_line(plan.parts["train"], spec.classes))
    for warning in [
        *class_counts.name_warnings(spec.classes),
        *class_counts.part_warnings(plan.parts, spec.classes),
    ]:
        log.warning("%s", warning)
    log.info(
        "input: windows of %d frames x %d bands, %.1f s; hop of %d samples at %d Hz",
        spec.window_frames,
        spec.frontend.num_bands,
        spec.window_frames / spec.frontend.frames_per_second,
        spec.frontend.hop_length,
        spec.frontend.sample_rate_hz,
    )


def _split_line(plan: Plan, prepared: Prepared) -> str:
    """Returns the split's name, the number of clips in no part, and whether the data has others."""
    left_out = len(prepared.rows) - sum(map(len, plan.parts.values()))
    name = plan.spec.config["split"]
    notes = [name + (" by the data" if name == "as_given" else "")]
    if left_out:
        notes.append(f"{left_out} clips are in no part")
    pairs = {(row.split, part) for part, rows in plan.parts.items() for row in rows if row.split}
    if plan.spec.config["fold"] < 0 and len(pairs) > len({stated for stated, _ in pairs}):
        notes.append("the parts that the data states are not used")
    return "; ".join(notes)


def _evaluate_best(
    best: Weights, plan: Plan, workdir: Path, parts: Sequence[str]
) -> dict[str, Any]:
    """Returns the metrics of the best checkpoint per part, and of the last epoch.

    Without a test part, the metrics of the best epoch are biased, because the same clips selected
    it: report those of the last epoch.
    """
    from deepgenre.evaluation.figures import curves, style  # matplotlib is slow to import

    lines = log.read_metrics(workdir)
    results: dict[str, Any] = {"best_step": best.step}
    if models.network(plan.spec.model).solved:
        results[OUT_OF_FOLD] = _last(lines, OUT_OF_FOLD)
    else:
        figure = curves.training_curves(lines, merit_name(plan.spec))
        style.write_both(figure, workdir / "training")
        results["last_epoch"] = _last(lines, "valid")
    for part in parts:
        if part in plan.parts:
            results[part] = _evaluate_part(best, plan, workdir, part)
    log.info("wrote checkpoints, metrics.jsonl, event files and figures to %s", workdir)
    log.info("a page about the run: deepgenre report --workdir=%s", shlex.quote(str(workdir)))
    return results


def _evaluate_part(best: Weights, plan: Plan, workdir: Path, part: str) -> dict[str, float]:
    """Returns the metrics of a part; replaces the run's own evaluation of an earlier step."""
    folder = workdir / f"eval-{part}"

    def choose(evaluation: dict[str, Any]) -> Path:
        if other := evaluation_files.holds_other(folder, evaluation):
            log.info("%s: replacing the evaluation of %s", folder, other)
        return folder

    clips = of_parts(plan.spec, plan.store, plan.parts, part)
    return assess(best, clips, choose, source=str(workdir), workdir=workdir)[0]


def _last(lines: list[dict[str, object]], split: str) -> dict[str, object]:
    line = next(line for line in reversed(lines) if line["split"] == split)
    return {name: value for name, value in line.items() if name != "split"}

"""Mode `train` with `config.seeds` or `--sweep`: several seeds, a grid of settings, or both.

Each run of the grid is a run of its own in `<workdir>/FIELD=VALUE/.../seed-N`; see `members` for
how they are resumed. Runs are compared on the validation part, of the best checkpoint: the test
part is not evaluated.

    <workdir>/sweep.json   every run: folder, settings, seed, metrics
    <workdir>/sweep.csv    a row per setting: mean and spread over seeds (sample standard deviation)
    <workdir>/sweep.md     the same as a table to paste
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepgenre import devices, log
from deepgenre.config import Config
from deepgenre.data.datasets import dataset_kind
from deepgenre.errors import UserError
from deepgenre.files import strict_json
from deepgenre.training import grid, sweep_results
from deepgenre.training.members import Member, Outcomes, Results, run_all
from deepgenre.training.solve import OUT_OF_FOLD
from deepgenre.training.sweep_results import SweepPoint, SweepResult, SweepRun


def run(
    config: Config, data_dir: Path, workdir: Path, axes: Mapping[str, Sequence[grid.Value]]
) -> int:
    """Runs the grid, prints it as one JSON object; returns 1 if a run failed, else 0."""
    result = sweep(config, data_dir, workdir, axes)
    if devices.is_main_process():
        print(strict_json(sweep_results.to_json(result)))
    for folder, error in result.errors.items():
        log.warning("failed: %s: %s", folder, error)
    return 1 if result.errors else 0


def sweep(
    config: Config, data_dir: Path, workdir: Path, axes: Mapping[str, Sequence[grid.Value]]
) -> SweepResult:
    """Runs what is missing of the grid; returns all results, and writes them after each run.

    axes: values by field. Raises UserError, before data are prepared, where a field or value is
    wrong; errors of single runs are part of the result.
    """
    runs = grid.runs(config, axes)
    for one in runs:
        if one.config.folds and one.config.fold < 0:
            raise UserError(
                "config.folds: cannot be combined with several seeds or a sweep; choose one fold "
                "(--config.fold=0), or run a cross-validation per setting"
            )
    merit = _merit_name(config)
    if devices.is_main_process():
        log.info("sweep: %s", " x ".join(_sizes(runs, axes)))

    def report(outcomes: Outcomes) -> None:
        if devices.is_main_process():
            sweep_results.write(_result(runs, outcomes, workdir, merit))

    members = [Member(one.folder, one.config) for one in runs]
    outcomes = run_all(members, data_dir, workdir, parts=("valid",), report=report)
    result = _result(runs, outcomes, workdir, merit)
    if devices.is_main_process():
        _describe(result, data_dir)
    return result


def _merit_name(config: Config) -> str:
    given = dataset_kind(config.dataset).multi_label
    multi_label = config.multi_label if given is None else given
    return config.select_by or ("roc_auc" if multi_label else "accuracy")


def _sizes(runs: Sequence[grid.Run], axes: Mapping[str, Sequence[grid.Value]]) -> list[str]:
    """Returns 'N of FIELD' for what is varied, and the number of seeds."""
    seeds = {run.seed for run in runs}
    varied = [f"{len(values)} of {field}" for field, values in axes.items() if field != grid.SEED]
    return [*varied, f"{len(seeds)} seed" + "s" * (len(seeds) > 1)]


def _result(runs: Sequence[grid.Run], outcomes: Outcomes, workdir: Path, merit: str) -> SweepResult:
    points: list[tuple[grid.Point, list[SweepRun]]] = []
    for one in runs:
        if not points or points[-1][0] != one.point:
            points.append((one.point, []))
        points[-1][1].append(_run(one, outcomes.get(one.folder), workdir))
    return SweepResult(
        workdir, merit, tuple(SweepPoint(point, tuple(of_point)) for point, of_point in points)
    )


def _run(one: grid.Run, outcome: Results | UserError | None, workdir: Path) -> SweepRun:
    folder = workdir / one.folder
    if not outcome or isinstance(outcome, UserError):
        return SweepRun(folder, one.seed, 0, {}, str(outcome or ""))
    values = outcome.get("valid") or outcome[OUT_OF_FOLD]
    return SweepRun(folder, one.seed, outcome["best_step"], values)


def _describe(result: SweepResult, data_dir: Path) -> None:
    """Logs the table, and how to evaluate the best setting on the test part."""
    for line in sweep_results.markdown(result):
        log.info("%s", line)
    log.info("wrote sweep.json, sweep.csv and sweep.md to %s", result.workdir)
    if best := result.best:
        sources = ",".join(str(run.folder) for run in best.runs)
        log.info(
            "the test part, of the best setting: deepgenre eval --weights=%s --data_dir=%s",
            shlex.quote(sources),
            shlex.quote(str(data_dir)),
        )

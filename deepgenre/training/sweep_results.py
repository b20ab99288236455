"""The results of a sweep, and its files: `sweep.json`, `sweep.csv` and `sweep.md`."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepgenre.evaluation import evaluation_files
from deepgenre.evaluation.evaluate import spread
from deepgenre.evaluation.frames import data_frame
from deepgenre.evaluation.metrics import Metrics
from deepgenre.files import replacing, strict_json
from deepgenre.training import grid

if TYPE_CHECKING:
    import pandas

SHOWN = ("accuracy", "roc_auc", "average_precision", "loss")  # in the table, where they exist


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """One run."""

    folder: Path
    seed: int
    best_step: int  # of the checkpoint that the metrics are of; 0 where there is none
    metrics: Metrics  # of validation, or out of fold where a network has none; {}: see `error`
    error: str = ""  # why it failed; '' also where it is still to be run


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """One setting, with its runs of different seeds."""

    settings: grid.Point
    runs: tuple[SweepRun, ...]

    @property
    def done(self) -> list[Metrics]:
        """The metrics of the finished runs."""
        return [run.metrics for run in self.runs if run.metrics]

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """'mean', 'spread' and 'n' by metric, see `evaluation.evaluate.spread`."""
        return spread(self.done) if self.done else {}


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The runs of a sweep, setting by setting."""

    workdir: Path
    merit: str  # the validation metric by which settings are ranked
    points: tuple[SweepPoint, ...]

    @property
    def best(self) -> SweepPoint | None:
        """The setting with the best mean, of those whose runs have all finished."""
        finished = [point for point in self.points if len(point.done) == len(point.runs)]
        ranked = [point for point in finished if self.merit in point.summary]
        sign = -1 if self.merit == "loss" else 1
        return max(ranked, key=lambda one: sign * one.summary[self.merit]["mean"], default=None)

    @property
    def errors(self) -> dict[Path, str]:
        """Why runs failed, by folder."""
        return {run.folder: run.error for one in self.points for run in one.runs if run.error}

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns a pandas DataFrame with a row per run; needs pandas."""
        return data_frame(
            [
                {**point.settings, "seed": run.seed, "folder": str(run.folder), **run.metrics}
                for point in self.points
                for run in point.runs
            ]
        )


def to_json(result: SweepResult) -> dict[str, Any]:
    """Returns the results as `sweep.json` has them."""
    best = result.best
    return {
        "part": "valid",
        "merit": result.merit,
        "best": dict(best.settings) if best else None,
        "points": [
            {
                "settings": dict(point.settings),
                "spread": point.summary,
                "runs": [{**dataclasses.asdict(run), "folder": str(run.folder)}
                         for run in point.runs],
            }
            for point in result.points
        ],
    }  # fmt: skip


def write(result: SweepResult) -> None:
    """Writes the three files to the workdir of the sweep, each atomically."""
    texts = {
        "sweep.json": strict_json(to_json(result), indent=1) + "\n",
        "sweep.csv": _csv(result),
        "sweep.md": "\n".join(markdown(result)) + "\n",
    }
    for name, text in texts.items():
        with replacing(result.workdir / name) as path:
            path.write_text(text, encoding="utf-8", newline="")


def _shown(result: SweepResult) -> list[str]:
    """Returns the metrics of the table: the one that ranks first."""
    known = {name for point in result.points for name in point.summary}
    return [name for name in dict.fromkeys((result.merit, *SHOWN)) if name in known]


def _csv(result: SweepResult) -> str:
    names, fields = _shown(result), [*result.points[0].settings]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [f"{name}_{kind}" for name in names for kind in ("mean", "spread")]
    writer.writerow([*fields, "runs", "finished", "failed", *columns])
    for point in result.points:
        failed = sum(bool(run.error) for run in point.runs)
        summary = point.summary
        cells = [
            _number(summary.get(name, {}).get(kind, math.nan))
            for name in names
            for kind in ("mean", "spread")
        ]
        writer.writerow(
            [*point.settings.values(), len(point.runs), len(point.done), failed, *cells]
        )
    return stream.getvalue()


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def markdown(result: SweepResult) -> list[str]:
    """Returns the lines of the table: a setting per line, the best one bold, and notes."""
    names, best = _shown(result), result.best
    lines = [[*result.points[0].settings, "seeds", *names]]
    for point in result.points:
        summary = point.summary
        cells = [_mean_and_spread(summary[name]) if name in summary else "" for name in names]
        runs = len(point.runs)
        done = f"{len(point.done)}" if len(point.done) == runs else f"{len(point.done)} of {runs}"
        row = [*(str(value).replace("|", "\\|") for value in point.settings.values()), done, *cells]
        many = len(result.points) > 1
        lines.append([f"**{cell}**" if cell and point is best and many else cell for cell in row])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    table = ["| " + " | ".join(_padded(row, widths)) + " |" for row in lines]
    return [*table, "", *_notes(result)]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]


def _mean_and_spread(one: Mapping[str, float]) -> str:
    if not math.isfinite(one["spread"]):
        return f"{one['mean']:.4f}"
    return f"{one['mean']:.4f} ± {one['spread']:.4f}"


def _notes(result: SweepResult) -> list[str]:
    """Returns what a reader of the table must know: what the spread is of, which clips."""
    notes = []
    if any(len(point.runs) > 1 for point in result.points):
        notes.append("Mean ± sample standard deviation over seeds.")
    clips = [[_clips(run.folder) for run in point.runs if run.metrics] for point in result.points]
    known = {one for of_point in clips for one in of_point if one}
    if len(known) == 1:
        notes.append(f"Validation part: the same {next(iter(known))[1]} clips in all runs.")
    elif known:
        notes.append("Validation clips differ between runs: the spread is also that of the split.")
    if len(result.points) > 1:
        notes.append(
            "The best setting was chosen on these clips: its score here is optimistic; report that "
            "of the test part, evaluated once."
        )
    return notes


def _clips(folder: Path) -> tuple[str, int] | None:
    """Returns the digest and number of the validation clips of a run; None of one without."""
    place = folder / "eval-valid"
    if not (place / "evaluation.json").exists():
        return None
    evaluation = evaluation_files.read_details(place / "evaluation.json")
    return evaluation["clips_digest"], evaluation["clips"]

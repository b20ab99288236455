"""Mode `compare`: runs side by side on the same clips, with paired differences, as a page."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.evaluation import bootstrap
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.figures import curves, style
from deepgenre.evaluation.paired import compare_paired, top_hits
from deepgenre.evaluation.report import alignment, evaluations, pages
from deepgenre.evaluation.report.evaluations import Evaluation
from deepgenre.evaluation.report.report import COUNTS
from deepgenre.evaluation.tracks import per_track
from deepgenre.files import strict_json
from deepgenre.weights import run_record
from deepgenre.weights import spec as specs

SEED = 0  # of the resamples
MAX_CLIPS = 20  # listed per pair
Tuned = tuple[np.ndarray, np.ndarray]  # thresholds of the F1 of tags, of two runs


def run(runs: Sequence[Path], part: str, output: Path | None) -> int:
    """Writes the page, prints metrics and paired differences as JSON; returns exit code 0.

    Differences are those from the first run. Raises UserError where the runs were not evaluated on
    the same clips and classes.
    """
    if len(runs) < 2:
        raise UserError("compare: give two runs or more, e.g. deepgenre compare runs/a runs/b")
    names = _names(runs)
    folders = alignment.choose(runs, part)
    found = dict(zip(names, map(evaluations.read, folders), strict=True))
    first = next(iter(found.values()))
    scored = {
        name: alignment.aligned(first.scored, one.scored, (str(folders[0]), str(one.folder)))
        for name, one in found.items()
    }
    tuned = {name: one.thresholds(first.scored.classes) for name, one in found.items()}
    paired = _paired(scored, tuned)
    path = output or runs[0] / "compare.html"
    _write(path, runs, found, scored, paired)
    for name, result in paired.items():
        _log(name, names[0], result)
    log.info("wrote %s", path)
    metrics = {name: dict(one.values) for name, one in found.items()}
    print(strict_json({"runs": metrics, "paired": paired}))
    return 0


def _names(runs: Sequence[Path]) -> list[str]:
    """Returns a name per run: that of its folder or, where two are the same, its path."""
    resolved = [path.resolve() for path in runs]
    repeated = next((path for path in resolved if resolved.count(path) > 1), None)
    if repeated:
        raise UserError(f"compare: {repeated} is given twice; give different runs")
    for parts in (1, 2):
        names = [str(Path(*path.parts[-parts:])) for path in resolved]
        if len({*names}) == len(names):
            return names
    return [str(path) for path in runs]


def _workdir(run: Path) -> Path:
    """Returns the workdir of a run that is given by the folder of one of its evaluations."""
    is_evaluation = (run / "scores.npz").exists() and not (run / "config.json").exists()
    return run.resolve().parent if is_evaluation else run


def _paired(
    scored: Mapping[str, Scored], tuned: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Returns the comparison of each run but the first with the first, by name.

    tuned: the thresholds of tags of each run.
    """
    first, *others = scored
    with log.progress(others, total=len(others), unit="pair", title="compare") as bar:
        return {
            name: _of_clips_and_tracks(scored[name], scored[first], (tuned[name], tuned[first]))
            for name in bar
        }


def _of_clips_and_tracks(other: Scored, first: Scored, tuned: Tuned) -> dict[str, Any]:
    """Returns `compare_paired` of clips; as 'tracks' that of songs, {} if each clip is a song."""
    songs, first_songs = per_track(other), per_track(first)
    tracks = _differences(songs, first_songs, tuned) if songs and first_songs else {}
    return {**_differences(other, first, tuned), "tracks": tracks}


def _differences(other: Scored, first: Scored, tuned: Tuned) -> dict[str, Any]:
    return compare_paired(
        other.scores,
        first.scores,
        first.labels,
        first.group,
        multi_label=first.multi_label,
        num_draws=bootstrap.DRAWS,
        seed=SEED,
        thresholds=tuned,
    )


def _log(name: str, first: str, result: Mapping[str, Any]) -> None:
    log.info("%s minus %s, on %s:", name, first, log.counted(result["clips"], "clip"))
    for metric, one in result["metrics"].items():
        log.info(
            "  %s %+.4f (%+.4f to %+.4f), p = %s",
            metric.ljust(24),
            *(one["difference"], one["low"], one["high"], pages.p_value(one["p"])),
        )


def _write(
    path: Path,
    runs: Sequence[Path],
    found: Mapping[str, Evaluation],
    scored: Mapping[str, Scored],
    paired: Mapping[str, Mapping[str, Any]],
) -> None:
    names = list(found)
    every = dict.fromkeys(name for one in found.values() for name in one.values)
    metrics = [name for name in every if name not in COUNTS]
    workdirs = [_workdir(run) for run in runs]
    drawn = _curves(workdirs, names)
    sections = [("scores", "Scores"), ("differences", "Paired differences"), ("classes", "Classes")]
    sections += [("training", "Training")] if drawn else []
    pages.write(
        "compare.html.j2",
        path,
        title=" and ".join(names) if len(names) == 2 else f"{len(names)} runs compared",
        subtitle=_subtitle(list(found.values())),
        sections=[*sections, ("settings", "Settings")],
        names=names,
        metrics={name: [one.values.get(name, {}) for one in found.values()] for name in metrics},
        paired=paired,
        first=names[0],
        disagreements={name: _disagreements(scored, name) for name in names[1:]},
        **_classes(found),
        curves=drawn,
        changes={
            name: _changes(workdirs[0], other)
            for name, other in zip(names[1:], workdirs[1:], strict=True)
        },
    )


def _subtitle(found: Sequence[Evaluation]) -> str:
    scored = found[0].scored
    clips, classes = log.counted(len(scored.key), "clip"), len(scored.classes)
    return f"{clips}, {classes} classes; {'; '.join(str(one.folder) for one in found)}"


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """Clips of which one run alone has the highest score right, the most certain first."""

    lost: list[str]  # by the run that is compared with the first
    gained: list[str]


def _disagreements(scored: Mapping[str, Scored], name: str) -> Disagreement:
    first, other = next(iter(scored.values())), scored[name]
    hits, other_hits = (top_hits(one.scores, one.labels, one.multi_label) for one in (first, other))
    certainty = first.scores.max(axis=1) + other.scores.max(axis=1)
    order = np.argsort(-certainty, kind="stable")
    lost, gained = hits & ~other_hits, other_hits & ~hits
    return Disagreement(
        *([str(first.key[i]) for i in order if which[i]][:MAX_CLIPS] for which in (lost, gained))
    )


def _classes(found: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Returns a row per class: support, the merit of each run, and the last one's difference."""
    tables = {name: {row["class"]: row for row in one.per_class} for name, one in found.items()}
    of_first = next(iter(tables.values()))
    multi_label = next(iter(found.values())).scored.multi_label
    merit = "average_precision" if multi_label else "f1"
    rows = []
    for label, row in of_first.items():
        values: dict[str, Any] = {n: table[label].get(merit) for n, table in tables.items()}
        first, *_, last = values.values()
        gain = {"last minus first": None if None in (first, last) else last - first}
        rows.append({"class": label, "support": row["support"], **values, **gain})
    return {"merit": merit, "columns": list(rows[0]), "rows": rows}


def _curves(runs: Sequence[Path], names: Sequence[str]) -> Markup | str:
    """Returns the validation curves of the runs that have them, '' where none has."""
    spec = run_record.read(runs[0])
    lines = {
        name: log.read_metrics(run)
        for name, run in zip(names, runs, strict=True)
        if (run / "metrics.jsonl").exists()
    }
    if spec is None or not lines:
        return ""
    figure = curves.compared_curves(lines, specs.merit_name(spec))
    return Markup(style.svg_element(figure, "curves"))


def _changes(first: Path, other: Path) -> list[str] | None:
    """Returns the settings that differ; None where a run has no config."""
    old, new = run_record.read(first), run_record.read(other)
    if old is None or new is None:
        return None
    return specs.differences(specs.without_paths(old).config, specs.without_paths(new).config)

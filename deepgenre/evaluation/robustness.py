"""Mode `robustness`: the same evaluation of the same clips, unchanged and perturbed.

The clips of a part are decoded from audio, changed in every way of `audio.perturbations`, and
scored like stored clips. Written to `<workdir>/robustness-PART`, or robustness-PART-2 and so on
where that holds other clips or weights:

    evaluation.json   what was evaluated, and what the clips share with the training clips
    robustness.json   metrics, change with its interval, and agreement for each perturbation
    scores.npz        key, classes, labels, perturbation, scores (perturbations, clips, classes)
    robustness.png    the metric for each perturbation; the same as .svg
    partial.jsonl     scores so far, while it runs; the same command resumes from it
"""

import concurrent.futures
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log
from deepgenre.audio import ffmpeg, frontend, waveforms
from deepgenre.audio.perturbations import PERTURBATIONS, Perturbation
from deepgenre.data import pipeline
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import read_dataset
from deepgenre.data.sampling import window, window_starts
from deepgenre.data.store import Measured, Row
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation import (
    assess,
    bootstrap,
    evaluation_files,
    leakage,
    ledger,
    metrics,
)
from deepgenre.evaluation.clips import Clips, of_rows
from deepgenre.evaluation.paired import compare_paired
from deepgenre.evaluation.steps import ScoreStep, compile_score_step
from deepgenre.files import append_to, replacing, write_json
from deepgenre.interrupt import stop_requests
from deepgenre.sealed_lines import sealed, unsealed
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Spec, Weights, config_of

PARTIAL = "partial.jsonl"
SEED = 0  # of the resamples
THREADS = min(8, os.cpu_count() or 1)
Scores = dict[str, list[list[float]]]  # by key: (perturbations, classes)


def run(weights: Weights, source: str, data_dir: Path, part: str, workdir: Path) -> int:
    """Prints a table, writes the results; returns 1 where a clip could not be read.

    source: where the weights are from.
    """
    evaluated, clips = _clips(weights.spec, data_dir, part)
    if evaluated.test_of:
        ledger.record(workdir, evaluated.part, scores_digest(weights), evaluated.test_of)
    chosen = _available()
    folder = _claimed_folder(weights, source, evaluated, workdir)
    scores, failures = _score(weights, clips, chosen, folder)
    scored = [clip for clip in clips if clip.key in scores]
    if not scored:
        raise UserError(f"{data_dir}: no clip could be read; first error: {failures[0]}")
    stacked = np.array([scores[clip.key] for clip in scored], np.float32).transpose(1, 0, 2)
    spec = weights.spec
    labels = pipeline.encode_labels(_rows(scored), spec.classes, spec.multi_label)
    groups = np.array([clip.group for clip in scored])
    results = compare(dict(zip(chosen, stacked, strict=True)), labels, groups, spec.multi_label)
    _write(folder, spec, scored, labels, stacked, results)
    print("\n".join(table(results)))
    for failure in failures:
        log.warning("skipped: %s", failure)
    log.info(
        "%s, %d perturbations; wrote %s", log.counted(len(scored), "clip"), len(chosen), folder
    )
    return 1 if failures else 0


def _claimed_folder(weights: Weights, source: str, evaluated: Clips, workdir: Path) -> Path:
    """Returns the folder to write, which states from now on what is evaluated there."""
    shared = leakage.leakage(evaluated.rows, evaluated.train)
    evaluation = {
        **assess.describe(weights, evaluated, source),
        "leakage": {**shared, "near_duplicates": None},  # nothing is stored to compare
    }
    wanted = workdir / f"robustness-{evaluated.part}"
    folder = evaluation_files.free_folder(wanted, evaluation)
    if folder != wanted:
        log.info("%s holds another evaluation: writing to %s", wanted, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "evaluation.json", evaluation)
    assess.warn_of_leakage(evaluation)
    return folder


def compare(
    scores: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, multi_label: bool
) -> dict[str, dict[str, Any]]:
    """Returns, for each perturbation, its metrics and how they differ from 'unchanged'.

    scores: (clips, classes) of each perturbation. groups: names of artists, (clips,). 'change' is
    the difference of the main metric (accuracy, roc_auc), 'low' and 'high' its 95 % interval in
    paired resamples of the groups or, where each clip is a group of its own, of the clips.
    'same_top' is the share of clips whose highest score is of the same class.
    """
    clean = scores["unchanged"]
    merit = "roc_auc" if multi_label else "accuracy"
    draws = {"multi_label": multi_label, "num_draws": bootstrap.DRAWS, "seed": SEED}
    results = {}
    for name, own in scores.items():
        paired = compare_paired(own, clean, labels, groups, **draws)
        change = (paired["metrics_by_group_bootstrap"] or paired["metrics"])[merit]
        results[name] = {
            "family": PERTURBATIONS[name].family,
            "metric": merit,
            "change": change["difference"],
            "low": change["low"],
            "high": change["high"],
            "same_top": float((own.argmax(1) == clean.argmax(1)).mean()),
            "metrics": metrics.evaluate(own, labels, multi_label=multi_label),
        }
    return results


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the lines of a table: a perturbation per row."""
    second = "average_precision" if "average_precision" in _first(results)["metrics"] else "loss"
    merit = _first(results)["metric"]
    interval = f"{'change':>8}  {'95 % interval':<18}"
    lines = [f"{'':<22}{merit:>10}{interval}{second:>17}{'same top class':>16}"]
    for name, result in results.items():
        own, change = result["metrics"], ""
        if name != "unchanged":
            change = f"{result['change']:+8.3f}  {result['low']:+.3f} to {result['high']:+.3f}"
        lines.append(
            f"{name:<22}{own[merit]:>10.3f}{change:<28}{own[second]:>17.3f}"
            f"{result['same_top']:>16.2f}"
        )
    return lines


def _first(results: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(iter(results.values()))


def _available() -> dict[str, Perturbation]:
    """Returns the perturbations that this machine can make; a warning names the others."""
    if ffmpeg.is_installed():
        return dict(PERTURBATIONS)
    missing = [name for name, row in PERTURBATIONS.items() if row.needs_ffmpeg]
    log.warning("without the program ffmpeg not measured: %s", "; ".join(missing))
    return {name: row for name, row in PERTURBATIONS.items() if not row.needs_ffmpeg}


def _clips(spec: Spec, data_dir: Path, part: str) -> tuple[Clips, list[Clip]]:
    """Returns the part, and its clips as files."""
    dataset = read_dataset(config_of(spec), data_dir)
    if dataset.precomputed:
        raise UserError(f"{data_dir}: contains spectrograms; robustness requires audio files")
    evaluated = of_rows(spec, data_dir, _rows(dataset.clips), part, exclude_unknown=False)
    if not evaluated.rows:
        raise UserError(
            f"--eval_split: part {evaluated.part!r} contains no clips; choose another part"
        )
    chosen = {row.key for row in evaluated.rows}
    return evaluated, [clip for clip in dataset.clips if clip.key in chosen]


def _rows(clips: Sequence[Clip]) -> list[Row]:
    """Returns rows, for splits and labels, of clips that are not prepared."""
    return [
        Row(
            *(clip.key, clip.labels, clip.group, clip.split),
            *(Measured(clip.key, 0, 0, 0, 0, 0, 0), clip.track),
        )
        for clip in clips
    ]


def _score(
    weights: Weights, clips: Sequence[Clip], chosen: Mapping[str, Perturbation], folder: Path
) -> tuple[Scores, list[str]]:
    """Returns the scores of each clip that can be read, and the failures; resumes."""
    identity = {"weights": scores_digest(weights), "perturbations": [*chosen]}
    scores = _read_partial(folder / PARTIAL, identity)
    missing = [clip for clip in clips if clip.key not in scores]
    if len(missing) < len(clips):
        log.info("resumed: %d of %d clips are scored", len(clips) - len(missing), len(clips))
    failures: list[str] = []
    step, spec = compile_score_step(weights.spec), weights.spec
    with (
        (folder / PARTIAL).open("ab", buffering=0) as partial,
        stop_requests() as stop_requested,
        log.progress(
            None, total=len(clips), initial=len(clips) - len(missing), unit="clip",
            title="robustness",
        ) as bar,
    ):  # fmt: skip
        for clip, outcome in _perturbed(missing, spec, chosen):
            bar.update()
            if isinstance(outcome, str):
                failures.append(outcome)
                continue
            means = [*map(np.ndarray.tolist, _means(step, weights.variables, spec, outcome))]
            scores[clip.key] = means
            append_to(
                partial, folder / PARTIAL, sealed({"key": clip.key, "scores": means}).encode()
            )
            if stop_requested() and len(scores) + len(failures) < len(clips):
                raise InterruptedRunError(
                    f"stopped after {len(scores)} of {len(clips)} clips; the same command resumes"
                )
    return scores, failures


def _perturbed(
    clips: Sequence[Clip], spec: Spec, chosen: Mapping[str, Perturbation]
) -> Iterator[tuple[Clip, list[np.ndarray] | str]]:
    """Yields each clip with its levels under each perturbation, or why it cannot be read."""

    def read(clip: Clip) -> list[np.ndarray] | str:
        try:
            rate_hz = spec.frontend.sample_rate_hz
            waveform = waveforms.load(clip.path, rate_hz)
            return [
                frontend.levels(
                    row.change(waveform, rate_hz, _generator(clip, name)), spec.frontend
                )
                for name, row in chosen.items()
            ]
        except UserError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(clips), THREADS):  # few at a time: many spectrograms per clip
            own = clips[start : start + THREADS]
            yield from zip(own, pool.map(read, own), strict=True)


def _generator(clip: Clip, name: str) -> np.random.Generator:
    """Returns the random numbers of a clip and perturbation, the same in every run."""
    return np.random.default_rng([zlib.crc32(clip.key.encode()), zlib.crc32(name.encode())])


def _means(
    step: ScoreStep, variables: Any, spec: Spec, levels: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Returns the mean scores over windows of each of several levels, float32 (classes,)."""
    starts = [window_starts(len(own), spec.window_frames, spec.hop_frames) for own in levels]
    cut = [
        window(own, start, spec.window_frames)
        for own, places in zip(levels, starts, strict=True)
        for start in places
    ]
    size = spec.config["batch_size"]
    cut += [np.zeros_like(cut[0])] * (-len(cut) % size)  # one compiled shape
    batches = range(0, len(cut), size)
    scores = [np.asarray(step(variables, np.stack(cut[at : at + size]))) for at in batches]
    ends = np.cumsum([len(places) for places in starts])
    split = np.split(np.concatenate(scores), ends)[:-1]
    return [own.mean(axis=0, dtype=np.float64).astype(np.float32) for own in split]


def _read_partial(path: Path, identity: Mapping[str, Any]) -> Scores:
    """Returns the scores in `partial.jsonl`; begins it anew where they are of other weights."""
    lines: list[Any] = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            lines.append(unsealed(line))
        except ValueError:  # damaged, or half-written: the clips from here on are scored again
            break
    if not lines or lines[0] != identity:
        lines = [dict(identity)]
    with replacing(path) as temporary:
        temporary.write_text("".join(map(sealed, lines)), encoding="utf-8")
    return {line["key"]: line["scores"] for line in lines[1:]}


def _write(
    folder: Path,
    spec: Spec,
    clips: Sequence[Clip],
    labels: np.ndarray,
    scores: np.ndarray,
    results: Mapping[str, Mapping[str, Any]],
) -> None:
    from deepgenre.evaluation.figures import robustness, style  # matplotlib: slow to import

    write_json(folder / "robustness.json", results)
    with replacing(folder / "scores.npz") as path, path.open("wb") as stream:
        np.savez_compressed(
            stream,
            key=np.array([clip.key for clip in clips]),
            classes=spec.classes,
            labels=labels,
            perturbation=np.array([*results]),
            scores=scores,
        )
    style.write_both(robustness.robustness(results), folder / "robustness")
    (folder / PARTIAL).unlink()
